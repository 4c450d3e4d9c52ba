"""The command `pair`: training pairs from soft and sharp images of the same fields."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refocal.core.errors import TileError
from refocal.ui.cli import app
from refocal.ui.cli._show import number, print_json

if TYPE_CHECKING:
    from refocal.learn.pairs.tiles import PairVerdict


@app.command()
def pair(
    sharp: Annotated[Path, typer.Argument(help="sharp images: a folder, a file or a pattern")],
    blurry: Annotated[Path, typer.Argument(help="soft images of the same fields, by the same names")],
    out: Annotated[Path, typer.Option("--out", "-o", help="new folder for the pairs")],
    test_share: Annotated[float, typer.Option(help="share of the sections that is kept for testing")] = 0.2,
    residual: Annotated[float, typer.Option(help="worst fit that is kept: 1 - correlation")] = 0.4,
    overlap: Annotated[float, typer.Option(help="least share of the soft image that both show")] = 0.5,
    scale: Annotated[float, typer.Option(help="most that the pixel sizes may differ")] = 0.05,
    shear: Annotated[float, typer.Option(help="most shear")] = 0.05,
    local_px: Annotated[float, typer.Option(help="largest median shift that is left between parts")] = 3.0,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object a line on standard output")] = False,
) -> None:
    """Register soft and sharp images of the same fields; cut, match and split what fits for training.

    A single sharp image is paired with every soft one: a focus series. Leaves train and test with sharp and blurry in
    each, and pairs.csv with every pair, those that were rejected and why among them.

    For example:

        refocal pair sharp soft -o pairs

        refocal pair series/focus.tif "series/soft*.tif" -o pairs --test-share 0
    """
    from refocal.engine.tiles.tiles import check_output
    from refocal.learn.pairs.tiles import TABLE, Limits, find
    from refocal.learn.pairs.tiles import pair as run

    limits = Limits(residual, overlap, scale, shear, local_px)
    found = find(sharp, blurry)
    check_output([given for given in (sharp, blurry) if given.exists()], out)
    judged = run(found, out, limits, test_share, report=_line)
    for one in judged if as_json else ():
        print_json(asdict(one))
    counts = Counter(one.verdict for one in judged)
    shares = Counter(one.share for one in judged)
    said = f"{counts['kept']} kept ({shares['train']} train, {shares['test']} test)"
    print(f"{said}, {counts['rejected']} rejected, {counts['failed']} failed: {out / TABLE}", file=sys.stderr)
    if test_share and counts["kept"] and not shares["test"]:
        print("all pairs show one field, so none is left for testing", file=sys.stderr)
    if counts["failed"] or not counts["kept"]:
        what = f"{counts['failed']} pairs could not be read" if counts["failed"] else "no pair fits"
        raise TileError(f"{what}; {out / TABLE} says why")


def _line(one: "PairVerdict") -> None:
    words = (
        f"{one.name:<32} {one.verdict:<9} residual {number(one.residual, digits=3):>5}  "
        f"overlap {number(one.overlap):>4}  shift {number(one.shift_x_px, digits=1)}, "
        f"{number(one.shift_y_px, digits=1)} px  blur {number(one.blur_px, digits=1)} px  {one.reason}"
    )
    print(words.rstrip(), file=sys.stderr, flush=True)
