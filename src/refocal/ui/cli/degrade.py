"""The command degrade."""

from typing import Annotated

import typer

from refocal.engine.job import Job, Part, run_job
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import Inputs, Limits, Out, Overwrite, Quiet, limits_of
from refocal.ui.cli._show import say_summary, watching


@app.command("degrade", rich_help_panel=Panel.MODELS)
def degrade(
    inputs: Inputs,
    out: Out,
    degradation: Annotated[str, typer.Option(help="kind:option=value,... ; see `refocal list degradations`.")],
    seed: Annotated[int, typer.Option(help="The same seed gives the same pixels.", min=0)] = 0,
    contrast: Limits = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Degrade sharp tiles in a known way, to train and to test.

    For example:

        refocal degrade sharp -o soft --degradation defocus:sigma_px=2

        refocal degrade sharp -o soft --degradation gran_protocol --seed 7
    """
    from refocal.engine.tiles.degrade import Degrader

    part = Part.parse(degradation)
    degrader = Degrader(part.make("degradations"), seed)
    # The seed is an option here, so that another seed is another job.
    named = Part(kind=part.kind, options={**part.options, "seed": seed})
    job = Job(restorer=named, gate=Part(kind="always"), contrast=limits_of(contrast))
    with watching(lines=False, as_json=False, quiet=quiet) as progress:
        summary = run_job(inputs, out, job, overwrite=overwrite, restorer=degrader, progress=progress)
    if not quiet:
        say_summary(summary, out)
    raise typer.Exit(1 if summary.failed else 0)
