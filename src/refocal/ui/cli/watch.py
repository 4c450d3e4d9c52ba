"""The command watch: beside a running microscope."""

import math
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from refocal.engine.job import LOG, REPORT, RETAKES, Job, Part
from refocal.eventlog.fields import printed
from refocal.eventlog.warnings import Warnings
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import (
    Backend,
    Gate,
    Limits,
    Model,
    Number,
    OtherRestorer,
    Out,
    Quiet,
    choice,
    limits_of,
    listed,
    numbers,
    part_of,
)
from refocal.ui.cli._show import print_json, say_warnings

if TYPE_CHECKING:
    from refocal.engine.watch import Settings, Watch
    from refocal.eventlog.log import Event

_TERM_SECONDS = 5
"""What is stopped by SIGTERM ends by then, whatever it is in the midst of: the log has all that is done."""
_CARRY = ("symlink", "link", "copy", "skip")
_SETTINGS = {
    "settle": Number(3.0, 0), "poll": Number(0.15, 0.01), "idle": Number(math.inf, 0), "reserve_mb": Number(200.0, 0),
}  # fmt: skip

_Carry = Annotated[
    str | None,
    typer.Option(
        help="What to do with tiles that are not restored: symlink, link, copy or skip; by default the first of "
        "these that works."
    ),
]
_Restoring = Annotated[
    bool, typer.Option("--restore/--no-restore", help="Restore tiles, or only grade and queue them.")
]
_Check = Annotated[bool, typer.Option(help="Check each restored tile; one that fails is listed for retaking.")]
_Order = Annotated[str, typer.Option(help="Which sections to restore first while restoring lags: newest or oldest.")]
_Settings = Annotated[
    str | None, typer.Option(metavar="NAME=NUMBER,...", help=f"Times and space: {listed(_SETTINGS)}.")
]
_Folder = Annotated[Path, typer.Argument(help="Folder that the microscope writes to; it is only ever read.")]
_Layout = Annotated[str, typer.Option(help="auto, or one of `refocal list layouts`.")]
_OnAlert = Annotated[str | None, typer.Option(help="Command, or http(s) address, that receives each alert.")]
_AsJson = Annotated[bool, typer.Option("--json", help="Print every event, one JSON object per line.")]


