"""The command pair: training pairs from images of the same places, soft and sharp."""

import sys
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refocal.core.errors import TileError, UsageError
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import window_of
from refocal.ui.cli._show import number, print_json

if TYPE_CHECKING:
    from refocal.learn.pairs.tiles import Limits, PairVerdict

_OF_STREAMS, _OF_IMAGES = "Options with --stream", "Options without --stream"
_SEQUENCES = ("frames", "test", "valid", "window")
_ANY = ("inputs", "out", "stream")

_Inputs = Annotated[
    list[Path],
    typer.Argument(
        help="SHARP and BLURRY: images of the same fields by the same names (each a folder, file or pattern). "
        "With --stream: one folder of sequences.",
    ),
]
_TestShare = Annotated[float, typer.Option(help="Share of the sections kept for testing.", rich_help_panel=_OF_IMAGES)]
_Residual = Annotated[
    float, typer.Option(help="Worst fit that is accepted: 1 - correlation.", rich_help_panel=_OF_IMAGES)
]
_Overlap = Annotated[
    float, typer.Option(help="Least share of the soft image that both show.", rich_help_panel=_OF_IMAGES)
]
_Scale = Annotated[
    float, typer.Option(help="Largest relative difference of the pixel sizes.", rich_help_panel=_OF_IMAGES)
]
_LocalPx = Annotated[
    float, typer.Option(help="Largest median shift that may remain between parts.", rich_help_panel=_OF_IMAGES)
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per pair.", rich_help_panel=_OF_IMAGES)]
_Frames = Annotated[
    int,
    typer.Option(help="Frames of the stream for each stopped one.", min=1, max=64, rich_help_panel=_OF_STREAMS),
]
_Test = Annotated[
    str | None, typer.Option(help="Sequence to test on; by default the last.", rich_help_panel=_OF_STREAMS)
]
_Valid = Annotated[
    str | None,
    typer.Option(
        metavar="SEQUENCE:CELL",
        help="Cell of the grid to validate on; by default cell 1 of the first sequence.",
        rich_help_panel=_OF_STREAMS,
    ),
]
_Window = Annotated[
    str | None,
    typer.Option(
        metavar="LOW,HIGH",
        help="Counts of the streams that become 0 and 255; proposed if not given.",
        rich_help_panel=_OF_STREAMS,
    ),
]


@app.command("pair", rich_help_panel=Panel.MODELS)
def pair(
    context: typer.Context,
    inputs: _Inputs,
    out: Annotated[Path, typer.Option("--out", "-o", help="New folder for the pairs.")],
    stream: Annotated[bool, typer.Option("--stream", help="Pair streams with larger, stopped frames.")] = False,
    test_share: _TestShare = 0.2,
    residual: _Residual = 0.4,
    overlap: _Overlap = 0.5,
    scale: _Scale = 0.05,
    shear: Annotated[float, typer.Option(help="Largest shear.", rich_help_panel=_OF_IMAGES)] = 0.05,
    local_px: _LocalPx = 3.0,
    as_json: _AsJson = False,
    frames: _Frames = 5,
    test: _Test = None,
    valid: _Valid = None,
    window: _Window = None,
) -> None:
    """Make training pairs of soft and sharp images, or of streams.

    Registers images of the same fields, rejects what does not fit, cuts, matches and splits the rest. A single sharp
    image is paired with every soft one: a focus series. Writes train and test, with sharp and blurry in each, and
    pairs.csv with every pair, also those that were rejected, and why.

    With --stream, the folder holds one folder for each sequence, with the frames of the stream and the larger, stopped
    ones in it or one level below. A cell is what lies between two bars of the supporting grid, counted from 1 along
    the strip. `refocal train` learns from these pairs with `-d pairs/train degradation=chain`.

    For example:

        refocal pair sharp soft -o pairs

        refocal pair series/focus.tif "series/soft*.tif" -o pairs --test-share 0

        refocal pair recorded --stream -o pairs --test sequence_4
    """
    from refocal.learn.pairs.tiles import Limits

    _refuse_others(context, stream)
    if stream:
        from refocal.ui.cli._pair_streams import pair_streams

        if len(inputs) != 1:
            raise UsageError(
                f"--stream takes one folder of sequences, got {len(inputs)}: refocal pair RECORDED --stream"
            )
        pair_streams(inputs[0], out, frames, test, valid, window_of(window))
        return
    if len(inputs) != 2:
        raise UsageError(f"pair takes SHARP and BLURRY, got {len(inputs)}; one folder of streams takes --stream")
    _pair_images(inputs[0], inputs[1], out, Limits(residual, overlap, scale, shear, local_px), test_share, as_json)


def _refuse_others(context: typer.Context, stream: bool) -> None:
    """Refuse options of the other way of pairing, which would have no effect."""
    for name in context.params:
        source = context.get_parameter_source(name)
        if name not in _ANY and (name in _SEQUENCES) != stream and source is not None and source.name == "COMMANDLINE":
            option = {"as_json": "json"}.get(name, name.replace("_", "-"))
            raise UsageError(f"--{option} has no effect {'with' if stream else 'without'} --stream; leave it out")


def _pair_images(sharp: Path, blurry: Path, out: Path, limits: "Limits", test_share: float, as_json: bool) -> None:
    from refocal.engine.tiles.tiles import check_output
    from refocal.learn.pairs.tiles import TABLE, find
    from refocal.learn.pairs.tiles import pair as run

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
