"""Volumes: restored in blocks by any number of processes, resumed, and verified.

restore_volume("in.zarr", "out.zarr", Job())      here, or one share of it
verify_volume("out.zarr")                         does what is stored still have the recorded hashes?
"""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from refocal.core.errors import TileError, UsageError
from refocal.core.values import Restorer
from refocal.core.volume import Volume
from refocal.engine.job import Job, Progress
from refocal.engine.loop import Summary, run
from refocal.engine.volumes.endpoints import Storage, open_input
from refocal.engine.volumes.finalise import finish
from refocal.engine.volumes.restoration import Restoration, begin, join
from refocal.engine.volumes.sink import Compare
from refocal.engine.volumes.source import Whole, keep_all
from refocal.eventlog.log import Event

__all__ = [
    "Restoration",
    "Storage",
    "added",
    "begin",
    "finish",
    "join",
    "restore_volume",
    "verify_volume",
]


UNFINISHED = "nothing failed, but not all blocks are recorded; run the same command again to do what is left"


def restore_volume(
    given: str | Path,
    out: str | Path,
    job: Job,
    storage: Storage | None = None,
    *,
    shard: tuple[int, int] = (0, 1),
    overwrite: bool = False,
    restorer: Restorer | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Restore a volume; what is recorded in the ledger `OUT.refocal` is not done again.

    Parameters
    ----------
    given
        OME-Zarr, precomputed, HDF5 or a stack of images: a path, or a URL of an object store. Only ever read.
    out
        Where the volume goes; its ending says the format, else it is that of the input.
    storage
        Chunks, shards, version and blocks of the output.
    shard
        (i, n): every n-th block from the i-th on; every n-th slab of sections for nets with a global context. The one
        that finds all blocks done makes the coarser levels.
    overwrite
        Start from scratch where `out` holds the work of another job.
    restorer
        Stands in for the job's own.

    Raises
    ------
    UsageError
        For anything that is wrong with the request as a whole, before any block is touched.
    TileError
        If the records of blocks that were done are not there.
    """
    index, count = shard
    if not 0 <= index < count:
        raise UsageError(f"there is no shard {index} of {count}; expected 0 to {count - 1}")
    if overwrite and count > 1:
        raise UsageError("--overwrite together with --shard would remove what other shards do; remove the output first")
    work = begin(given, out, job, storage, overwrite=overwrite, restorer=restorer)
    return restore_share(work, shard, progress)


def restore_share(work: Restoration, shard: tuple[int, int] = (0, 1), progress: Progress | None = None) -> Summary:
    """Do one share of a volume that has begun; see `restore_volume`."""
    total = Summary({}, (), 0, 0.0)
    for stage in work.stages():
        if stage.name.startswith("level") and not _done(work, stage.name):
            break
        mine = work.mine(stage.blocks(), shard)
        if stage.name.startswith("level") and shard[1] > 1:
            mine = chain(mine, stage.blocks())  # others may have ended before this level could begin
        total = added(total, stage.run(mine, work.batch, _shower(work, stage.name, progress)), stage.name)
    for text in work.source.info.warnings:
        total.warnings.say(text, work.given)
    if not total.failed and not finish(work) and shard[1] == 1:
        raise TileError(UNFINISHED)
    return total


def added(total: Summary, part: Summary, stage: str) -> Summary:
    """Add what a stage did: only restoring counts sections; what failed counts in every stage."""
    names = (*total.failed, *(name if stage == "restore" else f"{stage}: {name}" for name in part.failed))
    seconds = total.seconds + part.seconds
    if stage != "restore":
        return replace(total, failed=names, seconds=seconds)
    counts = {name: total.counts.get(name, 0) + n for name, n in part.counts.items()}
    return Summary(counts, names, total.pixels + part.pixels, seconds, total.warnings.joined(part.warnings))


def verify_volume(
    out: str | Path, *, shard: tuple[int, int] = (0, 1), forget: bool = False, progress: Progress | None = None
) -> Summary:
    """Compare every block of an output with the hash in its record.

    With `forget` the records of blocks that differ are removed, and of what was made of them, so that restoring does
    these again; else nothing is written.

    Returns
    -------
    Summary
        `failed` names the blocks that differ or are not done.

    Raises
    ------
    UsageError
        If there is no ledger.
    """
    work = join(out)
    total, sink = Summary({}, (), 0, 0.0), Compare(work.ledger, work.forget if forget else lambda _: None)
    for level in range(len(work.levels)):
        stored = _stored(work, level)
        blocks = islice(work.blocks(level), shard[0], None, shard[1])
        show = _shower(work, f"level {level}", progress)
        summary = run(Whole(stored, blocks), None, sink, gate=keep_all, batch=1, ahead=1, progress=show)
        total = added(total, summary, "restore")
    return total


def _stored(work: Restoration, level: int) -> Volume:
    return open_input(work.out.url) if work.in_one_go else work.levels[level]


def _done(work: Restoration, stage: str) -> bool:
    """Say whether all blocks of the level below are there."""
    below = int(stage.removeprefix("level ")) - 1
    there = sum(1 for _ in work.ledger.place.names(f"blocks/{below}"))
    return there >= work.count(below)


def _shower(work: Restoration, stage: str, progress: Progress | None) -> Callable[[Event], None] | None:
    if progress is None:
        return None
    level = int(stage.rpartition(" ")[2]) if stage.startswith("level") else 0
    blocks = work.count(level)
    total = work.levels[0].info.shape[0] * blocks // -(-work.levels[0].info.shape[0] // work.size[0])
    return lambda event: progress(event, total if stage == "restore" else blocks)
