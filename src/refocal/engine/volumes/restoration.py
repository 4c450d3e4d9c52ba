"""A volume's restoration as stages, each a set of blocks that any number of processes may do in any order.

    gather (nets with a global context)  ->  restore  ->  level 1  ->  level 2 ...

All that a process needs to know is where the output is: the ledger beside it holds the job and what is done. A stage is
`engine.run` over some blocks; a cluster is many such runs.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Protocol

from refocal.core.blocks import Block
from refocal.core.errors import UsageError, WriteError
from refocal.core.storage import Store, patient, store
from refocal.core.values import Contrast, LearnedRestorer, Reach, Restorer
from refocal.core.volume import Volume
from refocal.engine.job import Job, Prepared, prepare, refuse_pixel_size
from refocal.engine.loop import Summary, run
from refocal.engine.oom_batching import OomBatching
from refocal.engine.volumes import block_grid
from refocal.engine.volumes.context import ContextSink, contexts
from refocal.engine.volumes.endpoints import STACK, Storage, open_input, output_info, output_kind, refuse_overlap
from refocal.engine.volumes.pyramid import Downsampled, factors, levels
from refocal.engine.volumes.records import JOB, PACKED, BlockRecords
from refocal.engine.volumes.section_contrast import SectionContrast
from refocal.engine.volumes.sink import BlockSink
from refocal.engine.volumes.source import Pieces, SkipConstant, Whole, keep_all
from refocal.eventlog.log import Event
from refocal.parts import volume_formats

Show = Callable[[Event], None]
_DTYPES = ("uint8", "uint16", "int8", "int16", "float16", "float32")
_SCRATCH, _MADE, _PROBE = "/scratch.zarr", "made", "probe"


class Stage(Protocol):
    """Blocks that do not depend on each other."""

    name: str

    def blocks(self) -> Iterator[Block]:
        """Yield all blocks."""
        ...

    def run(self, blocks: Iterable[Block], batch: int = 1, show: Show | None = None) -> Summary:
        """Do those of some blocks that are not done."""
        ...


@dataclass(frozen=True, slots=True)
class Restoration:
    """A volume, what becomes of it, and where."""

    given: str
    out: Store
    source: Volume
    levels: tuple[Volume, ...]
    """Of the output, or of what is gathered for it, finest first; writable."""
    kind: str
    """Of the output."""
    ledger: BlockRecords
    prepared: Prepared
    contrast: SectionContrast
    size: block_grid.Triple
    frugal: OomBatching
    """The restorer; what it learns of the memory of this process holds for all blocks."""
    batch: int = 1

    @property
    def in_one_go(self) -> bool:
        """Whether the output is a file that is written when all blocks are there."""
        return not _blockwise(self.kind)

    def stages(self) -> list[Stage]:
        """Return what is to be done, one after the other."""
        first: list[Stage] = [_Gather(self)] if self.prepared.restorer.reach.context else []
        return [*first, _Restore(self), *(_Level(self, level) for level in range(1, len(self.levels)))]

    def blocks(self, level: int = 0) -> Iterator[Block]:
        """Yield the blocks of a level of the output."""
        reach = self.prepared.restorer.reach if level == 0 else Reach()
        yield from block_grid.blocks(self.levels[level].info, self.size, reach, level)

    def count(self, level: int = 0) -> int:
        """Count the blocks of a level."""
        return block_grid.count(self.levels[level].info.shape, self.size)

    def forget(self, block: Block) -> None:
        """Remove the records of a block and of all that was made of it: blocks of coarser levels, a packed file."""
        level = int(block.key.partition("@")[0])
        at = block.write.start
        self.ledger.forget(block.key)
        for finer, coarser in enumerate(range(level + 1, len(self.levels)), level):
            by = factors(self.levels[finer].info, self.levels[coarser].info)
            at = tuple(a // f // n * n for a, f, n in zip(at, by, self.size, strict=True))
            self.ledger.forget(f"{coarser}@{','.join(map(str, at))}")
        self.ledger.place.delete(PACKED)

    def slab(self, z: int) -> list[Block]:
        """Return the blocks that hold section `z`, in order."""
        return list(block_grid.blocks(self.levels[0].info, self.size, self.prepared.restorer.reach, section=z))

    def mine(self, blocks: Iterable[Block], shard: tuple[int, int]) -> Iterator[Block]:
        """Yield the share of one process of `n`: every n-th block, or slab of sections where these share a context."""
        index, count = shard
        together = self.prepared.restorer.reach.context
        for number, block in enumerate(blocks):
            if (block.write.start[0] // self.size[0] if together else number) % count == index:
                yield block


class _Gather:
    """Contexts of whole sections."""

    name = "gather"

    def __init__(self, work: Restoration) -> None:
        self._work = work

    def blocks(self) -> Iterator[Block]:
        return self._work.blocks()

    def run(self, blocks: Iterable[Block], batch: int = 1, show: Show | None = None) -> Summary:
        work = self._work
        made = work.prepared.restorer
        if not isinstance(made, LearnedRestorer):
            raise UsageError(f"{type(made).__name__} declares a global context, and has no `gather` to find it with")
        sink = ContextSink(made, work.source, work.contrast, work.ledger)
        return run(Whole(work.source, blocks, halo=True), None, sink, gate=keep_all, batch=1, ahead=1, progress=show)


class _Restore:
    """The finest level."""

    name = "restore"

    def __init__(self, work: Restoration) -> None:
        self._work = work

    def blocks(self) -> Iterator[Block]:
        return self._work.blocks()

    def run(self, blocks: Iterable[Block], batch: int = 1, show: Show | None = None) -> Summary:
        work, made = self._work, self._work.prepared
        context = None
        if made.restorer.reach.context:
            context = contexts(work.ledger, lru_cache(maxsize=8)(work.slab))
        pieces = Pieces(work.source, blocks, work.contrast, context)
        sink = BlockSink(work.levels[0], work.ledger, work.source)
        summary = run(
            pieces, work.frugal, sink, gate=SkipConstant(made.gate), check=made.check, log=sink,
            batch=batch, progress=show,
        )  # fmt: skip
        if sink.missing:
            text = f"{sink.missing} of {sink.chunks} chunks are not there and are read as the fill value"
            summary.warnings.say(text, work.given)
        return summary


class _Level:
    """A coarser level."""

    def __init__(self, work: Restoration, level: int) -> None:
        self.name = f"level {level}"
        self._work, self._level = work, level

    def blocks(self) -> Iterator[Block]:
        return self._work.blocks(self._level)

    def run(self, blocks: Iterable[Block], batch: int = 1, show: Show | None = None) -> Summary:
        finer, coarser = self._work.levels[self._level - 1], self._work.levels[self._level]
        sink = BlockSink(coarser, self._work.ledger)
        source = Downsampled(finer, coarser.info, blocks)
        return run(source, None, sink, gate=keep_all, log=sink, batch=1, ahead=1, progress=show)


def begin(
    given: str | Path,
    out: str | Path,
    job: Job,
    storage: Storage | None = None,
    *,
    overwrite: bool = False,
    restorer: Restorer | None = None,
) -> Restoration:
    """Check a request, make the output if it is not there, and return the work.

    Raises
    ------
    UsageError
        For anything that is wrong with the request as a whole, before any block is touched.
    """
    storage, place = storage or Storage(), store(out)
    if job.neighbours:
        raise UsageError("volumes are restored section by section; for folds use `refocal unfold` on a stack")
    if "::" in str(out):
        raise UsageError(f"{out}: '::' names a dataset of an input; give the output a plain name")
    refuse_overlap(given, out)
    source = open_input(given, storage.section_nm)
    if source.info.dtype.name not in _DTYPES:
        raise UsageError(f"{given}: has {source.info.dtype} voxels; expected one of {', '.join(_DTYPES)}")
    kind = output_kind(given, out)
    same = volume_formats.kind_of(store(given)) == kind
    info = output_info(source.info, kind, same, storage)
    prepared = prepare(job, restorer)
    refuse_pixel_size(prepared.gate, lambda: (str(given), source.info.voxel_nm and source.info.voxel_nm[2]))
    size = block_grid.block_size(info, prepared.restorer.reach, storage.block)
    made = levels(info, storage.levels if _blockwise(kind) else 1)
    resolved = {**prepared.resolved, **_plan(given, source, kind, size, made, storage)}
    ledger = BlockRecords(place)
    _cleared(place, ledger, overwrite)
    fresh = ledger.job() is None
    if fresh:
        _writable(ledger)
    ledger.begin(resolved)
    if not ledger.place.exists(_MADE):  # several processes may do this at once: it only adds what is not there
        form, target = _target(kind, place, ledger)
        try:
            patient(partial(form.create, target, made, provenance_of(ledger, resolved)))
        except UsageError:
            if fresh:  # this format cannot hold it; what is asked for instead is not to be refused as another job
                for name in (JOB, _PROBE):
                    ledger.place.delete(name)
            raise
        patient(partial(ledger.place.write, _MADE, b""))
    return _opened(str(given), place, kind, ledger, prepared, job, source, size, len(made))


def provenance_of(ledger: BlockRecords, resolved: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what stands in the output about how it was made."""
    return {"software": "refocal", "version": resolved["refocal"], "job_sha256": ledger.sha256, "job": resolved}


