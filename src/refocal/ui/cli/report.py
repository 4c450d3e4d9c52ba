"""The command report."""

from pathlib import Path
from typing import Annotated

import typer

from refocal.core.errors import BadOptionError
from refocal.engine.job import LOG
from refocal.eventlog.log import read_log
from refocal.ui.cli import Panel, app
from refocal.ui.cli._show import stream_page, tile_page


@app.command("report", rich_help_panel=Panel.DAILY)
def report(
    out: Annotated[Path, typer.Argument(help="Output folder of a run.")],
    truth: Annotated[Path | None, typer.Option(help="Folder with the true images; adds PSNR and SSIM.")] = None,
    inputs: Annotated[Path | None, typer.Option(help="Where the raw tiles are, if they were moved.")] = None,
    pictures: Annotated[
        int | None, typer.Option(help="Most tiles to show; 24, or 40 of a stream.", min=0, show_default=False)
    ] = None,
) -> None:
    """Write the report of a run again, with or without the truth.

    A run over tiles has report.html, a stream bursts.html. The run may be finished or still going on.

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
        print(tile_page(out, inputs, truth, 24 if pictures is None else pictures))
        return
    if truth is not None:
        raise BadOptionError(f"{out} holds a stream, whose restored frames are cropped: it takes no --truth")
    print(stream_page(out, inputs, 40 if pictures is None else pictures))
