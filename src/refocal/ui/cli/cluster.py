"""The command cluster: a volume on many processes or machines."""

from pathlib import Path
from typing import Annotated

import typer

from refocal.engine.job import Job, Part
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import (
    AsJson,
    Backend,
    Gate,
    Limits,
    Model,
    OtherRestorer,
    Overwrite,
    Quiet,
    Stored,
    limits_of,
    part_of,
    storage,
)
from refocal.ui.cli._show import say_volume, watching


@app.command("cluster", rich_help_panel=Panel.VOLUMES)
def cluster(
    volume: Annotated[str, typer.Argument(help="Volume or stack: a path or a URL that all workers can reach.")],
    out: Annotated[str, typer.Option("--out", "-o", help="Output volume, which all workers can reach.")],
    scheduler: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file: where workers run, and what each may use.")
    ] = None,
    workers: Annotated[int | None, typer.Option(help="Processes; 2 unless the file says otherwise.", min=1)] = None,
    script: Annotated[
        bool, typer.Option("--script", help="Only print the script of one job (scheduler: slurm or lsf).")
    ] = False,
    model: Model = "gran-em",
    restorer: OtherRestorer = None,
    gate: Gate = "sharpness",
    backend: Backend = "auto",
    contrast: Limits = None,
    stored: Stored = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Restore a volume on many processes, here or on a cluster.

    Without --scheduler the workers run on this machine. Workers, and this command, may die: run it again to continue.

    For example:

        refocal cluster in.zarr -o out.zarr --workers 8

        refocal cluster in.zarr -o out.zarr --scheduler slurm.yaml --workers 64
    """
    from refocal.engine.volumes.cluster import job_script, restore_on_cluster
    from refocal.engine.volumes.scheduler import Scheduler, read_scheduler

    setting = read_scheduler(scheduler) if scheduler else Scheduler()
    pool = setting.pool(workers)
    if script:
        print(job_script(pool))
        return
    job = Job(
        model=model, backend=backend, restorer=part_of(restorer), gate=Part.parse(gate), contrast=limits_of(contrast),
        batch=setting.batch,
    )  # fmt: skip
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        summary = restore_on_cluster(volume, out, job, pool, storage(stored), overwrite=overwrite, progress=progress)
    if not quiet:
        say_volume(summary, out)
    raise typer.Exit(1 if summary.failed else 0)
