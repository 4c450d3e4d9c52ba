"""Runs a stream through the loop: frames to bursts, bursts to restored frames, those to a mosaic; finished or growing.

The log has one line for each frame of the stream (where it lies, how good it is, why it is left out), and one for each
frame that was restored. A second run reads the first and goes on.
"""

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from refocal.core import registry
from refocal.core.blocks import Block
from refocal.core.errors import BadOptionError, UsageError
from refocal.core.values import Contrast, Frames, Restorer
from refocal.engine.job import LOG, Job, Prepared, Progress, prepare
from refocal.engine.logged_run import Begun, logged_run
from refocal.engine.loop import Summary, run
from refocal.engine.streams.frame_quality import grade
from refocal.engine.streams.mosaic import MOSAICS, POSITIONS, assemble
from refocal.engine.streams.sink import BurstSink, frame_name
from refocal.engine.streams.source import BurstSource, propose_window
from refocal.engine.streams.track import Choice
from refocal.engine.tiles.tiles import Tile, TileSource, check_output
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.source import LiveSource
from refocal.engine.watch.state import WatchState
from refocal.eventlog.current import latest
from refocal.eventlog.log import Event, job_sha256, of_last_job, read_log
from refocal.imaging.shift_registration import Motion

_FLEETING = frozenset({"mosaic", "follow", "idle_seconds", "settle"})
"""Settings that change no pixel of a restored frame."""


@dataclass(frozen=True, slots=True)
class Stream:
    """How a stream is worked through."""

    choice: Choice = Choice()  # noqa: RUF009 - frozen
    window: tuple[float, float] | None = None
    """Counts that become 0 and 255; None proposes them."""
    motion: Motion = "translation"
    mosaic: bool = False
    follow: bool = False
    """Watch a folder that grows, instead of taking what is there."""
    idle_seconds: float = 10.0
    """A growing stream has ended when nothing came for so long."""
    settle: float = 1.0
    """Seconds for which a file must stay the same before it is believed to be complete."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        BadOptionError
            If a number is out of range.
        """
        for name, value, low, high in (
            ("frames", self.choice.frames, 1, 64), ("share", self.choice.share, 0.1, 1.0),
            ("every", self.choice.every, 0, 1 << 30), ("idle", self.idle_seconds, 0.1, 1e6),
            ("settle", self.settle, 0.0, 1e6),
        ):  # fmt: skip
            if not low <= value <= high:
                raise BadOptionError(f"{name} must be within {low:g}..{high:g}, got {value}")
        if self.window is not None and not self.window[0] < self.window[1]:
            raise BadOptionError(f"a window needs LOW < HIGH, got {self.window[0]:g} and {self.window[1]:g}")


