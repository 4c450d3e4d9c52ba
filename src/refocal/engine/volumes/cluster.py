"""A volume on many processes: Dask hands out blocks, and the ledger beside the output knows what is done.

Nothing but block keys goes out and nothing but counts comes back; all state is in the store. So a worker may die at any
moment (its block is done again, with the same bytes), and so may the scheduler, or this process: the same command goes
on. At most a few blocks for each worker are handed out at a time, however many the volume has.

A block whose worker died is tried again with half the batch, because memory is the usual reason; if it dies a second
time, the batch is halved for all blocks that follow.
"""

import os
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from refocal.core.blocks import Block
from refocal.core.errors import BadOptionError, TileError, UsageError, missing_extra
from refocal.engine.job import Job, Progress
from refocal.engine.loop import Summary
from refocal.engine.volumes import UNFINISHED, Restoration, Storage, added, begin, finish, join
from refocal.eventlog.log import Event

_DEATHS = 20
_FAILURES = 2
_WINDOW = 4
_POLL_SECONDS = 5.0
_EMPTY_POLLS = 12
_POOLS = 100
_DESERTED = "no worker is left, and none comes back; what is done is recorded: run the same command again to continue"
_LOST = "the scheduler is lost; what is done is recorded: run the same command again to continue"
_ONE = threading.Lock()
"""Workers that others started may have several threads; what restores is made for one."""
_SETTINGS = {
    # A worker's death must come back at once: trying again is done here, with a smaller batch.
    "distributed.scheduler.allowed-failures": 0,
    "distributed.comm.timeouts.connect": "10s",
    "distributed.comm.timeouts.tcp": "20s",
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.admin.low-level-log-length": 0,
}


@dataclass(frozen=True, slots=True)
class Pool:
    """Where the workers are. One worker is one process that does one block at a time."""

    on: str = "local"
    """`local`, `slurm`, `lsf`, or the address of a running scheduler (`tcp://...`)."""
    workers: int = 1
    least: int | None = None
    """Set to let the number of workers follow the work, between this and `workers`."""
    threads: int = 1
    """Cores of each worker; local workers are bound to their own."""
    memory: str = "4GiB"
    """Limit of each worker; one that goes over it is started again."""
    gpus: bool = False
    """One GPU for each worker."""
    walltime: str = "04:00"
    queue: str | None = None
    account: str | None = None
    interface: str | None = None
    """Network interface on which workers reach the scheduler, e.g. `ib0` (slurm, lsf)."""
    directives: tuple[str, ...] = ()
    """More lines of the job script."""

    def __post_init__(self) -> None:
        """Refuse pools without workers, and places that are not known."""
        if self.on not in ("local", "slurm", "lsf") and "://" not in self.on:
            raise BadOptionError(f"no place {self.on!r} for workers; expected local, slurm, lsf or tcp://HOST:PORT")
        if self.workers < 1 or self.threads < 1 or not 0 <= (self.least or 0) <= self.workers:
            raise BadOptionError(
                f"got {self.workers} workers (at least {self.least}) of {self.threads} threads; expected 1 or more, "
                "and no fewer than the least"
            )


