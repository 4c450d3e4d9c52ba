"""The command replay: plays a microscope."""

import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from refocal.core.errors import BadOptionError, nearest
from refocal.microscope.simulate import Plan, Replayed, Shares, kinds, replay
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import Number, listed, numbers
from refocal.ui.cli._show import print_json

_PLAN = Plan()
_NUMBERS = {
    name: Number(getattr(_PLAN, name), least)
    for least, names in ((1, ("sections", "mfovs", "beams", "grids", "tiles", "batches")), (0, ("retakes",)))
    for name in names
}
_SHARES = ", ".join(f"{share.name}={share.default}" for share in fields(Shares))


@app.command("replay", rich_help_panel=Panel.MICROSCOPE)
def replay_command(
    kind: Annotated[str, typer.Argument(help=f"Microscope to play: {', '.join(kinds())}.")],
    out: Annotated[Path, typer.Argument(help="A new or empty folder.")],
    plan: Annotated[
        str | None, typer.Option(metavar="NAME=NUMBER,...", help=f"What is imaged: {listed(_NUMBERS)}.")
    ] = None,
    tiles_per_second: Annotated[float, typer.Option(help="Speed; 0 is as fast as possible.", min=0)] = (
        _PLAN.tiles_per_second
    ),
    size: Annotated[str, typer.Option(metavar="WIDTHxHEIGHT", help="Size of a tile.")] = (
        f"{_PLAN.width}x{_PLAN.height}"
    ),
    pixel_nm: Annotated[float, typer.Option(help="Pixel size, nm.")] = _PLAN.pixel_nm,
    image: Annotated[
        list[Path] | None, typer.Option("--image", "-i", help="Sharp tiles: files and folders; drawn if not given.")
    ] = None,
    share: Annotated[
        list[str] | None, typer.Option(help=f"NAME=SHARE of the tiles; repeat for more; {_SHARES}.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed plays the same acquisition.", min=0)] = 0,
    truth: Annotated[
        Path | None, typer.Option(help="JSON lines with what each tile is; by default OUT.truth.jsonl.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON on standard output.")] = False,
) -> None:
    """Play a microscope, to try `refocal watch` without one.

    Writes an acquisition in the order and at the speed of a microscope, into a new or empty folder. Some tiles are
    soft, noisy, blank or half-written, in the shares that are given; a file beside the folder says which.

    The numbers of --plan: sections; mfovs of a section, beams, batches of the sections and retakes, the sections
    imaged again at the end (multisem); grids of a slice (sbemimage); tiles of a grid or folder.

    For example:

        refocal replay multisem scope --plan sections=2,mfovs=3 --size 782x681

        refocal replay multisem scope --plan mfovs=250 --tiles-per-second 25.4

        refocal replay sbemimage stack --plan tiles=9 -i sharp --share soft=0.3
    """
    width, height = _size(size)
    acquisition = Plan(
        height=height,
        width=width,
        pixel_nm=pixel_nm,
        tiles_per_second=tiles_per_second,
        seed=seed,
        images=tuple(image or ()),
        shares=_shares(share or ()),
        **numbers("--plan", plan, _NUMBERS),
    )
    done = replay(kind, out, acquisition, truth=truth, ready=lambda: print(f"writing to {out}", file=sys.stderr))
    _tell(done, as_json)


def _size(text: str) -> tuple[int, int]:
    width, sign, height = text.partition("x")
    if not (sign and width.isdecimal() and height.isdecimal()):
        raise BadOptionError(f"--size is WIDTHxHEIGHT, e.g. 3128x2724, got {text!r}")
    return int(width), int(height)


def _shares(given: Iterable[str]) -> Shares:
    names = [share.name for share in fields(Shares)]
    found: dict[str, float] = {}
    for text in given:
        name, _, value = text.partition("=")
        if name not in names:
            raise BadOptionError(f"--share {text!r}: no share has this name.{nearest(name, names)}")
        try:
            found[name] = float(value)
        except ValueError as error:
            raise BadOptionError(f"--share is NAME=SHARE, e.g. soft=0.2, got {text!r}") from error
    return Shares(**found)


def _tell(done: Replayed, as_json: bool) -> None:
    megabytes = done.bytes / 1e6 / max(done.seconds, 1e-9)
    if as_json:
        row = {"tiles": done.tiles, "bytes": done.bytes, "seconds": round(done.seconds, 3)}
        row |= {"tiles_per_second": round(done.tiles_per_second, 3), "late_s": round(done.late_s, 3)}
        print_json(row | {"truth": str(done.truth)})
        return
    late = f", up to {done.late_s:.1f} s late" if done.late_s > 1 else ""
    speed = f"{done.tiles_per_second:.1f} tiles/s, {megabytes:.0f} MB/s{late}"
    print(f"{done.tiles} tiles in {done.seconds:.1f} s ({speed}); truth in {done.truth}", file=sys.stderr)
