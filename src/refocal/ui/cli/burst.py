"""The command about streams of a moving stage: burst."""

from pathlib import Path
from typing import Annotated

import typer

from refocal.core.errors import BadOptionError
from refocal.core.values import Contrast
from refocal.engine.job import LOG, Job, Part
from refocal.engine.streams.mosaic import MOSAICS, POSITIONS
from refocal.engine.streams.run import Stream, run_stream
from refocal.engine.streams.sink import FOLDER
from refocal.engine.streams.track import Choice
from refocal.eventlog.log import of_last_job, read_log
from refocal.models import header
from refocal.ui.cli import app
from refocal.ui.cli._show import watching
from refocal.ui.cli.restore import AsJson, Quiet, _choice, _say_summary

PAGE = "bursts.html"


@app.command()
def burst(
    stream: Annotated[list[Path], typer.Argument(help="folder of frames, or stack (TIFF, MRC), in the order of time")],
    out: Annotated[Path, typer.Option("--out", "-o", help="output folder")],
    restorer: Annotated[str, typer.Option(help="model file or name, or kind:option=value,...")] = "burst-em",
    frames: Annotated[int, typer.Option(help="frames of a burst at most", min=1, max=64)] = 5,
    every: Annotated[int, typer.Option(help="restore each N-th frame; 0 as few as cover the strip", min=0)] = 0,
    share: Annotated[float, typer.Option(help="part of a frame that its burst must show", min=0.1, max=1)] = 0.6,
    window: Annotated[str | None, typer.Option(help="LOW,HIGH: counts that become 0 and 255")] = None,
    motion: Annotated[str, typer.Option(help="translation or euclidean (with rotation)")] = "translation",
    mosaic: Annotated[bool, typer.Option("--mosaic", help="put the strip together: mosaic.ome.tif")] = False,
    follow: Annotated[bool, typer.Option("--follow", help="the folder still grows; wait for frames")] = False,
    idle: Annotated[float, typer.Option(help="with --follow: seconds without a frame that end it")] = 10.0,
    overwrite: Annotated[bool, typer.Option(help="redo the work of another job in the same output")] = False,
    report: Annotated[bool, typer.Option(help="write bursts.html")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Restore a stream of fast, blurred, noisy frames: several that show the same place become one image.

    Writes `frames/`, `log.jsonl` (with the place of every frame, and why it was left out), `bursts.html`, and with
    --mosaic one picture of the strip and `positions.csv`. A second run goes on where the first one stopped.

    For example:

        refocal burst stream.tif -o restored --mosaic

        refocal burst frames -o restored --follow --restorer merge:by=median
    """
    job = Job(restorer=_part(restorer), gate=Part(kind="always"))
    settings = Stream(
        Choice(frames, share, every),
        window_of(window),
        _choice("--motion", motion, ("translation", "euclidean")),
        mosaic,
        follow,
        idle,
    )
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        summary = run_stream(stream, out, job, settings, overwrite=overwrite, progress=progress)
    if report:
        write_page(out)
    if not quiet:
        typer.echo(_frames(out / LOG), err=True)
        _say_summary(summary, out, PAGE, FOLDER, MOSAICS, POSITIONS)
    raise typer.Exit(1 if summary.failed else 0)


def write_page(out: Path, most: int = 40, inputs: Path | None = None) -> Path:
    """Write the page of a stream; see `refocal.ui.report.bursts.write_burst_report`."""
    from refocal.ui.report.bursts import write_burst_report

    return write_burst_report(out / LOG, out / PAGE, most, inputs)


def _frames(log: Path) -> str:
    """Say what became of the frames of the stream."""
    frames = {e["key"]: e for e in of_last_job(list(read_log(log))) if e["event"] == "frame"}.values()
    left = sum(bool(event["left_out"]) for event in frames)
    lost = max((event["segment"] for event in frames), default=0)
    words = f"frames followed: {len(frames)}, left out: {left}"
    return f"{words}, stage lost: {lost} times; positions hold within a segment" if lost else words


def _part(text: str) -> Part:
    """Return the restorer that is named: a model file is one for bursts."""
    if text.endswith((".safetensors", ".onnx")) or text in header.shipped():
        return Part(kind="burst", options={"model": text})
    return Part.parse(text)


def window_of(text: str | None) -> tuple[float, float] | None:
    """Read LOW,HIGH."""
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
        Contrast(low, high)
    except ValueError as error:
        raise BadOptionError(f"--window is LOW,HIGH with LOW below HIGH, e.g. 120,3900; got {text!r}") from error
    return low, high