def restore_on_cluster(
    given: str | Path,
    out: str | Path,
    job: Job,
    pool: Pool,
    storage: Storage | None = None,
    *,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> Summary:
    """Restore a volume on the workers of a pool; parameters and errors as of `refocal.engine.volumes.restore_volume`.

    Raises
    ------
    MissingExtraError
        If Dask is not installed.
    TileError
        If the scheduler is lost; what was done is recorded.
    """
    if pool.gpus and job.backend == "auto":
        job = job.model_copy(update={"backend": "torch"})  # this machine, which only hands out, may have no GPU
    for attempt in range(_POOLS):
        work = begin(given, out, job, storage, overwrite=overwrite and not attempt)
        with suppress(DesertedError), workers(pool) as client:
            return spread(work, client, pool, progress)
    raise TileError(_DESERTED)


class DesertedError(TileError):
    """All local workers died, and Dask started no others: one that dies while it starts is given up."""


def spread(work: Restoration, client: Any, pool: Pool, progress: Progress | None = None) -> Summary:
    """Do everything that is left of a volume on the workers of a client."""
    hands, total = _Workers(work, client, pool.workers * _WINDOW, work.batch), Summary({}, (), 0, 0.0)
    for stage in work.stages():
        total = added(total, hands.do(stage, progress), stage.name)
        if total.failed:
            return total
    if not finish(work):
        raise TileError(UNFINISHED)
    return total


class _Workers:
    """Hands out blocks, a bounded number at a time."""

    def __init__(self, work: Restoration, client: Any, window: int, batch: int) -> None:
        self._work, self._client, self._window, self._batch = work, client, window, batch
        self._empty = 0
        self._name = uuid4().hex  # a scheduler answers a name that it knows with what it has, whoever asked

    def do(self, stage: Any, progress: Progress | None) -> Summary:
        todo, total = stage.blocks(), Summary({}, (), 0, 0.0)
        out: dict[Any, tuple[Block, int]] = {}
        for block in islice(todo, self._window):
            self._submit(stage.name, block, 0, out)
        while out:
            for future in self._ready(list(out)):
                if future.status not in ("finished", "error"):
                    continue  # its worker died with the answer, so it is asked again
                block, losses = out[future]
                try:
                    summary, errors = self._outcome(future, block)
                except TimeoutError:  # likewise, but nobody has noticed yet
                    self._count_workers()
                    continue
                del out[future]
                if losses < (_DEATHS if summary is None else _FAILURES if summary.failed else 0):
                    self._submit(stage.name, block, losses + 1, out)
                    continue
                total = added(total, summary or Summary({}, (block.key,), 0, 0.0), "restore")
                if progress:
                    progress(_event(block, summary, errors), self._work.count(_level(stage.name)))
                if (following := next(todo, None)) is not None:
                    self._submit(stage.name, following, 0, out)
        return total

    def _ready(self, futures: list[Any]) -> list[Any]:
        """Wait until some are done, and return these; a scheduler that is gone would never say so."""
        import distributed

        while True:
            with suppress(TimeoutError, CancelledError):
                done = distributed.wait(futures, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED").done
                if done:
                    return list(done)
            if self._client.status != "running" or any(future.status == "cancelled" for future in futures):
                raise TileError(_LOST)
            self._count_workers()

    def _count_workers(self) -> None:
        """Raise an error if this machine has had no worker for a while; a queue may take its time."""
        if type(self._client.cluster).__name__ != "LocalCluster":
            return
        self._empty = 0 if self._client.scheduler_info()["workers"] else self._empty + 1
        if self._empty >= _EMPTY_POLLS:
            raise DesertedError(_DESERTED)

    def _submit(self, stage: str, block: Block, losses: int, out: dict[Any, tuple[Block, int]]) -> None:
        if losses > 1:
            self._batch = max(1, self._batch // 2)
        batch = max(1, self._batch // 2) if losses == 1 else self._batch
        work = self._work
        future = self._client.submit(
            do, work.out.url, work.ledger.sha256, stage, block, batch,
            key=f"{stage}-{block.key}-{losses}-{self._name}", pure=False,
        )  # fmt: skip
        out[future] = block, losses

    def _outcome(self, future: Any, block: Block) -> tuple[Summary | None, list[str]]:
        """Return what came of a block, None where its worker died.

        Raises
        ------
        TileError
            If the scheduler is lost, or the block failed in a way that it never should.
        TimeoutError
            If the answer does not come.
        """
        try:
            failure = future.exception() if future.status == "error" else None
            if failure is None:
                counts, failed, pixels, seconds, errors = future.result(timeout=_POLL_SECONDS)
                return Summary(counts, tuple(failed), pixels, seconds), errors
        except CancelledError as error:
            raise TileError(_LOST) from error
        except TimeoutError:
            raise
        except Exception as error:  # its worker died with the answer, and the next one while it was asked again
            failure = error
        if type(failure).__name__ == "KilledWorker":
            return None, [f"block {block.key}: its worker died"]
        raise TileError(f"block {block.key}: {' '.join(str(failure).split())}") from failure


def do(
    out: str, sha256: str, stage: str, block: Block, batch: int
) -> tuple[dict[str, int], list[str], int, float, list[str]]:
    """Do one block of one stage; runs on a worker, which keeps the volume and the net between blocks."""
    errors = []

    def note(event: Event) -> None:
        if event["error"]:
            errors.append(str(event["error"]))

    with _ONE:
        (found,) = (each for each in joined(out, sha256).stages() if each.name == stage)
        summary = found.run([block], batch, note)
    return dict(summary.counts), list(summary.failed), summary.pixels, summary.seconds, errors[:3]


@lru_cache(maxsize=1)
def joined(out: str, sha256: str) -> Restoration:
    """Return the work on an output, opened once in each process.

    Raises
    ------
    UsageError
        If it is another job's by now, or this machine would restore by something else than the job says.
    """
    work = join(out)
    if work.ledger.sha256 != sha256:
        raise UsageError(f"{out} was started from scratch while this job ran; run it again")
    begun, here = ((about or {}).get("restored_by") for about in (work.ledger.job(), work.prepared.resolved))
    if begun != here:
        raise UsageError(f"{out} was begun for {begun}, but a worker would use {here}: name one with --backend")
    return work


@contextmanager
def workers(pool: Pool) -> Iterator[Any]:
    """Yield a Dask client whose cluster has the workers of a pool, and end them afterwards."""
    try:
        import dask
        import distributed
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "distributed", "cluster") from error
    with dask.config.set(_SETTINGS):
        if "://" in pool.on:
            try:
                client = distributed.Client(pool.on, timeout="10s")
            except OSError as error:
                raise UsageError(f"no scheduler answers at {pool.on}; start one, or use local, slurm or lsf") from error
            with _closing(client):
                yield client
            return
        cluster = _cluster(pool)
        with _closing(cluster), _closing(distributed.Client(cluster)) as client:
            if pool.on != "local" or pool.least is not None:
                # Only so are workers whose jobs the queue has ended asked for again.
                cluster.adapt(minimum=pool.workers if pool.least is None else pool.least, maximum=pool.workers)
            client.register_plugin(bound(pool))
            yield client


def job_script(pool: Pool) -> str:
    """Return the script that starts one worker on SLURM or LSF, without starting any."""
    if pool.on not in ("slurm", "lsf"):
        raise BadOptionError(f"workers on {pool.on!r} need no job script; expected slurm or lsf")
    with _closing(_cluster(pool)) as cluster:
        script: str = cluster.job_script()
        return script


def _cluster(pool: Pool) -> Any:
    from dask.utils import parse_bytes

    try:
        parse_bytes(pool.memory)
    except ValueError as error:
        raise BadOptionError(f"memory is a size, e.g. 4GiB; got {pool.memory!r}") from error
    if pool.on == "local":
        import distributed

        return distributed.LocalCluster(
            n_workers=0 if pool.least is not None else pool.workers, threads_per_worker=1, processes=True,
            memory_limit=pool.memory, dashboard_address=None,
        )  # fmt: skip
    try:
        import dask_jobqueue
    except ModuleNotFoundError as error:
        raise missing_extra("dask_jobqueue", "cluster") from error
    # A worker ends itself before the queue would, between two blocks; a stagger keeps them from all ending at once.
    settings: dict[str, Any] = {
        "cores": 1, "processes": 1, "memory": pool.memory, "walltime": pool.walltime, "queue": pool.queue,
        "interface": pool.interface,
        "worker_extra_args": ["--lifetime", f"{_minutes(pool.walltime) * 9 // 10}m", "--lifetime-stagger", "3m"],
        "job_script_prologue": [f"export OMP_NUM_THREADS={pool.threads}"],
    }  # fmt: skip
    if pool.on == "slurm":
        settings["walltime"] += ":00"  # two numbers would be minutes and seconds
        gpus = ["--gres=gpu:1"] if pool.gpus else []
        return dask_jobqueue.SLURMCluster(
            **settings, account=pool.account, job_cpu=pool.threads, job_extra_directives=[*gpus, *pool.directives]
        )
    gpus = ["-gpu num=1"] if pool.gpus else []
    return dask_jobqueue.LSFCluster(
        **settings, project=pool.account, ncpus=pool.threads, lsf_units="mb", use_stdin=True,
        job_extra_directives=[*gpus, *pool.directives],
    )  # fmt: skip


def bound(pool: Pool) -> Any:
    """Return a plug-in that gives each local worker its own cores, and its own GPU where there are any."""
    import distributed

    class Bound(distributed.WorkerPlugin):  # type: ignore[misc]
        name = "refocal-bound"

        def setup(self, worker: Any) -> None:
            if pool.on != "local" or not str(worker.name).isdigit():
                return
            number = int(worker.name)
            if pool.gpus:
                shown = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
                slot = number % pool.workers  # numbers go on where workers come and go
                os.environ["CUDA_VISIBLE_DEVICES"] = shown[slot % len(shown)] if shown else str(slot)
            with suppress(AttributeError, OSError):
                cores = sorted(os.sched_getaffinity(0))
                own = {cores[(number * pool.threads + n) % len(cores)] for n in range(pool.threads)}
                os.sched_setaffinity(0, own)

    return Bound()


@contextmanager
def _closing(thing: Any) -> Iterator[Any]:
    try:
        yield thing
    finally:
        with suppress(Exception):  # what is closed may have died before
            thing.close(timeout=10)


def _minutes(walltime: str) -> int:
    try:
        hours, minutes = (int(part) for part in walltime.split(":"))
    except ValueError as error:
        raise BadOptionError(f"walltime is HH:MM, e.g. 04:00; got {walltime!r}") from error
    return 60 * hours + minutes


def _level(stage: str) -> int:
    return int(stage.removeprefix("level ")) if stage.startswith("level") else 0


def _event(block: Block, summary: Summary | None, errors: list[str]) -> Event:
    """Return an event for the progress bar: one for each block here."""
    counts = {name: n for name, n in (summary.counts if summary else {}).items() if n}
    decision = "failed" if summary is None or summary.failed else max(counts, key=lambda name: counts[name])
    _, height, width = block.write.shape
    return {
        "event": "tile", "key": block.key, "decision": decision, "height": height * block.write.shape[0],
        "width": width, "seconds": summary.seconds if summary else 0.0, "error": errors[0] if errors else None,
    }  # fmt: skip
