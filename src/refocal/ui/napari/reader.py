"""Files and volumes as napari layers, in nanometres; what is large is read when it is looked at."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import dask.array
import numpy as np

from refocal.core.blocks import Box
from refocal.core.storage import store
from refocal.core.values import Counts
from refocal.core.volume import Volume
from refocal.engine.volumes.endpoints import open_input
from refocal.parts.formats import is_image_name
from refocal.parts.volume_formats import is_volume, open_volume

LayerData = tuple[Any, dict[str, Any], str]
_READ_AT_ONCE = 1 << 26


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return what reads a path, or None if it is neither an image that refocal knows nor a volume."""
    if not isinstance(path, str) or not (is_volume(path) or (Path(path).is_file() and is_image_name(Path(path)))):
        return None
    return read


def read(path: str) -> list[LayerData]:
    """Return one image layer: (y, x) or (z, y, x) counts, all levels of a pyramid, voxel size in nanometres.

    Raises
    ------
    RefocalError
        If it cannot be read; one line.
    """
    volume = open_input(path)
    info = volume.info
    finer = [volume] + [open_volume(store(path), level) for level in range(1, info.levels)]
    levels = [_data(v) for v in finer]
    flat = info.shape[0] == 1
    about: dict[str, Any] = {
        "name": Path(path.rstrip("/").rpartition("/")[2]).stem,
        "metadata": {"refocal": {"path": path, "voxel_nm": info.voxel_nm}},
    }
    if info.voxel_nm:
        about["scale"], about["translate"] = info.voxel_nm[flat:], info.offset_nm[flat:]
        about["units"] = ("nm",) * (2 if flat else 3)
    if info.dtype == np.uint8:
        about["contrast_limits"] = (0, 255)
    shown = [level[0] for level in levels] if flat else levels
    return [(shown if len(shown) > 1 else shown[0], about, "image")]


class _Lazy:
    """A volume with the index of an array."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self.shape, self.dtype, self.ndim = volume.info.shape, volume.info.dtype, 3

    def __getitem__(self, index: tuple[slice | int, ...]) -> Counts:
        spans = [slice(i, i + 1) if isinstance(i, int) else i for i in index]
        bounds = [span.indices(n) for span, n in zip(spans, self.shape, strict=True)]
        counts = self._volume.read(Box(tuple(a for a, _, _ in bounds), tuple(b for _, b, _ in bounds)))
        return counts[tuple(0 if isinstance(i, int) else slice(None) for i in index)]


def _data(volume: Volume) -> Any:
    info = volume.info
    if np.prod(info.shape, dtype=np.int64) * info.dtype.itemsize <= _READ_AT_ONCE:
        return volume.read(Box((0, 0, 0), info.shape))
    return dask.array.from_array(_Lazy(volume), chunks=info.chunk, name=False, meta=np.empty((0, 0, 0), info.dtype))
