"""Whether the values of an HDF5 dataset are in its file, in an encoding that the library itself decodes, and whole.

Checked before anything is decoded: filters may be code from elsewhere, values may be in other files, and what is not
stored reads as the fill value.
"""

import itertools
import math
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from refocal.core.blocks import Box
from refocal.core.errors import RefocalError, UnreadableError, UnsupportedError
from refocal.parts.volume_formats._bounds import MOST_CHUNK_BYTES

_FILTERS = {1: "deflate", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
_DEFLATE, _BEST_RATIO = 1, 1032
_MOST_UNCHECKED = 1 << 28
_MOST_SOURCES, _MOST_DEPTH, _MOST_SOFT_LINKS = 10_000, 3, 16
_LABELS = ("labels", "segmentation")


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever h5py raises on damaged files into `UnreadableError`."""
    try:
        yield
    except RefocalError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UnreadableError(f"{path}: cannot be read: {reason}") from error


def linked(file: Any, name: str, path: Path, depth: int = 0) -> Any:
    """Return what a name stands for inside of the file, None where there is nothing.

    Raises
    ------
    UnsupportedError
        If a link on the way leads into another file.
    """
    import h5py

    parts = [part for part in name.split("/") if part]
    for end in range(1, len(parts) + 1):
        done = "/".join(parts[:end])
        try:
            link = file.get(done, getlink=True)
        except (KeyError, ValueError):
            return None
        if isinstance(link, h5py.ExternalLink):
            raise UnsupportedError(
                f"{path}: {done} is a link into the file {link.filename!r}; give that file itself: "
                f"{link.filename}::{link.path.strip('/')}"
            )
        if isinstance(link, h5py.SoftLink):
            target = link.path if link.path.startswith("/") else "/".join([*parts[: end - 1], link.path])
            rest = "/".join([target, *parts[end:]])
            return linked(file, rest, path, depth + 1) if depth < _MOST_SOFT_LINKS else None
    return file.get(name)


def check_storage(dataset: Any, path: Path, depth: int = 0) -> list[str]:
    """Return what people should know of how a dataset is stored.

    Raises
    ------
    UnsupportedError
        If its values are no grey values, in files elsewhere, or behind a filter that is not one of HDF5's own.
    UnreadableError
        If values are not there, or a header claims far more than is stored.
    """
    dtype, name = dataset.dtype, dataset.name.strip("/")
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise UnsupportedError(f"{path}: {name} holds {str(dtype)[:60]}; expected whole or floating-point numbers")
    kind = dataset.attrs["class"] if "class" in dataset.attrs and not depth else ""
    if dtype.kind in "ui" and (str(kind).lower() in _LABELS or set(name.split("/")[:-1]) & set(_LABELS)):
        raise UnsupportedError(f"{path}: {name} holds labels, not grey values; restore the images that they belong to")
    plan = dataset.id.get_create_plist()
    for number in range(plan.get_nfilters()):
        code, _, _, said = plan.get_filter(number)
        if code not in _FILTERS:
            label = said.decode("utf-8", "replace").split(";")[0][:40] or "unnamed"
            raise UnsupportedError(
                f"{path}: {name} is encoded with the filter {code} ({label}); expected one of "
                f"{', '.join(_FILTERS.values())}: repack it first (h5repack -f GZIP=1)"
            )
    if dataset.external:
        raise UnsupportedError(
            f"{path}: {name} keeps its values in other files ({dataset.external[0][0]}); put them into one file first"
        )
    if dataset.is_virtual:
        return _check_sources(dataset, path, depth)
    return _check_amount(dataset, path)


def missing_chunks(dataset: Any, box: Box) -> int:
    """Count the chunks of a box that are not stored."""
    if not dataset.chunks or dataset.is_virtual or dataset.id.get_num_chunks() >= _chunks(dataset):
        return 0
    return sum(dataset.id.get_chunk_info_by_coord(at).byte_offset is None for at in _corners(dataset, box))


def refuse_chunk_bombs(dataset: Any, box: Box, path: Path) -> None:
    """Refuse deflated chunks that unpack to more than a chunk holds; HDF5 would unpack them whole."""
    plan = dataset.id.get_create_plist()
    codes = [plan.get_filter(n)[0] for n in range(plan.get_nfilters())] if dataset.chunks else []
    if _DEFLATE not in codes:
        return
    room = math.prod(dataset.chunks) * dataset.dtype.itemsize + 4096
    for at in _corners(dataset, box):
        there = dataset.id.get_chunk_info_by_coord(at)
        if there.byte_offset is None or there.size * _BEST_RATIO <= max(_MOST_UNCHECKED, room):
            continue
        raw = dataset.id.read_direct_chunk(at)[1] if there.size <= 2 * room else b""
        if not raw or (codes[-1] == _DEFLATE and len(zlib.decompressobj().decompress(raw, room + 1)) > room):
            raise UnreadableError(f"{path}: the chunk at {at} unpacks to more than a chunk holds; it is damaged")


def _check_amount(dataset: Any, path: Path) -> list[str]:
    claimed = math.prod(dataset.shape) * dataset.dtype.itemsize
    stored = dataset.id.get_storage_size()
    chunk = math.prod(dataset.chunks) * dataset.dtype.itemsize if dataset.chunks else 0
    if chunk > MOST_CHUNK_BYTES:
        raise UnsupportedError(
            f"{path}: has chunks of {chunk} bytes; expected at most {MOST_CHUNK_BYTES}: rechunk it first"
        )
    if claimed and not stored:
        raise UnreadableError(f"{path}: {dataset.name.strip('/')} has a shape but no values; not one chunk is stored")
    if claimed > MOST_CHUNK_BYTES and claimed > 2 * _BEST_RATIO * stored:
        raise UnreadableError(f"{path}: claims {claimed} bytes of voxels but {stored} bytes are stored; it is damaged")
    if not dataset.chunks:
        return []
    there, whole = dataset.id.get_num_chunks(), _chunks(dataset)
    if there >= whole:
        return []
    return [f"{whole - there} of {whole} chunks are not stored; they are read as {dataset.fillvalue}"]


def _check_sources(dataset: Any, path: Path, depth: int) -> list[str]:
    import h5py

    folder, name = path.resolve().parent, dataset.name.strip("/")
    sources = {(source.file_name, source.dset_name) for source in dataset.virtual_sources()}
    if depth == _MOST_DEPTH or len(sources) > _MOST_SOURCES:
        raise UnsupportedError(f"{path}: {name} is put together from too many files; repack it into one")
    missing = []
    for file_name, dset_name in sorted(sources):
        source = path if file_name == "." else folder / file_name
        if "%" in file_name or not source.resolve().is_relative_to(folder):
            raise UnsupportedError(
                f"{path}: {name} takes values from {file_name!r}, outside of its folder; copy it there"
            )
        if not source.is_file():
            missing.append(file_name)
            continue
        with h5py.File(source, "r") as file:
            inner = linked(file, dset_name.strip("/"), source)
            if inner is None:
                missing.append(file_name)
            else:
                check_storage(inner, source, depth + 1)
    if missing or not sources:
        raise UnreadableError(
            f"{path}: {name} takes its values from {len(sources)} other datasets, and {len(missing)} are not there"
            f"{', e.g. ' + missing[0] if missing else ''}; put them beside it"
        )
    return [f"takes its values from {len(sources)} other datasets beside it"]


def _chunks(dataset: Any) -> int:
    return math.prod(-(-size // step) for size, step in zip(dataset.shape, dataset.chunks, strict=True))


def _corners(dataset: Any, box: Box) -> Iterator[tuple[int, ...]]:
    """Yield the first voxel of every chunk that a box touches."""
    axes = zip(box.start, box.stop, dataset.chunks, strict=True)
    return itertools.product(*(range(start // step * step, stop, step) for start, stop, step in axes))
