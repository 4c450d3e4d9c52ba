"""What a dataset of an HDF5 file says of itself, and whether all of its voxels are there, in the file and readable."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.errors import UnreadableError, UnsupportedError
from refocal.core.volume import VolumeInfo

RAW = "volumes/raw"
VOXEL_KEYS = ("resolution", "element_size_um")
"""Attributes with the (z, y, x) size of a voxel: in nanometres (CREMI), in micrometres (Fiji, ilastik)."""
_IN_NM = {"resolution": 1.0, "element_size_um": 1e3}
_FILTERS = frozenset({1, 2, 3, 4, 5, 6, 32000})
"""deflate, shuffle, fletcher32, szip, nbit, scaleoffset, lzf: those that the library itself brings."""
_OWN = "refocal"
_MOST_VISITED = 10_000


def find(file: Any, path: Path, name: str | None) -> Any:
    """Return the dataset of a name, or the only one that is meant.

    Raises
    ------
    UnreadableError, UnsupportedError
        If there is none, it is not 3-D, or it lies in another file.
    """
    _refuse_links(file, path, name or RAW)
    found = _datasets(file)
    if name is None:
        if RAW not in found and len(found) != 1:
            known = ", ".join(found) or "no 3-D dataset"
            raise UnsupportedError(f"{path}: holds {known}; say which: {path.name}::DATASET")
        name = RAW if RAW in found else found[0]
    try:
        dataset = file[name]
    except KeyError:
        dataset = None
    if dataset is None or getattr(dataset, "ndim", 0) != 3:
        raise UnreadableError(f"{path}: has no 3-D dataset {name!r}; expected one of {', '.join(found) or 'none'}")
    return dataset


def _datasets(file: Any) -> list[str]:
    found: list[str] = []
    visited = iter(range(_MOST_VISITED))

    def look(name: str, item: Any) -> bool | None:
        if getattr(item, "ndim", 0) == 3:
            found.append(name)
        return None if next(visited, None) is not None else True

    file.visititems(look)
    return found


def _refuse_links(file: Any, path: Path, name: str) -> None:
    """Refuse a name that leads into another file which is not there, or lies outside of the folder of this one."""
    import h5py

    parts = name.strip("/").split("/")
    for count in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:count]), getlink=True)
        if isinstance(link, h5py.ExternalLink):
            _refuse_outside(path, [link.filename], f"the link {'/'.join(parts[:count])!r}")


def describe(dataset: Any, path: Path) -> VolumeInfo:
    """Return what a dataset says of itself; nonsense counts as not known.

    Raises
    ------
    UnsupportedError
        If its voxels are no numbers.
    """
    if dataset.dtype.kind not in "iuf":
        raise UnsupportedError(f"{path}: has voxels of type {dataset.dtype}; expected numbers")
    attributes, warnings = _attributes(dataset)
    chunk = tuple(int(n) for n in dataset.chunks or (1, *dataset.shape[1:]))
    voxel = next(filter(None, (_voxel(attributes, key, warnings) for key in VOXEL_KEYS)), None)
    offset = _triple(attributes.get("offset"))
    known = offset is not None and all(map(math.isfinite, offset))
    z, y, x = chunk
    return VolumeInfo(
        tuple(int(n) for n in dataset.shape), dataset.dtype.newbyteorder("="), (z, y, x), (z, y, x), voxel,  # type: ignore[arg-type]
        offset if known and offset else (0.0, 0.0, 0.0),
        metadata={"dataset": dataset.name.strip("/"), "attributes": attributes}, warnings=tuple(warnings),
    )  # fmt: skip


def _attributes(dataset: Any) -> tuple[dict[str, Any], list[str]]:
    """Return the attributes of a dataset as they are, and what cannot be carried over."""
    found, lost = {}, []
    for key in dataset.attrs:
        try:
            value = dataset.attrs[key]
            if key != _OWN:
                found[str(key)] = value
        except Exception:  # references, broken types
            lost.append(str(key))
    warnings = [f"the attributes {', '.join(lost)} cannot be read, and are not kept"] if lost else []
    return found, warnings


def _voxel(attributes: dict[str, Any], key: str, warnings: list[str]) -> tuple[float, float, float] | None:
    if key not in attributes:
        return None
    found = _triple(attributes[key])
    if found is None or not all(0 < n < math.inf for n in found):
        warnings.append(f"the attribute {key!r} is no size of a voxel: taken as not known, and kept as it is")
        return None
    z, y, x = (float(f"{n * _IN_NM[key]:.9g}") for n in found)
    return z, y, x


def _triple(value: Any) -> tuple[float, float, float] | None:
    """Return three numbers, None for anything else."""
    try:
        numbers = np.asarray(value)
        if numbers.shape != (3,) or numbers.dtype.kind not in "iuf":
            return None
        z, y, x = (float(n) for n in numbers)
    except (TypeError, ValueError, OverflowError):
        return None
    return z, y, x


def check(dataset: Any, path: Path) -> tuple[str, ...]:
    """Return warnings about voxels that are missing, or lie in other files.

    Raises
    ------
    UnreadableError, UnsupportedError
        If all are missing, a file that they lie in is gone or outside of the folder, or a filter is not read.
    """
    stored = dataset.id.get_create_plist()
    filters = [stored.get_filter(n) for n in range(stored.get_nfilters())]
    for number, _, _, name in filters:
        if number not in _FILTERS:
            what = name.decode("ascii", "replace") or "unnamed"
            raise UnsupportedError(
                f"{path}: is packed with the filter {number} ({what}), which is not read; store it anew with gzip first"
            )
    sources = list(_sources(dataset))
    if sources:
        _refuse_outside(path, sources, "its voxels")
        names = sorted(set(sources))
        return (f"its voxels lie in other files: {', '.join(names[:4])}{' ...' if names[4:] else ''}",)
    if not dataset.size:
        return ()
    if dataset.chunks is None:
        if not dataset.id.get_storage_size():
            raise UnreadableError(f"{path}: no voxel of {dataset.name} was ever written")
        return ()
    there = dataset.id.get_num_chunks()
    expected = math.prod(-(-n // c) for n, c in zip(dataset.shape, dataset.chunks, strict=True))
    if not there:
        raise UnreadableError(f"{path}: none of the {expected} chunks of {dataset.name} was ever written")
    if there < expected:
        return (f"{expected - there} of {expected} chunks are not there and are read as {dataset.fillvalue}",)
    return ()


def _sources(dataset: Any) -> Iterator[str]:
    """Yield the names of other files that hold voxels of a dataset."""
    if dataset.is_virtual:
        yield from (source.file_name for source in dataset.virtual_sources() if source.file_name != ".")
    for name, _, _ in dataset.external or ():
        yield name.decode() if isinstance(name, bytes) else str(name)


def _refuse_outside(path: Path, names: Sequence[str], what: str) -> None:
    """Refuse files that are gone, or lie outside of the folder of the one that names them."""
    folder = path.resolve().parent
    gone = []
    for name in dict.fromkeys(names):
        other = (folder / name).resolve()
        if not other.is_relative_to(folder):
            raise UnsupportedError(
                f"{path}: {what} would be read from {name!r}, outside of its folder; put the files together first"
            )
        if not other.is_file():
            gone.append(name)
    if gone:
        raise UnreadableError(
            f"{path}: {what} should come from {len(set(names))} other files, of which {len(gone)} are gone, "
            f"the first {gone[0]!r}"
        )
