"""The command that plays a microscope."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from refocal.cli import app
from refocal.cli._show import print_json
from refocal.errors import BadOptionError
from refocal.replay import Plan, Shares, kinds, replay

_PLAN, _SHARES = Plan(), Shares()
Share = Annotated[float, typer.Option(min=0, max=1, help="share of the tiles")]


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
    soft: Share = _SHARES.soft,
    noisy: Share = _SHARES.noisy,
    blank: Share = _SHARES.blank,
    hopeless: Share = _SHARES.hopeless,
    slow: Annotated[float, typer.Option(min=0, max=1, help="stay half-written for a while")] = _SHARES.slow,
    torn: Annotated[float, typer.Option(min=0, max=1, help="stay half-written for ever")] = _SHARES.torn,
    missing: Annotated[float, typer.Option(min=0, max=1, help="beams without an image")] = _SHARES.missing,
    seed: Annotated[int, typer.Option(min=0)] = 0,
    truth: Annotated[Path | None, typer.Option(help="JSON lines; default OUT.truth.jsonl")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="the summary as JSON on standard output")] = False,
) -> None:
    """Play a microscope: write an acquisition in its order and at its speed, to try `refocal watch` without one.

    Some tiles are soft, noisy, blank or half-written, as told; which ones stands in a file beside the folder. The
    folder must be new or empty.

    For example:

        refocal replay multisem scope --sections 2 --mfovs 3 --size 782x681

        refocal replay multisem scope --tiles-per-second 25.4 --mfovs 250

        refocal replay sbemimage stack --sections 50 --tiles 9 -i sharp
    """
    width, sign, height = size.partition("x")
    if not (sign and width.isdecimal() and height.isdecimal()):
        raise BadOptionError(f"--size is WIDTHxHEIGHT, e.g. 3128x2724, got {size!r}")
    plan = Plan(
        sections=sections,
        mfovs=mfovs,
        beams=beams,
        grids=grids,
        tiles=tiles,
        batches=batches,
        retakes=retakes,
        height=int(height),
        width=int(width),
        pixel_nm=pixel_nm,
        tiles_per_second=tiles_per_second,
        variants=variants,
        seed=seed,
        images=tuple(image or ()),
        shares=Shares(soft, noisy, blank, hopeless, slow, torn, missing),
    )
    done = replay(kind, out, plan, truth=truth, ready=lambda: print(f"writing to {out}", file=sys.stderr))
    if as_json:
        print_json(
            {
                "tiles": done.tiles,
                "bytes": done.bytes,
                "seconds": round(done.seconds, 3),
                "tiles_per_second": round(done.tiles_per_second, 3),
                "late_s": round(done.late_s, 3),
                "truth": str(done.truth),
            }
        )
        return
    speed = f"{done.tiles_per_second:.1f} tiles/s, {done.bytes / 1e6 / max(done.seconds, 1e-9):.0f} MB/s"
    late = f", up to {done.late_s:.1f} s late" if done.late_s > 1 else ""
    print(f"{done.tiles} tiles in {done.seconds:.1f} s ({speed}{late}); truth in {done.truth}", file=sys.stderr)
