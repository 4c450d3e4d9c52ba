"""Which directories of a TIFF are its images, whether all are there that it promises, and where their pixels lie."""

import json
import math
import os
import re
import struct
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any, Self

import numpy as np

from refocal.core.errors import UnreadableError, UnsupportedError

MOST_DIRECTORIES = 20_000
"""A file with more is refused: following a chain takes time, and damaged ones may be as long as the file."""
_MOST_TAGS = 4096
_LARGEST_SEGMENT = 1 << 24
"""Pixels of a tile or strip that may be larger than the image it belongs to."""
_IMAGES = re.compile(r"^images=(\d{1,9})\s*$", re.MULTILINE)
_PIXELS = re.compile(r"<(?:\w{1,20}:)?Pixels\b([^<>]{0,4000})>")
_SIZE = re.compile(r"\bSize([ZCT])=\"(\d{1,9})\"")


@dataclass(frozen=True, slots=True)
class Segments:
    """Where the strips or tiles of a page lie in the file, and how many bytes each has."""

    offsets: tuple[int, ...]
    counts: tuple[int, ...]
    contiguous: bool
    """Whether the pixels are stored as they are, row after row."""

    @classmethod
    def of(cls, path: Path, page: Any, size: int) -> Self:
        """Return those of a page; of pixels that are not compressed they follow from its size.

        Raises
        ------
        UnreadableError
            If some are missing or reach beyond the end of the file.
        """
        offsets, counts = [int(n) for n in page.dataoffsets], [int(n) for n in page.databytecounts]
        needed = math.prod(page.chunked)
        area = (page.tilelength * page.tilewidth) if page.is_tiled else page.rowsperstrip * page.imagewidth
        if area > max(_LARGEST_SEGMENT, 4 * page.imagelength * page.imagewidth) and page.is_tiled:
            raise UnreadableError(f"{path}: has tiles far larger than the image; the header is damaged")
        plain = page.compression == 1 and not page.is_tiled
        if plain and len(offsets) == needed:
            counts = _plain_counts(page, needed)
        if not len(offsets) == len(counts) == needed or not all(counts):
            raise UnreadableError(f"{path}: page {page.index} has {len(offsets)} of {needed} tiles or strips")
        if (end := max(a + b for a, b in zip(offsets, counts, strict=True))) > size:
            raise UnreadableError(f"{path}: is truncated: has {size} bytes, {end} are needed")
        follow = all(a + n == b for a, n, b in zip(offsets, counts, offsets[1:], strict=False))
        return cls(tuple(offsets), tuple(counts), plain and follow)


