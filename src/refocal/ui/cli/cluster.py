"""The command that restores a volume on many processes or machines: cluster."""

from typing import Annotated

import typer

from refocal.engine.job import Job, Part
from refocal.ui.cli import app
from refocal.ui.cli._show import watching
from refocal.ui.cli.restore import AsJson, Gate, Quiet, _pair


@app.command()
def cluster(
    volume: Annotated[str, typer.Argument(help="volume or stack: a path or a URL that all workers reach")],
    out: Annotated[str, typer.Option("--out", "-o", help="output volume, which all workers reach")],
    model: Annotated[str, typer.Option(help="shipped model or path of a model file")] = "gran-em",
    restorer: Annotated[str | None, typer.Option(help="another restorer, e.g. wiener:sigma_px=1.6")] = None,
    gate: Gate = "sharpness",
    backend: Annotated[str, typer.Option(help="auto, openvino, onnx or torch")] = "auto",
    contrast: Annotated[str | None, typer.Option(help="LOW,HIGH: counts that mean black and white")] = None,
    batch: Annotated[int, typer.Option(help="sections restored together; halved where memory is short", min=1)] = 1,
    stored: Annotated[str | None, typer.Option("--volume", help="as in restore, e.g. block=16x2048x2048")] = None,
    on: Annotated[
        str, typer.Option(help="local, slurm, lsf, or tcp://HOST:PORT of a running Dask scheduler")
    ] = "local",
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 2,
    least: Annotated[int | None, typer.Option(help="let their number follow the work, down to this", min=0)] = None,
    threads: Annotated[int, typer.Option(help="cores of each worker", min=1)] = 1,
    memory: Annotated[str, typer.Option(help="limit of each worker")] = "4GiB",
    gpus: Annotated[bool, typer.Option("--gpus", help="one GPU for each worker")] = False,
    walltime: Annotated[str, typer.Option(help="HH:MM of each job (slurm, lsf)")] = "04:00",
    queue: Annotated[str | None, typer.Option(help="partition or queue (slurm, lsf)")] = None,
    account: Annotated[str | None, typer.Option(help="account or project (slurm, lsf)")] = None,
    interface: Annotated[str | None, typer.Option(help="network interface of the workers (slurm, lsf)")] = None,
    directive: Annotated[
        list[str] | None, typer.Option(help="one more line of the job script; may be repeated")
    ] = None,
    script: Annotated[bool, typer.Option("--script", help="only print the script of one job (slurm, lsf)")] = False,
    overwrite: Annotated[bool, typer.Option(help="begin anew where the output is another job's")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Restore a volume on many processes, here or on a cluster; workers, and this command, may die and go on.

    For example:

        refocal cluster in.zarr -o out.zarr --workers 8 --threads 4

        refocal cluster in.zarr -o out.zarr --on slurm --workers 64 --gpus
    """
    from refocal.engine.volumes.cluster import Pool, job_script, restore_on_cluster
    from refocal.ui.cli.verify import say, storage

    pool = Pool(on, workers, least, threads, memory, gpus, walltime, queue, account, interface, tuple(directive or ()))
    if script:
        print(job_script(pool))
        return
    job = Job(
        model=model, backend=backend, restorer=Part.parse(restorer) if restorer else None, gate=Part.parse(gate),
        contrast=_pair(contrast), batch=batch,
    )  # fmt: skip
    with watching(lines=False, as_json=as_json, quiet=quiet) as progress:
        summary = restore_on_cluster(volume, out, job, pool, storage(stored), overwrite=overwrite, progress=progress)
    if not quiet:
        say(summary, out)
    raise typer.Exit(1 if summary.failed else 0)
