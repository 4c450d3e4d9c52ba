"""The command unfold: folds of the support film."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import typer

from refocal.core import registry
from refocal.core.errors import UsageError
from refocal.engine.job import LOG, Job, Part, run_job
from refocal.engine.tiles.listing import find_images
from refocal.engine.tiles.neighbours import ORIGIN, Sections, likeness
from refocal.engine.tiles.tiles import TileSource, estimate_contrast
from refocal.imaging.fold_detection import Search
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson, Inputs, Limits, Out, Overwrite, Quiet, contrast_of, limits_of
from refocal.ui.cli._show import say_summary, watching

SHIPPED = "fold:interpolation=fold-interpolate"
FOLDS, MATERIAL = "folds.html", "material"
"""What a run leaves beside the sections: the page about the folds, and the masks for FEABAS."""
_ALIKE = 0.05
_GRID = re.compile(r"(?<![a-z])(?:r(?:ow)?[-_]?\d+[^0-9a-z]*c(?:ol)?|c(?:ol)?[-_]?\d+[^0-9a-z]*r(?:ow)?)[-_]?\d+", re.I)


@app.command("unfold", rich_help_panel=Panel.STREAMS)
def unfold(
    inputs: Inputs,
    out: Out,
    restorer: Annotated[str, typer.Option(help="Restorer, e.g. fold:method=substitution.")] = SHIPPED,
    neighbours: Annotated[int, typer.Option(help="Sections to search on each side.", min=1, max=8)] = 2,
    darkness: Annotated[
        float, typer.Option(help="Dark is what lies below this share of the median.", min=0.01, max=1)
    ] = 0.42,
    material: Annotated[
        bool, typer.Option("--material", help="Write FEABAS material masks of the folds to material/.")
    ] = False,
    contrast: Limits = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Restore folds of the support film from neighbouring sections.

    Sections are the pages of a stack, or the files of a folder in natural order, all of one size. Those without a fold
    are copied; blank ones are made from their neighbours. Writes `folds.html` with every fold; `origin` says which
    pixels are recorded (0), moved (127) and invented (255), and `flow` from where they were moved.

    For example:

        refocal unfold aligned.tif -o unfolded

        refocal unfold sections -o out --material --neighbours 3
    """
    refuse_tiles(find_images(inputs))
    part = Part.parse(restorer)
    if part.kind == "fold":
        part = Part(kind="fold", options={"darkness": darkness, **part.options})
    job = Job(
        restorer=part,
        gate=Part(kind="fold", options={"darkness": darkness}),
        contrast=limits_of(contrast),
        neighbours=neighbours,
    )
    tiles = _tiles(inputs, job)
    if (alike := likeness(tiles)) is not None and alike < _ALIKE:
        typer.echo(
            f"warning: neighbouring sections are not alike (correlation {alike:.2f}), and folds are restored from "
            "neighbours; expected sections in order and aligned; tiles of one section go through `refocal restore`",
            err=True,
        )
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        summary = run_job(inputs, out, job, overwrite=overwrite, progress=progress)
    _review(tiles, out, Search(darkness=darkness), material)
    if not quiet:
        say_summary(summary, out, FOLDS, ORIGIN, "flow", MATERIAL)
    raise typer.Exit(1 if summary.failed else 0)


def refuse_tiles(names: Iterable[str]) -> None:
    """Refuse images that lie side by side in one section, as their names say: no neighbour shows the same place.

    Raises
    ------
    UsageError
        If a microscope's program, or a row and a column, names several tiles of one section.
    """
    layouts = [registry.make("layouts", kind) for kind in registry.names("layouts") if kind != "folder"]
    first: dict[str, tuple[str, str]] = {}
    for name in names:
        place = next((place for layout in layouts if (place := layout.place(name))), None)
        grid = _GRID.search(name.rpartition("/")[2])
        if place is not None:
            section, tile = place.section, place.tile
        elif grid is not None:
            section, tile = name.replace(grid[0], ""), grid[0]
        else:
            continue
        other, seen = first.setdefault(section, (name, tile))
        if seen != tile:
            raise UsageError(
                f"{other} and {name} are two tiles of one section; unfold expects consecutive sections, an image each: "
                "stitch and align them first, or restore single tiles with `refocal restore`"
            )


def _tiles(inputs: list[Path], job: Job) -> TileSource:
    tiles = TileSource(inputs, contrast=contrast_of(job.contrast))
    tiles.contrast = tiles.contrast or estimate_contrast(tiles)
    return tiles


def _review(tiles: TileSource, out: Path, search: Search, material: bool) -> None:
    from refocal.ui.report.folds import write_fold_report, write_materials

    sections = Sections(tiles, 1)
    write_fold_report(out / LOG, out / FOLDS, sections, search)
    if material:
        write_materials(sections, out / MATERIAL, search)
