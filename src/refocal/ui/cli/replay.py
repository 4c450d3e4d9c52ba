"""The command that plays a microscope."""

import sys
from collections.abc import Iterable
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import typer

from refocal.core.errors import BadOptionError, nearest
from refocal.microscope.simulate import Plan, Replayed, Shares, kinds, replay
from refocal.ui.cli import app
from refocal.ui.cli._show import print_json

_PLAN = Plan()
_SHARES = ", ".join(f"{share.name}={share.default}" for share in fields(Shares))


@app.command("replay")
def replay_command(
    kind: Annotated[str, typer.Argument(help=f"{', '.join(kinds())}")],
    out: Annotated[Path, typer.Argument(help="a new or empty folder")],
    sections: Annotated[int, typer.Option(help="sections, or slices", min=1)] = _PLAN.sections,
    mfovs: Annotated[int, typer.Option(help="mFoVs of a section (multisem)", min=1)] = _PLAN.mfovs,
    beams: Annotated[int, typer.Option(help="beams (multisem): 61 or 91, or any number", min=1)] = _PLAN.beams,
    tiles: Annotated[int, typer.Option(help="tiles of a grid or folder", min=1)] = _PLAN.tiles,
    grids: Annotated[int, typer.Option(help="grids of a slice (sbemimage)", min=1)] = _PLAN.grids,
    batches: Annotated[int, typer.Option(help="batches of the sections (multisem)", min=1)] = _PLAN.batches,
    retakes: Annotated[int, typer.Option(help="sections imaged again at the end (multisem)", min=0)] = _PLAN.retakes,
    tiles_per_second: Annotated[float, typer.Option(help="0 is as fast as possible", min=0)] = _PLAN.tiles_per_second,
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT of a tile")] = f"{_PLAN.width}x{_PLAN.height}",
    pixel_nm: Annotated[float, typer.Option(help="pixel edge, nm")] = _PLAN.pixel_nm,
    image: Annotated[list[Path] | None, typer.Option("--image", "-i", help="sharp tiles; else drawn")] = None,
    variants: Annotated[int, typer.Option(help="images of each quality in memory", min=1)] = _PLAN.variants,
    share: Annotated[list[str] | None, typer.Option(help=f"NAME=SHARE of the tiles; repeat; {_SHARES}")] = None,
    seed: Annotated[int, typer.Option(help="the same seed plays the same acquisition", min=0)] = 0,
    truth: Annotated[Path | None, typer.Option(help="JSON lines; default OUT.truth.jsonl")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the summary as JSON on standard output")] = False,
) -> None:
    """Play a microscope: write an acquisition in its order and at its speed, to try `refocal watch` without one.

    Some tiles are soft, noisy, blank or half-written, as told; which ones stands in a file beside the folder. The
    folder must be new or empty.

    For example:

        refocal replay multisem scope --sections 2 --mfovs 3 --size 782x681

        refocal replay multisem scope --tiles-per-second 25.4 --mfovs 250

        refocal replay sbemimage stack --tiles 9 -i sharp --share soft=0.3
    """
    width, height = _size(size)
    plan = Plan(
        sections=sections,
        mfovs=mfovs,
        beams=beams,
        grids=grids,
        tiles=tiles,
        batches=batches,
        retakes=retakes,
        height=height,
        width=width,
        pixel_nm=pixel_nm,
        tiles_per_second=tiles_per_second,
        variants=variants,
        seed=seed,
        images=tuple(image or ()),
        shares=_shares(share or ()),
    )
    _tell(replay(kind, out, plan, truth=truth, ready=lambda: print(f"writing to {out}", file=sys.stderr)), as_json)


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
