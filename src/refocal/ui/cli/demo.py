"""The command demo."""

from pathlib import Path
from typing import Annotated

import typer

from refocal.core.values import ImageInfo
from refocal.engine.job import Job, Part, run_job
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import Gate
from refocal.ui.cli._show import say_summary, tile_line, tile_page


@app.command("demo", rich_help_panel=Panel.LOOK)
def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the example and its results.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed draws another section.", min=0)] = 0,
    gate: Gate = "sharpness",
) -> None:
    """Draw nine tiles, degrade most, restore them, and show it all.

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
    tile_page(results, truth=truth)
    say_summary(summary, results)
    raise typer.Exit(1 if summary.failed else 0)