def _plain_counts(page: Any, strips: int) -> list[int]:
    """Return the bytes of each strip; the counts in the file may be 0, missing, or reach beyond its end."""
    samples = page.samplesperpixel if page.planarconfig == 1 else 1
    row = -(-page.imagewidth * page.bitspersample * samples // 8)
    planes = page.samplesperpixel if page.planarconfig == 2 else 1
    rows = [min(page.rowsperstrip, page.imagelength - y) for y in range(0, page.imagelength, page.rowsperstrip)]
    counts = [row * n for n in rows] * planes
    return counts if len(counts) == strips else []


def refuse_broken_chain(path: Path, file: BufferedReader) -> None:
    """Follow the chain of directories, before any of them is read.

    Raises
    ------
    UnreadableError
        If it leads beyond the end of the file (which was cut off then), back to a directory, or is too long.
    """
    size = os.fstat(file.fileno()).st_size
    head = file.read(16)
    order = "<" if head[:2] == b"II" else ">"
    big = head[2:4] in (b"+\0", b"\0+")
    pointer, tags, entry = ("Q", "Q", 20) if big else ("I", "H", 12)
    if len(head) < (16 if big else 8):
        raise UnreadableError(f"{path}: is truncated: has {size} bytes")
    (at,) = struct.unpack_from(order + pointer, head, 8 if big else 4)
    seen: set[int] = set()
    while at:
        if at in seen or len(seen) >= MOST_DIRECTORIES:
            why = "leads back to itself" if at in seen else f"is longer than {MOST_DIRECTORIES} directories"
            raise UnreadableError(f"{path}: the chain of its directories {why}; it is damaged, or split it first")
        seen.add(at)
        file.seek(at)
        (count,) = _unpack(file, order + tags) or (0,)
        after = at + struct.calcsize(tags) + count * entry
        if count > _MOST_TAGS:
            raise UnreadableError(f"{path}: directory {len(seen)} claims {count} tags; it is damaged")
        file.seek(after)
        found = _unpack(file, order + pointer)
        if not count or after > size or (found is None and size - after > 3):
            raise UnreadableError(f"{path}: is truncated: has {size} bytes, directory {len(seen)} is not in them")
        at = found[0] if found else 0
    file.seek(0)


def _unpack(file: BufferedReader, layout: str) -> tuple[int, ...] | None:
    stored = file.read(struct.calcsize(layout))
    return struct.unpack(layout, stored) if len(stored) == struct.calcsize(layout) else None


def images_of(path: Path, tiff: Any, warnings: list[str]) -> list[Any]:
    """Return the pages that are images of full size, all of one size and type.

    Thumbnails and the coarser levels of a pyramid are left out with a warning: those marked as such, and one that is
    less than half as large as the image in either direction.

    Raises
    ------
    UnreadableError, UnsupportedError
        If there is none, or they differ.
    """
    pages = list(tiff.pages)
    for page in pages:
        if page.imagelength < 1 or page.imagewidth < 1:
            raise UnreadableError(
                f"{path}: the header says {page.imagewidth} x {page.imagelength} pixels; it is damaged"
            )
    full = [page for page in pages if not page.is_reduced] or pages[:1]
    largest = max(full, key=lambda page: page.imagelength * page.imagewidth)
    images = [page for page in full if not _is_thumbnail(page, largest)]
    # Coarser copies behind the image, marked as such, are a pyramid: nobody expects them to be restored.
    if left_out := sum(page not in images and (page.index == 0 or not page.is_reduced) for page in pages):
        warnings.append(f"{left_out} of {len(pages)} images are thumbnails; they are not kept in a restored copy")
    first = images[0]
    for page in images:
        if (page.shape, page.dtype) != (first.shape, first.dtype):
            raise UnsupportedError(
                f"{path}: holds images that differ, {_kind(first)} and {_kind(page)}; expected one kind: split them"
            )
    return images


def _is_thumbnail(page: Any, largest: Any) -> bool:
    return bool(2 * page.imagelength < largest.imagelength and 2 * page.imagewidth < largest.imagewidth)


def _kind(page: Any) -> str:
    return f"{'x'.join(map(str, page.shape))} {page.dtype}"


def promised(text: str, first: Any) -> int:
    """Return how many pages the description says that there are; 0 where it says nothing of pages of this size."""
    if text.startswith("ImageJ="):
        found = _IMAGES.search(text[: 1 << 16])
        return int(found[1]) if found else 0
    if text.startswith('{"shape"'):
        return _shaped(text, first)
    if ("<OME" in text[:2000] or ":OME" in text[:2000]) and "FileName=" not in text and "BinaryOnly" not in text:
        planes = sum(math.prod(int(n) for _, n in _SIZE.findall(pixels[1])) for pixels in _PIXELS.finditer(text))
        return -(-planes // max(1, int(first.samplesperpixel)))
    return 0


def _shaped(text: str, first: Any) -> int:
    try:
        told = json.loads(text[: 1 << 16])
        shape = [int(n) for n in told["shape"]]
    except (ValueError, TypeError, KeyError, RecursionError):
        return 0
    size, page = math.prod(shape), math.prod(int(n) for n in first.shape)
    same: bool = shape[-len(first.shape) :] == list(first.shape)
    return size // page if same and page and not size % page else 0


def count(path: Path, tiff: Any, pages: list[Any], promise: int) -> int:
    """Return the number of pages; those of a stack with one directory follow its pixels, as ImageJ writes them.

    Raises
    ------
    UnreadableError
        If the file promises more than are there.
    """
    first = pages[0]
    if promise <= len(pages):
        return len(pages)
    plain = first.compression == 1 and len(np.atleast_1d(first.dataoffsets)) and len(tiff.pages) == 1
    there = (tiff.filehandle.size - int(first.dataoffsets[0])) // first.nbytes if plain and first.nbytes else len(pages)
    if there < promise:
        raise UnreadableError(
            f"{path}: is truncated: holds {max(there, len(pages))} of the {promise} pages it promises"
        )
    return promise
