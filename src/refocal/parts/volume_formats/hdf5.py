"""HDF5 volumes as in CREMI: a 3-D dataset, by default `volumes/raw`, with `resolution` and `offset` in nanometres.

`FILE.h5::DATASET` names another dataset. An HDF5 file cannot be written by several processes, and one that dies leaves
it broken: blocks are gathered elsewhere, and the file is written in one go.

Source: https://cremi.org/data (format), HDF5 through h5py.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError, UsageError, missing_extra
from refocal.core.storage import Store
from refocal.core.values import Counts
from refocal.core.volume import Volume, VolumeInfo

__all__ = ["Hdf5"]

_RAW = "volumes/raw"


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
            with path.open("rb") as file:
                return file.read(len(self.magic)) == self.magic
        except OSError:
            return False

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> Volume:
        """Open the dataset.

        Raises
        ------
        UnreadableError, UnsupportedError
            If the file is damaged, or there is no such dataset, or several and none of them is `volumes/raw`.
        """
        path, name = _split(place)
        try:
            file = _h5py().File(path, "r+" if write else "r")
        except OSError as error:
            raise UnreadableError(f"{path}: cannot be opened: {' '.join(str(error).split())[:160]}") from error
        dataset = file[name or _only(file, path)] if not name or name in file else None
        if dataset is None or getattr(dataset, "ndim", 0) != 3:
            raise UnreadableError(f"{path}: has no 3-D dataset {name!r}; expected one of {', '.join(_found(file))}")
        if level:
            raise UnreadableError(f"{path}: has one level; there is no level {level}")
        chunk = dataset.chunks or (1, *dataset.shape[1:])
        voxel, offset = (_triple(dataset.attrs.get(key)) for key in ("resolution", "offset"))
        info = VolumeInfo(
            dataset.shape, dataset.dtype.newbyteorder("="), chunk, chunk, voxel, offset or (0.0, 0.0, 0.0),
            metadata={"dataset": dataset.name.strip("/")},
        )  # fmt: skip
        return _Dataset(path, dataset, info)

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        """Make a file with one dataset; only the finest level is kept."""
        path, name = _split(place)
        info = levels[0]
        try:
            with _h5py().File(path, "w") as file:
                dataset = file.create_dataset(
                    name or info.metadata.get("dataset", _RAW),
                    info.shape,
                    info.dtype,
                    chunks=tuple(min(n, c) for n, c in zip(info.shape, info.chunk, strict=True)),
                    compression="gzip",
                    compression_opts=1,
                )
                if info.voxel_nm:
                    dataset.attrs["resolution"] = info.voxel_nm
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
        except OSError as error:
            raise UnreadableError(
                f"{self._path}: damaged at {box.start}: {' '.join(str(error).split())[:160]}"
            ) from error

    def write(self, box: Box, counts: Counts, /) -> None:
        self._dataset[box.slices] = counts

    def missing(self, box: Box, /) -> int:
        return 0

    def close(self) -> None:
        self._dataset.file.close()


def _split(place: Store) -> tuple[Path, str]:
    file, _, name = place.url.partition("::")
    return Path(file), name.strip("/")


def _only(file: Any, path: Path) -> str:
    found = _found(file)
    if _RAW in found or len(found) == 1:
        return _RAW if _RAW in found else found[0]
    raise UnsupportedError(f"{path}: holds {', '.join(found) or 'no 3-D dataset'}; say which: {path.name}::DATASET")


def _found(file: Any) -> list[str]:
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if getattr(item, "ndim", 0) == 3 else None)
    return found


def _triple(values: Any) -> Any:
    if values is None or len(values) != 3:
        return None
    return tuple(float(n) for n in values)


def _h5py() -> Any:
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise missing_extra("h5py", "volumes") from error
    return h5py
