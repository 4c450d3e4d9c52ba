"""What commands print while they work, and how they print rows."""

import json
import math
import os
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer

from refocal.engine.job import LOG, REPORT, RETAKES, Progress
from refocal.engine.loop import Summary
from refocal.eventlog.log import Event
from refocal.eventlog.warnings import Warnings

BURSTS = "bursts.html"
"""The page of a stream."""

_FIELDS = (
    "path", "page", "verdict", "decision", "reason", "sigma_px", "sigma_nm", "noise", "anisotropy", "angle_deg",
    "expected", "pixel_nm", "height", "width", "mode", "seconds", "output", "clipped", "error",
)  # fmt: skip
_STYLES = {
    "restored": "cyan", "restore": "cyan", "kept": "green", "retake": "bold yellow", "no_content": "dim",
    "failed": "bold red", "unreadable": "bold red", "skipped": "dim",
}  # fmt: skip


def print_json(row: Mapping[str, Any]) -> None:
    """Print one JSON object on one line; numbers that are not finite become null."""
    plain = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in row.items()}
    print(json.dumps(plain), flush=True)


def tile_row(event: Event) -> dict[str, Any]:
    """Return the fields of a tile event that scripts rely on."""
    return {name: event.get(name) for name in _FIELDS}


def shown(text: str) -> str:
    """Return foreign text for the terminal: control characters, and marks that reverse the direction, as escapes."""
    return "".join(_escaped(char) for char in text)


def _escaped(char: str) -> str:
    if unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp"):
        return char.encode("unicode_escape").decode() if char.isascii() else f"\\u{ord(char):04x}"
    return char


def number(value: Any, unit: str = "", digits: int = 2) -> str:
    """Return a number with its unit, or a dash."""
    return "-" if value is None else f"{value:.{digits}f}{unit}"


def tile_line(event: Event) -> str:
    """Return one line about a tile: name, grade, blur in px and nm, decision, seconds."""
    name = str(event["key"])
    what = shown(str(event.get("error") or event.get("reason") or ""))
    return (
        f"{shown(name):<32} {event.get('verdict') or '-':<10} {number(event.get('sigma_px'), ' px'):>9} "
        f"{number(event.get('sigma_nm'), ' nm', 1):>9}  {event['decision']:<10} {event['seconds']:6.2f} s  {what}"
    )


def _failure(event: Event) -> str:
    """Return one line about a tile that could not be done, with its name once."""
    where, sign, what = str(event["error"]).partition(": ")
    return shown(f"failed: {event['key']}: {what if sign and where.endswith(event['path']) else event['error']}")


@contextmanager
def watching(*, lines: bool, as_json: bool, quiet: bool) -> Iterator[Progress]:
    """Yield a progress callback: a bar with rate and ETA on standard error, lines or JSON on standard output."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn
    from rich.text import Text

    console, output = Console(stderr=True, highlight=False), Console(highlight=False)
    counts: Counter[str] = Counter()
    pixels = 0
    bar = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=console,
        # Else what is printed to a file would go to the terminal, above the bar.
        redirect_stdout=sys.stdout.isatty(),
        # On a terminal, lines on standard output and a bar on standard error would overwrite each other.
        disable=quiet or not console.is_terminal or (lines and sys.stdout.isatty()),
    )

    def show(event: Event, total: int) -> None:
        nonlocal pixels
        counts[event["decision"]] += 1
        pixels += (event["height"] or 0) * (event["width"] or 0) if event["decision"] != "skipped" else 0
        elapsed = bar.tasks[task].elapsed or 0
        rate = f"{pixels / 1e6 / elapsed:.1f} Mpx/s" if elapsed else ""
        words = ", ".join(f"{n} {name}" for name, n in counts.items())
        bar.update(task, total=total, completed=sum(counts.values()), rate=rate, description=words)
        failed = event["decision"] in ("failed", "unreadable")
        if as_json:
            print_json(tile_row(event))
        elif lines:
            output.print(Text(tile_line(event), style=_STYLES[event["decision"]]), soft_wrap=True)
        if failed and not lines:
            bar.console.print(Text(_failure(event), style=_STYLES[event["decision"]]), soft_wrap=True)

    with bar:
        task = bar.add_task("starting", total=None, rate="")
        yield show


def print_rows(rows: Sequence[Mapping[str, Any]], as_json: bool) -> None:
    """Print rows as a table, or as JSON lines."""
    if as_json:
        for row in rows:
            print_json(row)
        return
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for name in rows[0] if rows else ():
        table.add_column(name)
    for row in rows:
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def gathered(paths: Iterable[Path], most: int = 8) -> list[str]:
    """Return files by name; where they are more than `most`, by folder, from the deepest folder up."""
    counts = Counter(paths)
    while len(counts) > most:
        folder = max(counts, key=lambda path: len(path.parts)).parent
        for path in [path for path in counts if path.parent == folder]:
            counts[folder] += counts.pop(path)
    return sorted(f"{path}{os.sep} ({n} files)" if n > 1 else str(path) for path, n in counts.items())


def each_step(total: int) -> Callable[[Mapping[str, Any]], None]:
    """Return a callback that prints a training run's lines with the share done."""

    def show(line: Mapping[str, Any]) -> None:
        values = "  ".join(f"{k} {v:.5g}" for k, v in line.items() if k not in ("step", "steps", "seconds", "progress"))
        share = min(1.0, float(line["progress"]))
        left = float(line["seconds"]) * (1 - share) / share if share else math.inf
        eta = f"{left / 60:.0f} min left" if math.isfinite(left) else ""
        print(f"step {line['step']}/{total} ({share:.0%}, {eta})  {values}", file=sys.stderr, flush=True)

    return show


def say_summary(summary: Summary, out: Path, *more: str) -> None:
    """Print what was done, and the files and folders that were made; `more` are further names, or patterns."""
    words = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count)
    rate = f" ({number(summary.pixels / 1e6 / summary.seconds, ' Mpx/s', 1)})" if summary.pixels else ""
    typer.echo(f"{words or 'nothing to do'} in {summary.seconds:.1f} s{rate}", err=True)
    say_warnings(summary.warnings)
    made = [path for name in (LOG, RETAKES, REPORT, *more) for path in sorted(out.glob(name))]
    typer.echo("  ".join(f"{path}{os.sep}" if path.is_dir() else str(path) for path in made), err=True)


def say_warnings(warnings: Warnings) -> None:
    """Print the warnings of a run, a line for each kind."""
    for line in warnings.lines():
        typer.echo(f"warning: {shown(line)}", err=True)


def say_volume(summary: Summary, out: str) -> None:
    """Print what was done with a volume."""
    words = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count)
    what = f"{words}, each a section of a block," if words else "nothing to do"
    typer.echo(f"{what} in {summary.seconds:.1f} s", err=True)
    say_warnings(summary.warnings)
    typer.echo(f"{out}  {out.rstrip('/')}.refocal", err=True)


def tile_page(out: Path, inputs: Path | None = None, truth: Path | None = None, most: int = 24) -> Path:
    """Write the report of a run over tiles; see `refocal.ui.report.write_report`."""
    from refocal.ui.report import write_report

    return write_report(out / LOG, out / REPORT, truth=truth, inputs=inputs, max_pictures=most)


def stream_page(out: Path, inputs: Path | None = None, most: int = 40) -> Path:
    """Write the page of a stream; see `refocal.ui.report.bursts.write_burst_report`."""
    from refocal.ui.report.bursts import write_burst_report

    return write_burst_report(out / LOG, out / BURSTS, most, inputs)
