"""What is refused before anything of a volume is decoded: impossible sizes, huge chunks, names that lead out of it.

Foreign metadata says how large a chunk is. Whatever is decoded is held to that, and that is held to a gibibyte.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Iterable
from itertools import islice
from math import prod
from pathlib import PurePosixPath
from typing import Any

import imagecodecs

from refocal.core.errors import UnreadableError, UnsupportedError
from refocal.core.storage import Store
from refocal.core.volume import VolumeInfo

MOST_CHUNK_BYTES = 1 << 30
_MOST_EDGE = 1 << 40
_LONGEST_NAME = 200
_FEWEST_VOXELS, _MANY_VOXELS = 64, 1 << 24
_LOOKED_AT = 2000
"""Files of a volume that are looked at to find one chunk among them."""


def check(info: VolumeInfo, url: str) -> None:
    """Refuse sizes that no volume has, and chunks that are too large, or too many.

    Raises
    ------
    UnreadableError, UnsupportedError
        If so.
    """
    edges = (*info.shape, *info.chunk, *info.unit)
    if not all(isinstance(n, int) and 0 <= n < _MOST_EDGE for n in edges) or min(*info.chunk, *info.unit) < 1:
        raise UnreadableError(
            f"{url}: has shape {info.shape} in chunks of {info.chunk} (z, y, x); expected whole numbers above 0"
        )
    if prod(info.chunk) * info.dtype.itemsize > MOST_CHUNK_BYTES:
        raise UnsupportedError(
            f"{url}: has chunks of {info.chunk} (z, y, x), above {MOST_CHUNK_BYTES >> 30} GiB each; store it anew in "
            "smaller chunks first"
        )
    if prod(info.chunk) < _FEWEST_VOXELS and prod(info.shape) > _MANY_VOXELS:
        raise UnsupportedError(
            f"{url}: has chunks of {info.chunk} (z, y, x), too many for its {prod(info.shape)} voxels; store it anew "
            "in larger chunks first"
        )


def check_name(name: str, url: str) -> str:
    """Return the name of a part of a volume; refuse one that leads out of it.

    Raises
    ------
    UnreadableError, UnsupportedError
        If it is no name, or does.
    """
    if "\0" in name or any(len(part.encode("utf-8", "replace")) > _LONGEST_NAME for part in name.split("/")):
        raise UnreadableError(f"{url}: keeps its chunks in {name[:60]!r}, which is no name of a folder")
    if name.startswith("/") or ".." in PurePosixPath(name).parts or "://" in name or "\\" in name:
        raise UnsupportedError(f"{url}: keeps its chunks in {name!r}, outside of the volume; they are not read")
    return name


def check_there(place: Store, folder: str, own: Callable[[str], bool], expected: str, metadata: Iterable[str]) -> None:
    """Refuse a volume of which no chunk is there: it would read as if it were empty.

    Parameters
    ----------
    folder
        Where the chunks lie.
    own
        Says whether a file is a chunk by its name below the folder.
    expected
        Name of the first chunk, for the message.
    metadata
        Names below the folder that are no chunks and never were.

    Raises
    ------
    UnreadableError
        If there is none; says what is there in their stead.
    """
    prefix = f"{folder}/" if folder else ""
    known = frozenset(metadata)
    first = ""
    for name in islice(place.names(folder), _LOOKED_AT):
        inside = name.removeprefix(prefix)
        if own(inside):
            return
        if inside not in known and not first:
            first = inside
    if not first:
        raise UnreadableError(f"{place.url}: holds no chunk at all under {folder!r}; get the volume from a copy")
    marks = [re.sub(r"[^/.]", "", text) for text in (first, expected)]
    nested = re.fullmatch(r"\d+(?:[/.]\d+)*", first) and len(marks[0]) == len(marks[1])
    hint = "is it compressed, or sharded?"
    if nested:
        hint = "say in the metadata how chunks are named (dimension_separator)"
    raise UnreadableError(
        f"{place.url}: holds files such as {prefix}{first}, but no chunk named like {prefix}{expected}; {hint}"
    )


def inflated(stored: bytes, how: str, size: int, name: str) -> bytes:
    """Return what compressed bytes hold, `size` bytes at most.

    Parameters
    ----------
    how
        Ending of the file: .gz, .br, .zstd, .xz or .bz2.

    Raises
    ------
    UnreadableError
        If they are damaged, or hold more.
    """
    try:
        content = _INFLATE[how](stored, size)
    except (OSError, EOFError, ValueError, RuntimeError, zlib.error, lzma.LZMAError) as error:
        raise UnreadableError(f"{name}: is truncated or damaged") from error
    if len(content) > size:
        raise UnreadableError(f"{name}: unpacks to more than the {size} bytes of a chunk; it is damaged")
    return content


def _streamed(unpack: Any, stored: bytes, size: int) -> bytes:
    """Unpack one byte more than there should be at most; a stream that ends before its end is damaged."""
    content: bytes = unpack.decompress(stored, size + 1)
    if len(content) <= size and not unpack.eof:
        raise EOFError
    return content


def _brotli(stored: bytes, size: int) -> bytes:
    return bytes(imagecodecs.brotli_decode(stored, out=bytearray(size)))


def _zstd(stored: bytes, size: int) -> bytes:
    return bytes(imagecodecs.zstd_decode(stored, out=bytearray(size)))


_INFLATE: dict[str, Callable[[bytes, int], bytes]] = {
    ".gz": lambda stored, size: _streamed(zlib.decompressobj(wbits=47), stored, size),  # gzip and zlib alike
    ".br": _brotli,
    ".zstd": _zstd,
    ".xz": lambda stored, size: _streamed(lzma.LZMADecompressor(), stored, size),
    ".bz2": lambda stored, size: _streamed(bz2.BZ2Decompressor(), stored, size),
}
PACKED = tuple(_INFLATE)
"""Endings of chunk files that are compressed on top of their encoding."""


def finite(values: Any) -> bool:
    """Say whether numbers are finite and above 0, as the edges of a voxel are."""
    return all(isinstance(n, int | float) and 0 < n < float("inf") for n in values)
