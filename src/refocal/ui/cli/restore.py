"""Commands that work through tiles: restore, degrade, demo, report."""

import importlib
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from refocal.core.errors import BadOptionError, UsageError
from refocal.core.values import Contrast, ImageInfo
from refocal.engine.job import LOG, REPORT, RETAKES, Job, Part, run_job
from refocal.engine.loop import Summary
from refocal.engine.tiles.listing import are_plain
from refocal.eventlog.log import read_log
from refocal.ui.cli import app
from refocal.ui.cli._show import number, tile_line, watching

Inputs = Annotated[list[Path], typer.Argument(help="image files and folders (searched with their subfolders)")]
Out = Annotated[Path, typer.Option("--out", "-o", help="output folder; same names and tree as the input")]
Gate = Annotated[str, typer.Option(help="who decides: sharpness, always, or kind:option=value,...")]
AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line on standard output")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="no progress")]


@app.command()
def restore(
    inputs: Annotated[list[str], typer.Argument(help="image files and folders, or one volume (a path or a URL)")],
    out: Annotated[str, typer.Option("--out", "-o", help="output folder with the same names and tree, or volume")],
    model: Annotated[str, typer.Option(help="shipped model or path of a model file")] = "gran-em",
    restorer: Annotated[str | None, typer.Option(help="another restorer, e.g. wiener:sigma_px=1.6")] = None,
    gate: Gate = "sharpness",
    backend: Annotated[str, typer.Option(help="auto, openvino, onnx or torch")] = "auto",
    contrast: Annotated[str | None, typer.Option(help="LOW,HIGH: counts that mean black and white")] = None,
    carry: Annotated[
        str, typer.Option(help="copy, link (hard), symlink or skip the tiles that are not restored")
    ] = "copy",
    check: Annotated[
        bool, typer.Option("--check", help="check each restored tile; what fails is to be retaken")
    ] = False,
    shard: Annotated[str, typer.Option(help="I/N: do only each N-th file, from the I-th on (0 to N-1)")] = "0/1",
    overwrite: Annotated[bool, typer.Option(help="redo the work of another job in the same output")] = False,
    volume: Annotated[
        str | None, typer.Option(help="how a volume is stored and cut, e.g. chunk=16x512x512,block=16x2048x2048")
    ] = None,
    report: Annotated[bool, typer.Option(help="write report.html")] = True,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Grade tiles, restore the soft ones, copy the good ones, list those to be retaken.

    Writes tiles under their names, `log.jsonl`, `retake.csv`, `report.html`. A second run goes on where one stopped.

    For example:

        refocal restore section_0001 -o restored

        refocal restore tile.tif stack.tif -o out --gate always

        refocal restore wafer -o out --gate sharpness:retake_px=2.8 --shard 3/16

        refocal restore volume.zarr -o restored.zarr --gate always
    """
    job = Job(
        model=model,
        backend=backend,
        restorer=Part.parse(restorer) if restorer else None,
        gate=Part.parse(gate),
        contrast=_pair(contrast),
        carry=_choice("--carry", carry, ("copy", "link", "symlink", "skip")),
        check=check,
    )
    volumes = importlib.import_module("refocal.ui.cli.verify")  # its commands come after this one in the help
    whole_volume = volume is not None or _is_volume(inputs, out)
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        if whole_volume:
            summary = volumes.restore_volume(inputs, out, job, volume, _shard(shard), overwrite, progress)
        else:
            paths, part = [*map(Path, inputs)], _shard(shard)
            summary = run_job(paths, Path(out), job, shard=part, overwrite=overwrite, progress=progress)
    if report and not whole_volume:
        _report(Path(out))
    if not quiet:
        volumes.say(summary, out) if whole_volume else _say_summary(summary, Path(out))
    raise typer.Exit(1 if summary.failed else 0)


@app.command()
def degrade(
    inputs: Inputs,
    out: Out,
    degradation: Annotated[str, typer.Option(help="kind:option=value,... ; see `refocal list degradations`")],
    seed: Annotated[int, typer.Option(help="the same seed gives the same pixels", min=0)] = 0,
    contrast: Annotated[str | None, typer.Option(help="LOW,HIGH: counts that mean black and white")] = None,
    overwrite: Annotated[bool, typer.Option(help="redo the work of another job in the same output")] = False,
    quiet: Quiet = False,
) -> None:
    """Spoil sharp tiles in a known way, for training and testing.

    For example:

        refocal degrade sharp -o soft --degradation defocus:sigma_px=2

        refocal degrade sharp -o soft --degradation gran_protocol --seed 7
    """
    from refocal.engine.tiles.degrade import Degrader

    part = Part.parse(degradation)
    spoil = Degrader(part.make("degradations"), seed)
    # The seed is an option here, so that another seed is another job.
    named = Part(kind=part.kind, options={**part.options, "seed": seed})
    job = Job(restorer=named, gate=Part(kind="always"), contrast=_pair(contrast))
    with watching(lines=False, as_json=False, quiet=quiet) as progress:
        summary = run_job(inputs, out, job, overwrite=overwrite, restorer=spoil, progress=progress)
    if not quiet:
        _say_summary(summary, out)
    raise typer.Exit(1 if summary.failed else 0)


@app.command()
def report(
    out: Annotated[Path, typer.Argument(help="output folder of a run")],
    truth: Annotated[Path | None, typer.Option(help="folder with the true images; adds PSNR and SSIM")] = None,
    inputs: Annotated[Path | None, typer.Option(help="where the raw tiles are, if they were moved")] = None,
    pictures: Annotated[
        int | None, typer.Option(help="show at most so many tiles; 24, or 40 of a stream", min=0, show_default=False)
    ] = None,
) -> None:
    """Write report.html for a finished or running job, or bursts.html for a stream.

    For example:

        refocal report restored --truth sharp
    """
    if not (out / LOG).is_file():
        raise BadOptionError(f"{out} holds no {LOG}; give the output folder of a run")
    for option, folder in (("--truth", truth), ("--inputs", inputs)):
        if folder is not None and not folder.exists():
            raise BadOptionError(f"{option} {folder}: no such folder")
    jobs = [event["job"] for event in read_log(out / LOG) if event["event"] == "job" and event.get("job")]
    if not jobs or "stream" not in jobs[-1]:
        print(_report(out, inputs, truth, 24 if pictures is None else pictures))
        return
    from refocal.ui.cli.burst import write_page

    if truth is not None:
        raise BadOptionError(f"{out} holds a stream, whose restored frames are cut: no --truth is compared")
    print(write_page(out, 40 if pictures is None else pictures, inputs))


@app.command()
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for the example and its results")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="draws another section", min=0)] = 0,
    gate: Gate = "sharpness",
) -> None:
    """Draw a section of nine tiles, spoil most of them, grade and restore them, and show it all.

    For example:

        refocal demo -o demo
    """
    from refocal.imaging.phantom import demo_tiles
    from refocal.imaging.phantom.tiles import GREY
    from refocal.parts.formats import create_image

    raw, truth, results = out / "raw", out / "truth", out / "restored"
    print(f"drawing a section of 3x3 tiles into {raw}")
    for tile in demo_tiles(seed):
        stage = {"stage_x_nm": tile.stage_x_nm, "stage_y_nm": tile.stage_y_nm}
        info = ImageInfo((1, *tile.counts.shape), tile.counts.dtype, tile.pixel_nm, stage)
        for folder, counts in ((raw, tile.counts), (truth, GREY.counts(tile.truth, tile.counts.dtype))):
            path = folder / tile.name
            path.parent.mkdir(parents=True, exist_ok=True)
            create_image(path, [counts], like=info)
    summary = run_job([raw], results, Job(gate=Part.parse(gate)), overwrite=True,
                      progress=lambda event, _: print(tile_line(event), flush=True))  # fmt: skip
    _report(results, truth=truth)
    _say_summary(summary, results)
    raise typer.Exit(1 if summary.failed else 0)


def _is_volume(inputs: Sequence[str], out: str) -> bool:
    if are_plain(inputs, out):
        return False
    from refocal.parts.volume_formats import is_volume, names_volume

    if any(is_volume(given) or (Path(given).is_dir() and names_volume(given)) for given in inputs):
        return True
    if names_volume(out) and (len(inputs) > 1 or Path(inputs[0]).is_dir()):
        raise UsageError(
            f"{out} is the name of one volume or file; give one volume or stack, not several images, or name a folder"
        )
    return names_volume(out)


def _report(out: Path, inputs: Path | None = None, truth: Path | None = None, pictures: int = 24) -> Path:
    from refocal.ui.report import write_report

    return write_report(out / LOG, out / REPORT, truth=truth, inputs=inputs, max_pictures=pictures)


def _say_summary(summary: Summary, out: Path, *more: str) -> None:
    """Print what was done, and the files and folders that are there; `more` are further names, or patterns."""
    words = ", ".join(f"{count} {name}" for name, count in summary.counts.items() if count)
    rate = f" ({number(summary.pixels / 1e6 / summary.seconds, ' Mpx/s', 1)})" if summary.pixels else ""
    typer.echo(f"{words or 'nothing to do'} in {summary.seconds:.1f} s{rate}", err=True)
    made = [path for name in (LOG, RETAKES, REPORT, *more) for path in sorted(out.glob(name))]
    typer.echo("  ".join(f"{path}{os.sep}" if path.is_dir() else str(path) for path in made), err=True)


def _pair(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
        if not math.isfinite(high - low):
            raise ValueError("not finite")
        Contrast(low, high)
    except ValueError as error:
        raise BadOptionError(f"--contrast is LOW,HIGH with LOW below HIGH, e.g. 0,4095; got {text!r}") from error
    return low, high


def _shard(text: str) -> tuple[int, int]:
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError as error:
        raise BadOptionError(f"--shard is I/N, e.g. 0/4; got {text!r}") from error
    return index, count


def _choice(option: str, given: str, known: Sequence[str]) -> Any:
    if given not in known:
        raise BadOptionError(f"{option} is {' or '.join(known)}, got {given!r}")
    return given
