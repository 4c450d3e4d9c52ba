"""The command burst: streams of a moving stage."""

from pathlib import Path
from typing import Annotated

import typer

from refocal.engine.job import LOG, Job, Part
from refocal.engine.streams.mosaic import MOSAICS, POSITIONS
from refocal.engine.streams.run import Stream, run_stream
from refocal.engine.streams.sink import FOLDER
from refocal.engine.streams.track import Choice
from refocal.eventlog.log import of_last_job, read_log
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson, Overwrite, Quiet, Window, choice, window_of
from refocal.ui.cli._show import BURSTS, say_summary, stream_page, watching


@app.command("burst", rich_help_panel=Panel.STREAMS)
def burst(
    stream: Annotated[list[Path], typer.Argument(help="Folder of frames, or stack (TIFF, MRC), in the order of time.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")],
    restorer: Annotated[str, typer.Option(help="Model file or name, or kind:option=value,...")] = "burst-em",
    frames: Annotated[int, typer.Option(help="Most frames of a burst.", min=1, max=64)] = 5,
    every: Annotated[
        int, typer.Option(help="Restore each N-th frame; 0 restores as few as cover the strip.", min=0)
    ] = 0,
    share: Annotated[
        float, typer.Option(help="Share of a frame that all frames of its burst must show.", min=0.1, max=1)
    ] = 0.6,
    window: Window = None,
    motion: Annotated[str, typer.Option(help="translation, or euclidean (with rotation).")] = "translation",
    mosaic: Annotated[bool, typer.Option("--mosaic", help="Assemble the strip: mosaic.ome.tif.")] = False,
    follow: Annotated[
        bool, typer.Option("--follow", help="Wait for more frames: the folder is still growing.")
    ] = False,
    idle: Annotated[float, typer.Option(help="With --follow: stop after this many seconds without a frame.")] = 10.0,
    overwrite: Overwrite = False,
    report: Annotated[bool, typer.Option(help="Write bursts.html.")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Restore a stream of fast, noisy frames of a moving stage.

    Several frames that show the same place become one image. Writes `frames/`, `log.jsonl` (with the position of every
    frame, and why it was left out), `bursts.html`, and with --mosaic one picture of the strip and `positions.csv`. A
    second run continues where the first one stopped.

    For example:

        refocal burst stream.tif -o restored --mosaic

        refocal burst frames -o restored --follow --restorer merge:by=median
    """
    job = Job(restorer=_part(restorer), gate=Part(kind="always"))
    settings = Stream(
        Choice(frames, share, every),
        window_of(window),
        choice("--motion", motion, ("translation", "euclidean")),
        mosaic,
        follow,
        idle,
    )
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        summary = run_stream(stream, out, job, settings, overwrite=overwrite, progress=progress)
    if report:
        stream_page(out)
    if not quiet:
        typer.echo(_frames(out / LOG), err=True)
        say_summary(summary, out, BURSTS, FOLDER, MOSAICS, POSITIONS)
    raise typer.Exit(1 if summary.failed else 0)


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
