"""Sources and sinks in memory: the loop on arrays, without files.

    source = ArraySource({"a": tile_a, "b": tile_b})
    sink = ArraySink()
    run(source, restorer, sink, gate=gate)
    sink.counts["a"]

For programs that hold their images already (a viewer, an acquisition script), and for tests of gates, restorers and
checks: what is tested goes through the very loop that runs on files.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Self

import numpy as np

from refocal.core.blocks import Block, Box
from refocal.core.errors import UsageError
from refocal.core.values import Contrast, Counts, Frames, Grade, Restored


class ArraySource:
    """Images in memory as a source of blocks; nothing is copied.

    Parameters
    ----------
    images
        (y, x) arrays or `Frames` by key, or in a row, e.g. a (page, y, x) array, whose pages get the keys "0", "1" ...
        Each is one block.
    contrast
        The counts that mean black and white in the arrays; without it the range of their dtype, if they are integers.
        `Frames` have their own.
    pixel_nm
        Pixel edge of the arrays, nm.

    Raises
    ------
    UsageError
        If an array is no (y, x) image.
    ValueError
        If arrays that are no integers come without a contrast.
    """

    def __init__(
        self,
        images: Mapping[str, Counts | Frames] | Iterable[Counts | Frames],
        *,
        contrast: Contrast | None = None,
        pixel_nm: float | None = None,
    ) -> None:
        given = images if isinstance(images, Mapping) else {str(n): image for n, image in enumerate(images)}
        self._frames = {key: _frames(key, image, contrast, pixel_nm) for key, image in given.items()}
        self._blocks = [_whole(key, frames) for key, frames in self._frames.items()]

    @classmethod
    def cut(cls, image: Counts | Frames, blocks: Iterable[Block], *, contrast: Contrast | None = None) -> Self:
        """Return one (y, x) image as the blocks that are given, e.g. those of `refocal.core.blocks.plan`.

        Each block is read with what it needs around it.
        """
        whole, blocks = _frames("image", image, contrast, None), list(blocks)
        source = cls({block.key: _cut(whole, block.read) for block in blocks})
        source._blocks = blocks
        return source

    def __len__(self) -> int:
        """Return the number of blocks."""
        return len(self._blocks)

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks in the order in which they were given."""
        return iter(self._blocks)

    def read(self, block: Block, /) -> Frames:
        """Return the frames of a block."""
        return self._frames[block.key]


class ArraySink:
    """Keeps in memory what a run makes; what it has is not done again.

    Parameters
    ----------
    into
        Takes the write box of every block: (y, x), or (z, y, x) for blocks of single sections.
    box
        What `into` covers, in the coordinates of the blocks; without it these begin at its first pixel.
    known
        Keys of blocks that are there already.
    keep
        False keeps no pixels by key, only grades: for runs that only look, and where `into` is enough.
    """

    def __init__(
        self, into: Counts | None = None, *, box: Box | None = None, known: Collection[str] = (), keep: bool = True
    ) -> None:
        self.counts: dict[str, Counts] = {}
        """By key: the counts of its write box, restored or as they were recorded."""
        self.restored: dict[str, Restored] = {}
        """By key: what the restorer returned, where a block was restored."""
        self.grades: dict[str, Grade] = {}
        """By key: the grade of each block that was carried over; the events of the run have all of them."""
        self._into, self._box, self._keep = into, box, keep
        self._known = set(known)

    def has(self, block: Block, /) -> bool:
        """Say whether a block of this key was taken before."""
        return block.key in self._known

    def write(self, block: Block, restored: Restored, /) -> None:
        """Take a restored block."""
        self._take(block, restored.counts)
        if self._keep:
            self.restored[block.key] = restored

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> None:
        """Take a block as it was recorded."""
        self._take(block, frames.image)
        self.grades[block.key] = grade

    def _take(self, block: Block, counts: Counts) -> None:
        own = counts[block.write.inside(block.read)[-2:]]
        if self._into is not None:
            self._into[block.write.inside(self._box) if self._box else block.write.slices] = own
        if self._keep:
            self.counts[block.key] = own
        self._known.add(block.key)


def _frames(key: str, image: Counts | Frames, contrast: Contrast | None, pixel_nm: float | None) -> Frames:
    if isinstance(image, Frames):
        return image
    image = np.asarray(image)
    if image.ndim != 2:
        raise UsageError(
            f"image {key!r} has the shape {image.shape}, expected (y, x); "
            "give a single image as [image], and several frames of one field as Frames"
        )
    if contrast is None:
        return Frames(image[None], pixel_nm=pixel_nm)
    return Frames(image[None], contrast=contrast, pixel_nm=pixel_nm)


def _whole(key: str, frames: Frames) -> Block:
    box = Box((0, 0), frames.image.shape)
    return Block(key, box, box)


def _cut(frames: Frames, box: Box) -> Frames:
    part = (slice(None), *box.slices)
    valid = None if frames.valid is None else frames.valid[part]
    return replace(frames, counts=frames.counts[part], valid=valid)
