"""Neuroglancer precomputed volumes, raw encoding, without shards: one file for each chunk, named by its voxels.

The bytes of a chunk are (x, y, z) with x fastest, little endian; chunks at the border are smaller. Chunks that are not
there are 0. Chunk files that are compressed once more, as other programs leave them on disks
(.gz, .br, .zstd, .xz, .bz2), are read.

Source: https://github.com/google/neuroglancer/tree/master/src/datasource/precomputed (volume.md).
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.documents import read_json
from refocal.core.errors import UnreadableError, UnsupportedError, UsageError
from refocal.core.storage import Store
from refocal.core.values import Counts
from refocal.core.volume import Volume, VolumeInfo
from refocal.parts.volume_formats import _bounds, _levels

__all__ = ["Precomputed"]

_MOST_BYTES = 64 << 20
_CHUNK = re.compile(rf"-?\d+--?\d+_-?\d+--?\d+_-?\d+--?\d+(?:{'|'.join(map(re.escape, _bounds.PACKED))})?")
_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "float32")


class Precomputed:
    """Neuroglancer precomputed images."""

    extensions = (".precomputed",)
    signs = ("info",)
    magic = b""
    blockwise = True

    def matches(self, place: Store, /) -> bool:
        """Say whether there is an `info` that describes a volume."""
        return b'"scales"' in (place.read("info") or b"")

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> Volume:
        """Open one level.

        Raises
        ------
        UnreadableError, UnsupportedError
            If `info` is damaged, or says an encoding other than raw, shards, or several channels.
        """
        try:
            about = read_json(place.read("info") or b"", most_bytes=_MOST_BYTES)
            scale = about["scales"][level]
            dtype, channels = np.dtype(about["data_type"]), int(about.get("num_channels", 1))
            shape, chunk, start = (
                tuple(int(n) for n in reversed(numbers))
                for numbers in (scale["size"], scale["chunk_sizes"][0], scale.get("voxel_offset", (0, 0, 0)))
            )
            shape, chunk, start = _three(shape), _three(chunk), _three(start)
            voxel = _three(tuple(float(n) for n in reversed(scale["resolution"])))
            key, encoding = _bounds.check_name(str(scale["key"]), place.url), scale["encoding"]
        except (ValueError, KeyError, IndexError, TypeError, OverflowError, AttributeError) as error:
            raise UnreadableError(f"{place.url}: info is damaged or has no level {level}") from error
        if encoding != "raw" or scale.get("sharding") or channels != 1:
            raise UnsupportedError(
                f"{place.url}: has {channels} channels, encoding {encoding!r} and "
                f"{'shards' if scale.get('sharding') else 'no shards'}; expected 1, 'raw' and none: convert it first"
            )
        if dtype.name not in _DTYPES:
            raise UnsupportedError(f"{place.url}: has voxels of type {dtype}; expected one of {', '.join(_DTYPES)}")
        known = _bounds.finite(voxel)
        offset = tuple(a * b for a, b in zip(start, voxel, strict=True)) if known else (0.0, 0.0, 0.0)
        kind = str(about.get("type", "image"))
        info = VolumeInfo(
            shape, dtype, chunk, chunk, voxel if known else None, _three(offset), "zyx", "", len(about["scales"]), {},
            labels="" if kind == "image" else f"its info has the type {kind!r}",
            warnings=() if known else ("the voxel size is no positive number: taken as not known",),
        )  # fmt: skip
        _bounds.check(info, place.url)
        return _Chunks(place, key, info, start)

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        """Write `info`. The offset is rounded down to whole voxels; a finest voxel of unknown size is 1 nm."""
        first = levels[0]
        if first.dtype.name not in _DTYPES:
            raise UsageError(f"{place.url}: precomputed holds {', '.join(_DTYPES)}, not {first.dtype}")
        if first.unit != first.chunk:
            raise UsageError(
                f"{place.url}: shards are not written in precomputed volumes; ask for none, or write .zarr"
            )
        scales = []
        for info in levels:
            voxel = _levels.voxel(first, info)
            scales.append(
                {
                    "key": "_".join(f"{n:g}" for n in reversed(voxel)),
                    "size": info.shape[::-1],
                    "resolution": voxel[::-1],
                    "voxel_offset": [_whole(a / b) for a, b in zip(info.offset_nm[::-1], voxel[::-1], strict=True)],
                    "chunk_sizes": [info.chunk[::-1]],
                    "encoding": "raw",
                }
            )
        about = {
            "@type": "neuroglancer_multiscale_volume",
            "type": "image",
            "data_type": first.dtype.name,
            "num_channels": 1,
            "scales": scales,
            "refocal": provenance,
        }
        place.write("info", json.dumps(about, indent=1, default=str).encode())


class _Chunks:
    """The chunk files of one scale."""

    def __init__(self, place: Store, key: str, info: VolumeInfo, start: tuple[int, int, int]) -> None:
        self.info = info
        self._place, self._key, self._start = place, key, start

    def check_there(self) -> None:
        """Raise `UnreadableError` if no chunk is there."""
        if 0 in self.info.shape:
            return
        first = self._name(next(self._chunks(Box((0, 0, 0), self.info.shape)))).removeprefix(f"{self._key}/")
        _bounds.check_there(self._place, self._key, lambda name: bool(_CHUNK.fullmatch(name)), first, ())

    def read(self, box: Box, /) -> Counts:
        counts = np.zeros(box.shape, self.info.dtype)
        for chunk in self._chunks(box):
            stored = self._stored(chunk)
            if stored is None:
                continue
            try:
                voxels = np.frombuffer(stored, self.info.dtype.newbyteorder("<")).reshape(chunk.shape)
            except ValueError as error:
                raise UnreadableError(f"{self._place.url}/{self._name(chunk)}: is truncated or damaged") from error
            both = _overlap(chunk, box)
            counts[both.inside(box)] = voxels[both.inside(chunk)]
        return counts

    def write(self, box: Box, counts: Counts, /) -> None:
        for chunk in self._chunks(box):
            voxels = counts[chunk.inside(box)].astype(self.info.dtype.newbyteorder("<"), copy=False)
            self._place.write(self._name(chunk), voxels.tobytes())

    def missing(self, box: Box, /) -> int:
        names = [self._name(chunk) for chunk in self._chunks(box)]
        return sum(not any(self._place.exists(name + packed) for packed in ("", *_bounds.PACKED)) for name in names)

    def close(self) -> None:
        pass

    def _stored(self, chunk: Box) -> bytes | None:
        name = self._name(chunk)
        stored = self._place.read(name)
        if stored is not None:
            return stored
        size = math.prod(chunk.shape) * self.info.dtype.itemsize
        for ending in _bounds.PACKED:
            if (packed := self._place.read(name + ending)) is not None:
                return _bounds.inflated(packed, ending, size, f"{self._place.url}/{name}{ending}")
        return None

    def _chunks(self, box: Box) -> Iterator[Box]:
        """Yield the chunks that a box touches."""
        edges, shape = self.info.chunk, self.info.shape
        spans = [range(a // n * n, b, n) for a, b, n in zip(box.start, box.stop, edges, strict=True)]
        for z in spans[0]:
            for y in spans[1]:
                for x in spans[2]:
                    stop = tuple(min(a + n, s) for a, n, s in zip((z, y, x), edges, shape, strict=True))
                    yield Box((z, y, x), stop)

    def _name(self, chunk: Box) -> str:
        spans = [f"{a + o}-{b + o}" for a, b, o in zip(chunk.start, chunk.stop, self._start, strict=True)]
        return f"{self._key}/{'_'.join(reversed(spans))}"


def _overlap(a: Box, b: Box) -> Box:
    return Box(tuple(map(max, a.start, b.start)), tuple(map(min, a.stop, b.stop)))


def _whole(voxels: float) -> int:
    """Round down, but not what is whole to the precision of the numbers in files."""
    return math.floor(round(voxels, 6))


def _three(values: Any) -> tuple[Any, Any, Any]:
    z, y, x = values
    return z, y, x
