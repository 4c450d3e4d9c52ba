"""The scheduler's file, one flat YAML document: where the workers of a cluster run, and what each may use."""

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refocal.core.documents import DocumentError, read_yaml
from refocal.core.errors import BadOptionError, nearest, quoted
from refocal.engine.volumes.cluster import Pool


class Scheduler(BaseModel):
    """Where workers run, and what each of them may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scheduler: str = Field("local", description="local, slurm, lsf, or tcp://HOST:PORT of a running Dask scheduler")
    workers: int = Field(2, ge=1, description="processes; `--workers` overrides it")
    least: int | None = Field(None, ge=0, description="let their number follow the work, down to this")
    threads: int = Field(1, ge=1, description="cores of each worker")
    memory: str = Field("4GiB", description="limit of each worker")
    gpus: bool = Field(False, description="one GPU for each worker")
    batch: int = Field(1, ge=1, le=64, description="sections restored together; halved where memory is short")
    walltime: str = Field("04:00", pattern=r"^\d+:[0-5]\d$", description="HH:MM of each job (slurm, lsf)")
    queue: str | None = Field(None, description="partition or queue (slurm, lsf)")
    account: str | None = Field(None, description="account or project (slurm, lsf)")
    interface: str | None = Field(None, description="network interface of the workers, e.g. ib0 (slurm, lsf)")
    directives: tuple[str, ...] = Field((), description="more lines of the job script (slurm, lsf)")

    def pool(self, workers: int | None = None) -> Pool:
        """Return the pool of workers, `workers` many if that is given.

        Raises
        ------
        BadOptionError
            If the scheduler is not known, or `least` is more than the workers.
        """
        return Pool(
            on=self.scheduler,
            workers=self.workers if workers is None else workers,
            **self.model_dump(exclude={"scheduler", "workers", "batch"}),
        )


def read_scheduler(path: Path) -> Scheduler:
    """Read a scheduler's file.

    Raises
    ------
    BadOptionError
        In one line, for the first thing that is wrong: the file, a key, or a value.
    """
    try:
        # All values as text: other loaders take the walltime 24:00 for the number 1440, and a queue `no` for false.
        content = read_yaml(path.read_bytes(), text_only=True)
    except OSError as error:
        raise BadOptionError(f"cannot read {path}: {error.strerror}") from error
    except DocumentError as error:
        raise BadOptionError(f"{path} is not YAML as it is read here: {error}") from error
    if not isinstance(content, dict):
        raise BadOptionError(f"{path} must hold 'key: value' lines, e.g. 'scheduler: slurm'")
    for key in content:
        if key not in Scheduler.model_fields:
            raise BadOptionError(
                f"{path} has a key {quoted(key)} that is not known.{nearest(str(key), Scheduler.model_fields)}"
            )
    try:
        return Scheduler.model_validate({key: value for key, value in content.items() if value != ""})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadOptionError(f"{path}: key {where!r}: {first['msg'].lower()}, got {quoted(first['input'])}") from error
