"""The command about folds of the support film: unfold."""

from pathlib import Path
from typing import Annotated, Any

import typer

from refocal.cli import app
from refocal.cli._show import watching
from refocal.cli.tiles import AsJson, Inputs, Out, Quiet, _pair, _say_summary
from refocal.dark_lines import Search
from refocal.job import LOG, Job, Part, run_job

FOLDS, MATERIAL = "folds.html", "material"
"""What a run leaves beside the sections: the page about the folds, and the masks for FEABAS."""


@app.command()
def unfold(
    inputs: Inputs,
    out: Out,
    restorer: Annotated[str, typer.Option(help="kind:option=value,..., e.g. fold:method=substitution")] = "fold",
    neighbours: Annotated[int, typer.Option(help="sections to search on each side", min=1, max=8)] = 2,
    darkness: Annotated[float, typer.Option(help="dark is below this share of the median", min=0.01, max=1)] = 0.42,
    material: Annotated[bool, typer.Option(help="write FEABAS material masks of the folds to material/")] = False,
    contrast: Annotated[str | None, typer.Option(help="LOW,HIGH: counts that mean black and white")] = None,
    overwrite: Annotated[bool, typer.Option(help="redo the work of another job in the same output")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Find folds of the support film in consecutive sections and restore them from their neighbours.

    Sections are the pages of a stack, or the files of a folder in natural order, all of one size. Those without a fold
    are copied; blank ones are made from their neighbours. Writes `folds.html` with every fold, and to `origin` what is
    recorded (0), moved (127) and invented (255).

    For example:

        refocal unfold aligned.tif -o unfolded

        refocal unfold sections -o out --material --neighbours 3
    """
    part = Part.parse(restorer)
    if part.kind == "fold":
        part = Part(kind="fold", options={"darkness": darkness, **part.options})
    job = Job(
        restorer=part,
        gate=Part(kind="fold", options={"darkness": darkness}),
        contrast=_pair(contrast),
        neighbours=neighbours,
    )
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        summary = run_job(inputs, out, job, overwrite=overwrite, progress=progress)
    _review(inputs, out, job, Search(darkness=darkness), material)
    if not quiet:
        _say_summary(summary, out)
    raise typer.Exit(1 if summary.failed else 0)


def _review(inputs: list[Path], out: Path, job: Job, search: Search, material: bool) -> None:
    from refocal.report.folds import write_fold_report, write_materials
    from refocal.sections import Sections
    from refocal.tiles import TileSource, estimate_contrast
    from refocal.values import Contrast

    pair: Any = job.contrast
    tiles = TileSource(inputs, contrast=Contrast(*pair) if pair else None)
    if tiles.contrast is None:
        tiles.contrast = estimate_contrast(tiles)
    sections = Sections(tiles, 1)
    write_fold_report(out / LOG, out / FOLDS, sections, search)
    if material:
        write_materials(sections, out / MATERIAL, search)
