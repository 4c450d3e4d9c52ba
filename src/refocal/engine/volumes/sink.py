"""Sinks of volumes: a block is written when its last section is there, and only looked at where that is all."""

import hashlib
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import numpy as np

from refocal.core.blocks import Block
from refocal.core.errors import TileError, WriteError
from refocal.core.storage import patient
from refocal.core.values import Counts, Frames, Grade, Restored
from refocal.core.volume import Volume
from refocal.engine.volumes.block_grid import Page
from refocal.engine.volumes.records import BlockRecords
from refocal.eventlog.log import Event, split_key

_KEPT = (
    "decision",
    "reason",
    "sigma_px",
    "noise",
    "anisotropy",
    "angle_deg",
    "expected",
    "clipped",
    "checked",
    "warnings",
)


class BlockSink:
    """Writes blocks, whole or not at all, and then their records; sections are gathered in memory.

    It is the journal of its run too: only so does it know which blocks will never be whole, and lets go of these.

    Parameters
    ----------
    out
        The level that is written.
    ledger
        Knows which blocks are done, and is told.
    given
        The input, to count chunks that are not there; None where the blocks come from elsewhere.
    """

    def __init__(self, out: Volume, ledger: BlockRecords, given: Volume | None = None) -> None:
        self._out, self._ledger, self._given = out, ledger, given
        self._open: dict[str, tuple[Counts, set[int]]] = {}
        self._facts: dict[str, list[dict[str, Any]]] = {}
        self._failed: set[str] = set()
        # All sections of a block get one answer, even if another process ends it meanwhile.
        self._recorded = lru_cache(maxsize=64)(self._is_recorded)

    def has(self, block: Block, /) -> bool:
        """Say whether the block is recorded under this job."""
        return self._recorded(block.home.key) if isinstance(block, Page) else self._is_recorded(block.key)

    def _is_recorded(self, key: str) -> bool:
        return self._ledger.record(key) is not None

    def write(self, block: Block, restored: Restored, /) -> Mapping[str, Any]:
        """Add a restored section; returns `output_sha256` with the last one of a block.

        Raises
        ------
        WriteError
            If the store does not take the block, after some tries.
        """
        return self._add(block, restored.counts)

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Add a section, or write a whole block, as it is; returns and raises as `write` does."""
        return self._add(block, frames.image) if isinstance(block, Page) else self._put(block, frames.counts)

    def append(self, event: Event, /) -> None:
        """Take the event of a section or a block; the one that says that the voxels are there completes the record."""
        key, section = split_key(event["key"])
        if event["decision"] in ("failed", "unreadable", "queued"):
            self._failed.add(key)
            self._open.pop(key, None)
            self._facts.pop(key, None)
            return
        facts = {name: event[name] for name in _KEPT if event.get(name) is not None}
        facts = {"section": section, **facts, "seconds": event["seconds"]}
        if event.get("output_sha256"):
            self._ledger.complete(key, [*self._facts.pop(key, []), facts], event)
        elif key not in self._failed:
            self._facts.setdefault(key, []).append(facts)

    def _add(self, page: Block, counts: Counts) -> Mapping[str, Any]:
        assert isinstance(page, Page)
        home = page.home
        if home.key in self._failed:
            return {}
        if home.key not in self._open:
            self._open[home.key] = np.zeros(home.write.shape, counts.dtype), set()
        gathered, there = self._open[home.key]
        z = page.write.start[0] - home.write.start[0]
        gathered[z] = counts[page.write.inside(page.read)[1:]]
        there.add(z)
        if len(there) == home.write.shape[0]:
            del self._open[home.key]
            return self._put(home, gathered)
        return {}

    def _put(self, block: Block, counts: Counts) -> Mapping[str, Any]:
        counts = np.ascontiguousarray(counts)
        try:
            patient(partial(self._out.write, block.write, counts))
        except WriteError as error:
            raise WriteError(f"block {block.key} {error}") from error
        missing = 0 if self._given is None or counts.all() else self._given.missing(block.write)
        return {"output_sha256": digest(counts), "missing_chunks": missing}


class Compare:
    """A sink that compares what is stored with what was recorded.

    Parameters
    ----------
    ledger
        Holds the records.
    differs
        Called with each block that differs.
    """

    def __init__(self, ledger: BlockRecords, differs: Callable[[Block], object]) -> None:
        self._ledger, self._differs = ledger, differs

    def has(self, block: Block, /) -> bool:
        """Look at every block."""
        return False

    def write(self, block: Block, restored: Restored, /) -> None:
        """Nothing is restored here."""

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Compare one block.

        Raises
        ------
        TileError
            If it differs, or was never recorded.
        """
        record = self._ledger.record(block.key)
        where = f"block {block.key} at {block.write.start} to {block.write.stop} (z, y, x)"
        if record is None:
            raise TileError(f"{where} is not done; restore again to do what is left")
        found = digest(frames.counts)
        if found != record["output_sha256"]:
            self._differs(block)
            raise TileError(f"{where} differs: SHA-256 {found[:12]}, recorded {record['output_sha256'][:12]}")
        return {"output_sha256": found}


def digest(counts: Counts) -> str:
    """Return the SHA-256 of (z, y, x) counts as little-endian bytes, x fastest."""
    little = np.ascontiguousarray(counts, counts.dtype.newbyteorder("<"))
    return hashlib.sha256(little.data).hexdigest()