@app.command("watch", rich_help_panel=Panel.MICROSCOPE)
def watch(
    folder: _Folder,
    out: Out,
    layout: _Layout = "auto",
    model: Model = "gran-em",
    restorer: OtherRestorer = None,
    gate: Gate = "sharpness",
    backend: Backend = "auto",
    contrast: Limits = None,
    carry: _Carry = None,
    restoring: _Restoring = True,
    check: _Check = True,
    order: _Order = "newest",
    settings: _Settings = None,
    on_alert: _OnAlert = None,
    as_json: _AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Grade and restore tiles while the microscope runs.

    Every tile is graded as it arrives, soft ones are restored, and those to retake are listed. Runs until Ctrl-C (or
    SIGTERM, within 5 s), which finishes the tile in progress and prints a summary. Start it again to continue.

    The numbers of --settings: settle, the seconds for which a file must stay the same (10 on network shares); poll,
    the seconds from one look to the next; idle, stop after this many seconds with nothing to do; reserve_mb, the
    space on the disk of the output that only the log may use.

    For example:

        refocal watch /data/wafer_03 -o /fast/wafer_03

        refocal watch wafer -o out --settings settle=10 --on-alert ./page_me
    """
    from refocal.engine.watch import Watch, lightest
    from refocal.microscope.monitor import Monitor
    from refocal.microscope.notify import Messenger, channel

    chosen = _settings(layout, order, restoring, settings)
    way = choice("--carry", carry, _CARRY) if carry else None
    with (
        _status(quiet=quiet) as show,
        Messenger([channel(on_alert)] if on_alert else [], failed=lambda line: show.say(line)) as messenger,
    ):

        def tell(event: "Event") -> None:
            if as_json:
                print_json(event)
            show.event(event)
            if event["event"] == "alert":
                messenger.send(event)

        job = Job(
            model=model, backend=backend, restorer=part_of(restorer), gate=Part.parse(gate),
            contrast=limits_of(contrast), carry=way or lightest(folder, out, show.say), check=check,
        )  # fmt: skip
        counts = _run(lambda: Watch(folder, out, job, chosen, observers=[Monitor().add], on_event=tell), show)
    if not quiet:
        _say_end(counts, out)
        say_warnings(show.warnings)


def _settings(layout: str, order: str, restoring: bool, text: str | None) -> "Settings":
    from refocal.engine.watch import Settings

    given = numbers("--settings", text, _SETTINGS)
    return Settings(
        layout=layout, settle=given["settle"], poll=given["poll"], order=choice("--order", order, ("newest", "oldest")),
        restores=restoring, reserve_bytes=int(given["reserve_mb"] * 1e6),
        idle_seconds=given["idle"] if math.isfinite(given["idle"]) else None,
    )  # fmt: skip


def _say_end(counts: Mapping[str, int], out: Path) -> None:
    words = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    typer.echo(f"{sum(counts.values())} tiles{': ' if words else ''}{words}", err=True)
    typer.echo(f"{out / LOG}  {out / RETAKES}  (refocal report {out} makes {out / REPORT})", err=True)


def _run(start: "Callable[[], Watch]", show: "_Status") -> Mapping[str, int]:
    """Run a watch until a signal, or until it stops by itself; a second signal stops at once. Return the counts."""
    told: list[int] = []
    at_last = threading.Timer(_TERM_SECONDS, os._exit, (143,))
    at_last.daemon = True

    def tell(number: int, frame: FrameType | None) -> None:
        told.append(number)
        if len(told) > 1:
            os._exit(130)  # safe: what is in the log is done, what is not will be done again
        if number == signal.SIGTERM:
            at_last.start()

    before = {number: signal.signal(number, tell) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        running = start()
        show.started(running)
        while not told and not running.wait(0.2):
            show.draw(running)
        show.stopping()
        running.stop()
        counts: Mapping[str, int] = running.state()["counts"]
        return counts
    finally:
        at_last.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


class _Status:
    """One line on a terminal, and a line for each alert."""

    def __init__(self, update: "Callable[[str], None]", say: "Callable[[str], None]") -> None:
        self._update, self.say = update, say
        self._beat: Event = {}
        self.warnings = Warnings()

    def event(self, event: "Event") -> None:
        if event["event"] == "beat":
            self._beat = event
        elif event["event"] == "alert":
            self.say(_plain(printed(f"{event['severity']}: {event['message']}")))
        elif event.get("warnings"):
            known = len(self.warnings)
            self.warnings.add(event)
            if len(self.warnings) > known:  # the first of its kind; how many there were is said in the end
                self.say(_plain(printed(f"warning: {event['key']}: {'; '.join(map(str, event['warnings']))}")))

    def draw(self, running: "Watch") -> None:
        state = running.state()
        counts: dict[str, int] = state["counts"]
        total = sum(counts.values())
        soft = counts.get("restored", 0) + counts.get("queued", 0)
        words = [
            f"{total} tiles",
            f"{self._beat.get('tiles_per_s', 0.0):.1f}/s",
            f"{soft / total:.1%} soft" if total else "",
            f"{counts.get('restored', 0)} restored, {counts.get('queued', 0)} queued",
            f"{counts.get('retake', 0) + counts.get('unreadable', 0)} to retake",
            f"lag {state['lag_tiles']} tiles, {state['lag_seconds']:.1f} s",
            f"{state['free_bytes'] / 1e9:.0f} GB free",
            "folder out of reach" if state["gone"] else "",
        ]
        self._update("  ".join(word for word in words if word))

    def started(self, running: "Watch") -> None:
        job, out = running.job, running.out
        self.say(
            f"watching {running.root} (layout {running.layout}), writing to {out}: gate {job.gate.kind}, "
            f"{job.restorer.kind if job.restorer else job.model}; live page: refocal dashboard {out}; Ctrl-C ends it"
        )

    def stopping(self) -> None:
        self._update("finishing the tile in progress; Ctrl-C again to stop at once")


@contextmanager
def _status(*, quiet: bool) -> "Iterator[_Status]":
    from rich.console import Console

    console = Console(stderr=True, highlight=False)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    if quiet or not console.is_terminal:
        yield _Status(lambda line: None, (lambda line: None) if quiet else say)
        return
    with console.status("starting") as status:
        yield _Status(status.update, say)


def _plain(text: str) -> str:
    """Return text that any terminal can print; names that are not UTF-8 are shown with backslashes."""
    encoding = sys.stderr.encoding or "utf-8"
    return text.encode(encoding, errors="backslashreplace").decode(encoding)
