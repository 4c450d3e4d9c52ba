"""HDF5 volumes as in CREMI: a 3-D dataset, by default `volumes/raw`, with `resolution` and `offset` in nanometres.

`FILE.h5::DATASET` names another dataset. Attributes are carried over into an HDF5 output. An HDF5 file cannot be
written by several processes, and one that dies leaves it broken: blocks are gathered elsewhere, and the file is
written in one go.

Source: https://cremi.org/data (format), HDF5 through h5py.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError, UsageError, missing_extra
from refocal.core.plain_files import open_plain
from refocal.core.storage import Store
from refocal.core.values import Counts
from refocal.core.volume import Volume, VolumeInfo
from refocal.parts.volume_formats import _bounds
from refocal.parts.volume_formats._hdf5_attributes import read_attributes, told, write_attributes
from refocal.parts.volume_formats._hdf5_storage import (
    check_storage,
    decoding,
    linked,
    missing_chunks,
    refuse_chunk_bombs,
)

__all__ = ["Hdf5"]

_RAW = "volumes/raw"
_USER_BLOCKS = (0, *(512 << n for n in range(12)))
"""Where the signature may be: behind a block for the user of 512 bytes, 1024, ..."""


class Hdf5:
    """HDF5 files on a local disk."""

    extensions = (".h5", ".hdf5", ".hdf")
    signs = ()
    magic = b"\x89HDF\r\n\x1a\n"
    blockwise = False

    def matches(self, place: Store, /) -> bool:
        """Say whether the place is an HDF5 file."""
        path, _ = _split(place)
        try:
            with open_plain(path) as file:
                return any(_at(file, start) == self.magic for start in _USER_BLOCKS)
        except OSError:
            return False

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> Volume:
        """Open the dataset.

        Raises
        ------
        UnreadableError, UnsupportedError
            If the file is damaged or claims more than it stores, or there is no such dataset, or several and none of
            them is `volumes/raw`, or its values are elsewhere, encoded in a foreign way, or no grey values.
        """
        path, name = _split(place)
        with decoding(path):
            file = _h5py().File(path, "r+" if write else "r", locking=False if write else "best-effort")
            try:
                return self._opened(path, file, name, level, write)
            except BaseException:
                file.close()
                raise

    def _opened(self, path: Path, file: Any, name: str, level: int, write: bool) -> Volume:
        found = _found(file)
        chosen = name or _only(found, path)
        dataset = linked(file, chosen, path) if name else file[chosen]
        if getattr(dataset, "ndim", 0) != 3:
            raise UnreadableError(f"{path}: has no 3-D dataset {name!r}; expected one of {', '.join(found) or 'none'}")
        if level:
            raise UnreadableError(f"{path}: has one level; there is no level {level}")
        shape = tuple(int(n) for n in dataset.shape)
        warnings = [] if write else check_storage(dataset, path)
        others = [other for other in found if other != dataset.name.strip("/")]
        if others and not write:
            warnings.append(f"holds other 3-D datasets that are left out: {', '.join(others)[:100]}")
        chunk = dataset.chunks or (1, *shape[1:])
        attributes = read_attributes(dataset, warnings)
        voxel, offset = told(attributes, warnings)
        info = VolumeInfo(
            (shape[0], shape[1], shape[2]), dataset.dtype.newbyteorder("="), chunk, chunk, voxel, offset,
            metadata={"dataset": dataset.name.strip("/"), "attributes": attributes}, warnings=tuple(warnings),
        )  # fmt: skip
        _bounds.check(info, str(path))
        return _Dataset(path, dataset, info)

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        """Make a file with one dataset; only the finest level is kept, and the attributes of an HDF5 input."""
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
                write_attributes(dataset, info)
                dataset.attrs["refocal"] = json.dumps(provenance, default=str)
        except (OSError, ValueError) as error:
            raise UsageError(f"{path}: cannot be made: {' '.join(str(error).split())[:160]}") from error


class _Dataset:
    """One dataset; h5py lets one thread in at a time."""

    def __init__(self, path: Path, dataset: Any, info: VolumeInfo) -> None:
        self.info = info
        self._path, self._dataset = path, dataset

    def read(self, box: Box, /) -> Counts:
        with decoding(self._path):
            refuse_chunk_bombs(self._dataset, box, self._path)
            return np.ascontiguousarray(self._dataset[box.slices], self.info.dtype)

    def write(self, box: Box, counts: Counts, /) -> None:
        self._dataset[box.slices] = counts

    def missing(self, box: Box, /) -> int:
        with decoding(self._path):
            return missing_chunks(self._dataset, box)

    def close(self) -> None:
        self._dataset.file.close()


def _split(place: Store) -> tuple[Path, str]:
    if Path(place.url).is_file():
        return Path(place.url), ""
    file, _, name = place.url.partition("::")
    return Path(file), name.strip("/")


def _at(file: Any, start: int) -> bytes:
    file.seek(start)
    signature: bytes = file.read(len(Hdf5.magic))
    return signature


def _only(found: Sequence[str], path: Path) -> str:
    if _RAW in found or len(found) == 1:
        return _RAW if _RAW in found else found[0]
    raise UnsupportedError(f"{path}: holds {', '.join(found) or 'no 3-D dataset'}; say which: {path.name}::DATASET")


def _found(file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if getattr(item, "ndim", 0) == 3 else None)
    return found


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise missing_extra("h5py", "volumes") from error
    return h5py
