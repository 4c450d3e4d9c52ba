"""HDF5 volumes as in CREMI: a 3-D dataset, by default `volumes/raw`, with `resolution` and `offset` in nanometres.

`FILE.h5::DATASET` names another dataset. An HDF5 file cannot be written by several processes, and one that dies leaves
it broken: blocks are gathered elsewhere, and the file is written in one go.

Source: https://cremi.org/data (format), HDF5 through h5py.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import RefocalError, UnreadableError, UsageError, missing_extra
from refocal.core.plain_files import open_plain
from refocal.core.storage import Store
from refocal.core.values import Counts
from refocal.core.volume import Volume, VolumeInfo
from refocal.parts.volume_formats import _bounds, _hdf5_datasets

__all__ = ["Hdf5"]

_RAW = "volumes/raw"
_STARTS = (0, *(512 << n for n in range(12)))
"""Where the first bytes of an HDF5 file may stand."""


class Hdf5:
    """HDF5 files on a local disk."""

    extensions = (".h5", ".hdf5", ".hdf")
    signs = ()
    magic = b"\x89HDF\r\n\x1a\n"
    blockwise = False

    def matches(self, place: Store, /) -> bool:
        """Say whether the place is an HDF5 file; a block of the user's own may stand before its first bytes."""
        path, _ = _split(place)
        try:
            with open_plain(path) as file:
                return any(_at(file, start) == self.magic for start in _STARTS)
        except OSError:
            return False

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> Volume:
        """Open the dataset.

        Raises
        ------
        UnreadableError, UnsupportedError
            If the file is damaged, or there is no such dataset, or several and none of them is `volumes/raw`; if its
            voxels lie in other files that are gone or outside of its folder, or need a filter that is not read.
        """
        path, name = _split(place)
        h5py = _h5py()
        try:
            file = h5py.File(path, "r+" if write else "r", locking=False if write else "best-effort")
        except OSError as error:
            raise UnreadableError(f"{path}: cannot be opened: {_line(error)}") from error
        try:
            if level:
                raise UnreadableError(f"{path}: has one level; there is no level {level}")
            dataset = _hdf5_datasets.find(file, path, name or None)
            info = _hdf5_datasets.describe(dataset, path)
            _bounds.check(info, str(path))
            if not write:
                info = replace(info, warnings=(*info.warnings, *_hdf5_datasets.check(dataset, path)))
            return _Dataset(path, dataset, info)
        except RefocalError:
            file.close()
            raise
        except Exception as error:  # the library raises whatever a damaged file makes it meet
            file.close()
            raise UnreadableError(f"{path}: is damaged: {_line(error)}") from error

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        """Make a file with one dataset; only the finest level is kept."""
        path, name = _split(place)
        info = levels[0]
        try:
            with _h5py().File(path, "w", locking=False) as file:
                dataset = file.create_dataset(
                    name or info.metadata.get("dataset", _RAW),
                    info.shape,
                    info.dtype,
                    chunks=tuple(min(n, c) for n, c in zip(info.shape, info.chunk, strict=True)),
                    compression="gzip",
                    compression_opts=1,
                )
                own = info.metadata.get("attributes", {})
                for key, value in own.items():
                    dataset.attrs[key] = value
                if info.voxel_nm and not any(key in own for key in _hdf5_datasets.VOXEL_KEYS):
                    dataset.attrs["resolution"] = info.voxel_nm
                if "offset" not in own:
                    dataset.attrs["offset"] = info.offset_nm
                dataset.attrs["refocal"] = json.dumps(provenance, default=str)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be made: {' '.join(str(error).split())[:160]}") from error


class _Dataset:
    """One dataset; h5py lets one thread in at a time."""

    def __init__(self, path: Path, dataset: Any, info: VolumeInfo) -> None:
        self.info = info
        self._path, self._dataset = path, dataset

    def read(self, box: Box, /) -> Counts:
        try:
            return np.ascontiguousarray(self._dataset[box.slices], self.info.dtype)
        except Exception as error:  # the library raises whatever a damaged file makes it meet
            raise UnreadableError(f"{self._path}: damaged at {box.start}: {_line(error)}") from error

    def write(self, box: Box, counts: Counts, /) -> None:
        self._dataset[box.slices] = counts

    def missing(self, box: Box, /) -> int:
        return 0  # counted when the file is opened

    def close(self) -> None:
        self._dataset.file.close()


def _split(place: Store) -> tuple[Path, str]:
    file, _, name = place.url.partition("::")
    return Path(file), name.strip("/")


def _at(file: BinaryIO, start: int) -> bytes:
    file.seek(start)
    return file.read(8)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:160] or type(error).__name__


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise missing_extra("h5py", "volumes") from error
    return h5py