def run_stream(
    inputs: Sequence[Path],
    out: Path,
    job: Job,
    stream: Stream,
    *,
    restorer: Restorer | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Restore a stream into `out`; what an earlier run of the same job settled is not done again.

    Parameters
    ----------
    inputs
        Folders of frames, and stacks; opened read-only. With `follow` one folder.
    out
        Receives `frames/`, `log.jsonl`, and with `mosaic` the mosaics and `positions.csv`.
    restorer
        Stands in for the job's own.
    progress
        Called with each event of a restored frame, and the number of bursts found so far.

    Raises
    ------
    UsageError
        For anything that is wrong with the request as a whole, before any frame is touched.
    """
    prepared = prepare(job, restorer)
    window = None if stream.window is None else Contrast(*stream.window)
    frames = _frames(inputs, stream, window)
    check_output(inputs, out)
    if window is None and isinstance(frames, TileSource):
        window = propose_window([frames.tile(block) for block in frames])
        frames.contrast = window

    def work(begun: Begun) -> Summary:
        known, before = _known(begun.before)
        settled = frames.put_down if isinstance(frames, _Growing) else lambda block: None
        source = BurstSource(
            frames, stream.choice, window or before, motion=stream.motion, known=known, tell=begun.log.append,
            done=settled,
        )  # fmt: skip
        return run(
            source,
            prepared.restorer,
            BurstSink(out, source, begun.done),
            gate=grade,
            log=begun.log,
            batch=job.batch,
            progress=None if progress is None else lambda event: progress(event, len(source)),
        )

    resolved = _resolved(prepared, stream, window)
    clear = partial(_clear, out, job_sha256(resolved))
    summary = logged_run(out, resolved, inputs, work, overwrite=overwrite, replaced=clear)
    if stream.mosaic:
        _assemble(out)
    return summary


def _frames(inputs: Sequence[Path], stream: Stream, window: Contrast | None) -> "_Growing | TileSource":
    if stream.follow:
        if len(inputs) != 1 or not Path(inputs[0]).is_dir():
            raise UsageError("--follow watches one folder that frames are written to; give just that")
        return _Growing(Path(inputs[0]), stream, window)
    frames = TileSource(inputs, contrast=window)
    named: dict[str, str] = {}
    for name in frames.files:
        if (other := named.setdefault(frame_name(name), name)) != name:
            raise UsageError(f"{other} and {name} would both be restored to {frame_name(name)}; give one of them")
    return frames


def _assemble(out: Path) -> None:
    """Write the mosaic of all frames that runs of one job restored."""
    events = latest(of_last_job(list(read_log(out / LOG)))).values()
    assemble(events, out, next((e["pixel_nm"] for e in events if e.get("pixel_nm")), None))


def _resolved(prepared: Prepared, stream: Stream, window: Contrast | None) -> dict[str, Any]:
    """Return the job as the log keeps it: all that changes a pixel, and nothing else."""
    kept = {name: value for name, value in asdict(stream).items() if name not in _FLEETING}
    kept["window"] = None if window is None else [window.low, window.high]
    return {**prepared.resolved, "gate": "frame quality", "stream": kept}


def _clear(out: Path, digest: str, events: Sequence[Event]) -> None:
    """Remove what another job than this one restored last, by its log: the folder would hold frames of both."""
    before = of_last_job(events)
    if not before or before[0].get("job_sha256") == digest:
        return
    for key, event in latest(before).items():
        if event.get("output"):
            (out / frame_name(key)).unlink(missing_ok=True)
    for path in (*out.glob(MOSAICS), *out.glob(POSITIONS)):
        path.unlink()


def _known(events: Sequence[Event]) -> tuple[dict[str, Mapping[str, Any]], Contrast | None]:
    """Return the frames that earlier runs of the job that has just begun followed, and the window they proposed."""
    windows = [Contrast(event["low"], event["high"]) for event in events if event["event"] == "window"]
    return {e["key"]: e for e in events if e["event"] == "frame"}, windows[-1] if windows else None


class _Growing:
    """Frames of a folder as they are written, by the source of the microscope watch, until none comes any more."""

    def __init__(self, root: Path, stream: Stream, window: Contrast | None) -> None:
        self._stop, self._idle_seconds, self._since = threading.Event(), stream.idle_seconds, math.inf
        ledger = WatchState()
        scanner = Scanner(root, registry.make("layouts", "folder"), ledger, settle=stream.settle)
        self._live = LiveSource(scanner, ledger, self._stop, contrast=window, poll=0.1)

    def __iter__(self) -> Iterator[Block]:
        threading.Thread(target=self._end_when_idle, name="refocal-idle", daemon=True).start()
        blocks = iter(self._live)
        try:
            while True:
                # The time in which the loop is busy with frames that came does not count.
                self._since = time.monotonic()
                block = next(blocks, None)
                self._since = math.inf
                if block is None:
                    return
                yield block
        finally:
            self._stop.set()

    def read(self, block: Block, /) -> Frames:
        return self._live.read(block)

    def tile(self, block: Block, /) -> Tile:
        return self._live.tile(block)

    def put_down(self, block: Block) -> None:
        self._live.facts(block.key)

    def _end_when_idle(self) -> None:
        while not self._stop.wait(0.1):
            if time.monotonic() - self._since > self._idle_seconds and not self._live.lag()[0]:
                self._stop.set()
                self._live.wake()