def join(out: str | Path, restorer: Restorer | None = None) -> Restoration:
    """Return the work on an output that has begun, from its ledger alone.

    Raises
    ------
    UsageError
        If nothing has begun there.
    """
    place = store(out)
    ledger = BlockRecords(place)
    resolved = ledger.job()
    if resolved is None:
        raise UsageError(f"{out}: no volume was begun there; expected the output of `refocal restore`")
    job = Job(**{name: resolved[name] for name in Job.model_fields if name in resolved})
    plan = resolved["plan"]
    source = open_input(resolved["input"]["url"], plan["section_nm"])
    prepared = prepare(job, restorer)
    size = (plan["block"][0], plan["block"][1], plan["block"][2])
    return _opened(
        resolved["input"]["url"], place, plan["format"], ledger, prepared, job, source, size, len(plan["levels"])
    )


def _opened(
    given: str, place: Store, kind: str, ledger: BlockRecords, prepared: Prepared, job: Job, source: Volume,
    size: block_grid.Triple, count: int,
) -> Restoration:  # fmt: skip
    form, target = _target(kind, place, ledger)
    if not form.matches(target):
        raise UsageError(
            f"{target.url} is gone, but {ledger.place.url} holds what was done to it; put it back, or pass --overwrite "
            "to start from scratch"
        )
    opened = tuple(form.open(target, level, write=True) for level in range(count))
    contrast = SectionContrast(source, Contrast(*job.contrast) if job.contrast else None)
    return Restoration(
        given, place, source, opened, kind, ledger, prepared, contrast, size, OomBatching(prepared.restorer), job.batch
    )


