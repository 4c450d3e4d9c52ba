"""Global contexts of nets such as GRAN, gathered over whole sections before any of their blocks is restored.

Each block adds what its nodes gather, weighed by one over the nodes of the section, and keeps it in the ledger. The sum
over the blocks of a section, always in the same order, is the context that the net would have gathered from the section
as a whole (`parts/restorers/_tiling.py`). So the answer does not depend on how many
processes worked, or in which order.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.blocks import Block
from refocal.core.errors import UnreadableError
from refocal.core.values import Frames, Grade, LearnedRestorer, Pixels, Restored
from refocal.core.volume import Volume
from refocal.engine.volumes.block_grid import pages
from refocal.engine.volumes.records import BlockRecords
from refocal.engine.volumes.section_contrast import SectionContrast
from refocal.engine.volumes.source import frames_of
from refocal.imaging.no_data import filled_frames


class ContextSink:
    """Keeps what each block adds to the contexts of its sections; the blocks are read with the net's halo."""

    def __init__(
        self, restorer: LearnedRestorer, volume: Volume, contrast: SectionContrast, ledger: BlockRecords
    ) -> None:
        self._restorer, self._volume, self._contrast, self._ledger = restorer, volume, contrast, ledger

    def has(self, block: Block, /) -> bool:
        """Say whether this block's part is there."""
        return self._ledger.array(name_of(block)) is not None

    def write(self, block: Block, restored: Restored, /) -> None:
        """Nothing is restored here."""

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Gather over one block, section by section."""
        planes = zip(pages(block), frames.counts, strict=True)
        parts = [
            self._restorer.gather(filled_frames(frames_of(counts, page, self._volume, self._contrast)))
            for page, counts in planes
        ]
        self._ledger.keep(name_of(block), np.stack(parts))
        return {}


def contexts(ledger: BlockRecords, in_slab: Callable[[int], list[Block]]) -> Callable[[int], Pixels]:
    """Return a function from section to context; `in_slab` returns the blocks that hold a section, in order."""

    @lru_cache(maxsize=4)
    def slab(first: int) -> NDArray[np.float64]:
        name = f"context/{first}/sum.npy"
        total = ledger.array(name)
        if total is None:
            for block in in_slab(first):
                part = ledger.array(name_of(block))
                if part is None:
                    raise UnreadableError(f"the context of block {block.key} is not there; run again to gather it")
                total = part if total is None else total + part
            assert total is not None
            ledger.keep(name, total)
        return total

    def of(z: int) -> Pixels:
        first = in_slab(z)[0].write.start[0]
        context: Pixels = slab(first)[z - first].astype(np.float32)
        return context

    return of


def name_of(block: Block) -> str:
    """Return where a block's part is kept."""
    z, y, x = block.write.start
    return f"context/{z}/{y}_{x}.npy"
