"""Volumes as one raw file for each chunk, and a text that describes them."""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError
from refocal.core.storage import Store
from refocal.core.values import Counts
from refocal.core.volume import VolumeInfo


class Bricks:
    """Raw chunks."""

    extensions = (".bricks",)
    signs = ("bricks.json",)
    magic = b""
    blockwise = True

    def matches(self, place: Store, /) -> bool:
        return place.exists("bricks.json")

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> "Opened":
        try:
            about = json.loads(place.read("bricks.json") or b"")[level]
        except (ValueError, IndexError) as error:
            raise UnreadableError(f"{place.url}: is damaged or has no level {level}") from error
        shape, chunk, voxel, offset = (tuple(about[name]) for name in ("shape", "chunk", "voxel_nm", "offset_nm"))
        info = VolumeInfo(shape, np.dtype(about["dtype"]), chunk, chunk, voxel or None, offset)
        return Opened(place, level, info)

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        about = [
            {
                "shape": one.shape, "dtype": one.dtype.name, "chunk": one.chunk, "voxel_nm": one.voxel_nm or (),
                "offset_nm": one.offset_nm, "refocal": dict(provenance),
            }
            for one in levels
        ]  # fmt: skip
        place.write("bricks.json", json.dumps(about).encode())


class Opened:
    """One level."""

    def __init__(self, place: Store, level: int, info: VolumeInfo) -> None:
        self.info, self._place, self._level = info, place, level

    def read(self, box: Box, /) -> Counts:
        counts = np.zeros(self.info.shape, self.info.dtype)
        for name, chunk in self._chunks(box):
            if (stored := self._place.read(name)) is not None:
                counts[chunk.slices] = np.frombuffer(stored, self.info.dtype).reshape(chunk.shape)
        return counts[box.slices]

    def write(self, box: Box, counts: Counts, /) -> None:
        whole = np.zeros(self.info.shape, self.info.dtype)
        whole[box.slices] = counts
        for name, chunk in self._chunks(box):
            self._place.write(name, whole[chunk.slices].tobytes())

    def missing(self, box: Box, /) -> int:
        return sum(not self._place.exists(name) for name, _ in self._chunks(box))

    def close(self) -> None:
        pass

    def _chunks(self, box: Box) -> Iterator[tuple[str, Box]]:
        spans = zip(box.start, box.stop, self.info.chunk, strict=True)
        for start in product(*(range(a // n * n, b, n) for a, b, n in spans)):
            stop = tuple(min(a + n, s) for a, n, s in zip(start, self.info.chunk, self.info.shape, strict=True))
            yield f"{self._level}/{'_'.join(map(str, start))}", Box(start, stop)