def _target(kind: str, place: Store, ledger: BlockRecords) -> tuple[Any, Store]:
    """Return where blocks are written: the output, or a scratch volume where that must be written in one go."""
    if _blockwise(kind):
        return volume_formats.format_of(kind), place
    return volume_formats.format_of("ome_zarr"), store(ledger.place.url + _SCRATCH)


def _blockwise(kind: str) -> bool:
    return kind != STACK and volume_formats.format_of(kind).blockwise


def _plan(
    given: str | Path, source: Volume, kind: str, size: block_grid.Triple, made: list[Any], storage: Storage
) -> Mapping[str, Any]:
    url = store(given)
    info = source.info
    about = {
        "url": str(url.path.resolve()) if url.path else url.url,
        "shape": list(info.shape),
        "dtype": info.dtype.name,
    }
    plan = {
        "format": kind, "version": made[0].version, "chunk": list(made[0].chunk), "unit": list(made[0].unit),
        "block": list(size), "levels": [list(level.shape) for level in made], "section_nm": storage.section_nm,
    }  # fmt: skip
    return {"input": {**about, "voxel_nm": info.voxel_nm and list(info.voxel_nm)}, "plan": plan}


def _cleared(place: Store, ledger: BlockRecords, overwrite: bool) -> None:
    """Remove what an earlier job made, if that is wanted; refuse a place that holds anything else."""
    if ledger.is_there():
        if overwrite:
            ledger.place.remove()
            place.remove()
        return
    there = place.path.exists() if place.path else next(place.names(), None) is not None
    empty = place.path and place.path.is_dir() and not any(place.path.iterdir())
    if there and not empty and not ledger.is_there():  # by now: another process may have begun meanwhile
        why = "and was not made by refocal" + (", so --overwrite does not remove it" if overwrite else "")
        raise UsageError(f"the output {place.url} exists {why}; choose another place")


def _writable(ledger: BlockRecords) -> None:
    try:
        patient(partial(ledger.place.write, _PROBE, b""))
    except WriteError as error:
        raise UsageError(f"{ledger.place.url} {error}; choose another place") from error
