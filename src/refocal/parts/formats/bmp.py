"""BMP: the native tiles of multi-beam microscopes, 8-bit grey, rows bottom-up or (negative height) top-down.

An 8-bit uncompressed BMP is a header, a palette and padded rows, so a box of it costs its rows only. A grey palette
is applied (the ramp 0..255 changes nothing); rarer kinds (1, 4, 24, 32 bits, run lengths) are decoded by OpenCV.
"""

import os
import struct
from collections.abc import Iterable
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from refocal.core.atomic import writing
from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError
from refocal.core.values import Counts, ImageInfo
from refocal.parts.formats import _density
from refocal.parts.formats._pages import REFUSALS, only_page
from refocal.parts.formats._reader import Reader, decoding, one_channel, read_rows, refuse_bomb

__all__ = ["Bmp"]

_FIXED = struct.Struct("<2sIHHIIiiHHIIiiII")
_RAMP = np.arange(256, dtype=np.uint8)
_MOST_PER_METRE = 2**31 - 1
_KINDS = {(1, 0), (4, 0), (8, 0), (16, 0), (24, 0), (32, 0), (8, 1), (4, 2), (16, 3), (32, 3)}
_HEADER_SIZES = (12, 40, 52, 56, 64, 108, 124)


class Bmp:
    """BMP files."""

    extensions = (".bmp", ".dib")

    def matches(self, head: bytes) -> bool:
        """Say whether the first bytes are those of a BMP file."""
        return head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _HEADER_SIZES

    def open(self, path: Path, file: BufferedReader | None = None) -> "BmpImage":
        """Open a BMP read-only.

        Raises
        ------
        UnreadableError
            If it is truncated or damaged.
        UnsupportedError
            If its palette has colours.
        """
        with decoding(path):
            return BmpImage(path, file or open(path, "rb"))

    def create(self, path: Path, pages: Iterable[Counts], like: ImageInfo, source: Path | None = None) -> None:
        """Write one uint8 page; the header of an 8-bit grey `source` is kept, top-down order and all."""
        with writing(path, refusals=REFUSALS) as unfinished:
            page = only_page(path, pages, like, ("uint8",))
            head = _header_like(source, like)
            top_down = _Header.parse(head).height < 0
            height, width = page.shape
            rows = np.zeros((height, -(-width // 4) * 4), np.uint8)
            rows[:, :width] = page if top_down else page[::-1]
            with open(unfinished, "wb") as file:
                file.write(head)
                file.write(rows.data)


class _Header(NamedTuple):
    magic: bytes
    file_size: int
    reserved: int
    reserved_2: int
    offset: int
    size: int
    width: int
    height: int
    planes: int
    bits: int
    compression: int
    image_size: int
    x_per_metre: int
    y_per_metre: int
    colours: int
    important: int

    @classmethod
    def parse(cls, head: bytes) -> "_Header":
        return cls(*_FIXED.unpack_from(head))

    @property
    def plain(self) -> bool:
        """8 bits per pixel, uncompressed."""
        return self.size >= 40 and self.bits == 8 and self.compression == 0

    @property
    def stride(self) -> int:
        return -(-self.width * self.bits // 32) * 4


class BmpImage(Reader):
    """An opened BMP."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        super().__init__(path, file)
        try:
            self._describe(os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self.close()
            raise

    def _describe(self, stored: int) -> None:
        head = self._file.read(_FIXED.size)
        if len(head) < _FIXED.size:
            raise UnreadableError(f"{self.path}: is {stored} bytes long; a BMP header has {_FIXED.size}")
        self._header = header = _Header.parse(head)
        warnings: list[str] = []
        if header.size == 12:
            width, height = struct.unpack_from("<HH", head, 18)
        else:
            width, height = header.width, abs(header.height)
        if width < 1 or height < 1 or (header.size > 12 and (header.bits, header.compression) not in _KINDS):
            raise UnreadableError(
                f"{self.path}: the header says {width} x {height} pixels of {header.bits} bits, "
                f"compression {header.compression}; expected 8 bits, 0; it is damaged or no plain BMP"
            )
        nm = None
        if header.plain:
            needed = header.offset + header.stride * (height - 1) + width
            if needed > stored or header.offset < 14 + header.size:
                raise UnreadableError(f"{self.path}: is truncated: has {stored} bytes, {needed} are needed")
            self._palette = self._read_palette(warnings)
        else:
            refuse_bomb(self.path, width * height, stored, 260)
            warnings.append("read as grey from a BMP that is not 8-bit grey")
        if header.size != 12:
            nm = _density.pixel_nm(header.x_per_metre)
        self.info = ImageInfo((1, height, width), np.dtype(np.uint8), nm, {}, tuple(warnings))

    def _read_palette(self, warnings: list[str]) -> Counts | None:
        """Return the grey of each index, None where they are the same."""
        header = self._header
        count = min(header.colours or 256, 256, (header.offset - 14 - header.size) // 4)
        self._file.seek(14 + header.size)
        colours = np.frombuffer(self._file.read(4 * count), np.uint8).reshape(-1, 4)[:, :3]
        if not (colours == colours[:, :1]).all():
            raise UnsupportedError(f"{self.path}: has a palette of colours; expected grey: convert it first")
        table = _RAMP.copy()
        table[: len(colours)] = colours[:, 0]
        if (table == _RAMP).all():
            return None
        warnings.append("a grey palette other than the ramp 0..255 was applied")
        return table

    def _decode(self, page: int, box: Box) -> Counts:
        if not self._header.plain:
            return self._whole[box.slices].copy()
        (top, left), (bottom, right) = box.start, box.stop
        bottom_up = self._header.height > 0
        if bottom_up:
            top, bottom = self._header.height - bottom, self._header.height - top
        stored = Box((top, left), (bottom, right))
        rows = read_rows(self._file, self._header.offset, self._header.stride, self.info.dtype, stored)
        rows = rows[::-1] if bottom_up else rows
        return rows if self._palette is None else self._palette[rows]

    @cached_property
    def _whole(self) -> Counts:
        self._file.seek(0)
        stored = np.frombuffer(self._file.read(), np.uint8)
        pixels = cv2.imdecode(stored, cv2.IMREAD_UNCHANGED)
        if pixels is None or pixels.shape[:2] != self.info.shape[1:]:
            raise UnreadableError(f"{self.path}: is a damaged, truncated or unknown kind of BMP")
        return one_channel(pixels, self.path, pixels.ndim == 3 and pixels.shape[-1] in (2, 4))


def _header_like(source: Path | None, like: ImageInfo) -> bytes:
    """Return header and palette for `like`: those of `source` byte for byte where they can be."""
    _, height, width = like.shape
    head = _grey_header(source) if source else None
    if head is None:
        density = _density.per_metre(like.pixel_nm, _MOST_PER_METRE)
        ramp = np.repeat(_RAMP[:, None], 4, axis=1)
        ramp[:, 3] = 0
        fixed = _Header(b"BM", 0, 0, 0, 1078, 40, width, height, 1, 8, 0, 0, density, density, 256, 256)
        head = _FIXED.pack(*fixed) + ramp.tobytes()
    old = _Header.parse(head)
    new = old._replace(width=width, height=-height if old.height < 0 else height)
    pixels = new.stride * height
    new = new._replace(file_size=new.offset + pixels, image_size=pixels if old.image_size else 0)
    return _FIXED.pack(*new) + head[_FIXED.size :]


def _grey_header(source: Path) -> bytes | None:
    """Return the bytes before the pixels of an 8-bit BMP whose palette is the full ramp, None for any other file."""
    with open(source, "rb") as file:
        head = file.read(_FIXED.size)
        old = _Header.parse(head)
        if not old.plain or old.offset < 14 + old.size + 1024 or old.colours not in (0, 256):
            return None
        head += file.read(old.offset - len(head))
    palette = np.frombuffer(head, np.uint8, 1024, 14 + old.size).reshape(256, 4)
    return head if (palette[:, :3] == _RAMP[:, None]).all() else None
