"""TIFF and BigTIFF: stacks, tiles, lossless compression, pyramids (full size only) and microscope tags.

A page is read segment by segment: an uncompressed contiguous page row by row, a tiled or striped one by the tiles or
strips that a box touches. A written page keeps the tags, the tiling and the compression of its source, except that a
lossy compression becomes deflate.
"""

import math
from collections.abc import Iterable, Iterator
from io import BufferedReader
from itertools import product
from logging import NullHandler, getLogger
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from refocal.core.atomic import writing
from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError, WriteError
from refocal.core.values import Counts, ImageInfo
from refocal.parts.formats import _density, _ome, _sem, _tiff_tags
from refocal.parts.formats._pages import REFUSALS, expected, from_comment, to_comment
from refocal.parts.formats._reader import Reader, decoding, grey, read_rows, refuse_bomb

__all__ = ["Tiff"]

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
_NONE, _LZW, _DEFLATE, _PACKBITS, _ZSTD = 1, 5, 8, 32773, 50000
_LOSSLESS = {_NONE, _LZW, _DEFLATE, 32946, _PACKBITS, 34925, _ZSTD}
_PREDICTED = {_LZW, _DEFLATE, 32946, _ZSTD}
_MINISWHITE, _MINISBLACK, _PALETTE = 0, 1, 3
_BEST_RATIO = 20_000
_CLASSIC_BYTES = 2**32 - 2**25
# Without a handler Python prints the library's complaints about damaged files; they come as errors and warnings.
getLogger("tifffile").addHandler(NullHandler())


class Tiff:
    """TIFF and BigTIFF files."""

    extensions = (".tif", ".tiff", ".btf", ".tf8")

    def matches(self, head: bytes) -> bool:
        """Say whether the first bytes are those of a TIFF or BigTIFF file."""
        return head[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

    def open(self, path: Path, file: BufferedReader | None = None) -> "TiffImage":
        """Open a TIFF read-only.

        Raises
        ------
        UnreadableError
            If it is truncated or damaged.
        UnsupportedError
            If its pixels are bits, complex, or volumes.
        """
        with decoding(path):
            return TiffImage(path, file or open(path, "rb"))

    def create(self, path: Path, pages: Iterable[Counts], like: ImageInfo, source: Path | None = None) -> None:
        """Write a stack, one page in memory, with the tags, tiling and lossless compression of `source`."""
        if like.dtype.name not in _DTYPES:
            raise WriteError(f"{path}: TIFF output is {', '.join(_DTYPES)}, not {like.dtype}")
        original = self.open(source) if source else None
        try:
            with writing(path, refusals=REFUSALS) as unfinished:
                _write(
                    unfinished,
                    expected(path, pages, like),
                    like,
                    original,
                    _ome.xml(like, path.name) if _ome.is_ome(path) else None,
                )
        finally:
            if original:
                original.close()


class TiffImage(Reader):
    """An opened TIFF."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        super().__init__(path, file)
        try:
            self.tiff: Any = tifffile.TiffFile(file, mode="r")
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        first = self.tiff.pages.first
        if first.dtype is None or first.dtype.name not in _DTYPES or first.imagedepth != 1:
            kind = first.dtype or f"{first.bitspersample}-bit"
            raise UnsupportedError(f"{self.path}: holds {kind} pixels; expected {', '.join(_DTYPES)}")
        height, width = first.imagelength, first.imagewidth
        if height < 1 or width < 1:
            raise UnreadableError(f"{self.path}: the header says {width} x {height} pixels; it is damaged")
        nm, metadata, warnings = _tiff_tags.describe(first)
        side_car = _sem.read_side_car(self.path)
        nm = nm or side_car.pop("pixel_nm", None)
        side_car.pop("pixel_nm", None)
        text = first.tags.valueof(270, default="")
        metadata = side_car | metadata | (from_comment(text) if isinstance(text, str) else {})
        full = [p for p in self.tiff.pages if not p.is_reduced or p.index == 0]
        self.pages = [p for p in full if (p.shape, p.dtype) == (first.shape, first.dtype)]
        if others := len(full) - len(self.pages):
            warnings.append(f"{others} pages of another size or type were left out")
        if first.samplesperpixel > 1:
            warnings.append("read as grey from a TIFF with colour or alpha")
        count = self._hidden_pages() or len(self.pages)
        self.info = ImageInfo((count, height, width), first.dtype.newbyteorder("="), nm, metadata, tuple(warnings))
        for page in self.pages:
            self._check(page)

    def _hidden_pages(self) -> int:
        """Count the pages of a stack that has one directory only, as ImageJ writes above 4 GiB; 0 for any other."""
        if len(self.tiff.pages) > 1 or not (self.tiff.is_imagej or self.tiff.is_shaped):
            return 0
        series = self.tiff.series[0]
        return series.size // self.pages[0].size if series.is_truncated and series.dataoffset is not None else 0

    def _check(self, page: Any) -> None:
        """Refuse a page whose segments are missing or reach beyond the end of the file."""
        offsets, counts = np.asarray(page.dataoffsets, np.float64), np.asarray(page.databytecounts, np.float64)
        size = self.tiff.filehandle.size
        segments = math.prod(page.chunked)
        if not len(offsets) == len(counts) == segments or not counts.all():
            raise UnreadableError(f"{self.path}: page {page.index} has {len(offsets)} of {segments} tiles or strips")
        if (end := (offsets + counts).max()) > size:
            raise UnreadableError(f"{self.path}: is truncated: has {size} bytes, {end:.0f} are needed")
        refuse_bomb(self.path, page.nbytes, int(counts.sum()), _BEST_RATIO)

    def _decode(self, page: int, box: Box) -> Counts:
        file, image = self.tiff.filehandle, self.pages[min(page, len(self.pages) - 1)]
        if image.samplesperpixel > 1:
            pixels = image.asarray()
            pixels = np.moveaxis(pixels, 0, -1) if image.planarconfig == 2 else pixels
            return grey(pixels, self.path)[box.slices]
        if image.is_contiguous and image.fillorder == 1 and image.predictor == 1:
            # Pages without a directory of their own follow the last that has one.
            offset = image.dataoffsets[0] + (page - image.index) * image.nbytes * (len(self.pages) <= page)
            stored = image.dtype.newbyteorder(self.tiff.byteorder)
            return read_rows(file, offset, image.imagewidth * stored.itemsize, stored, box)
        return self._decode_segments(image, box)

    def _decode_segments(self, page: Any, box: Box) -> Counts:
        pixels = np.empty(box.shape, page.dtype.newbyteorder("="))
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        across = -(-page.imagewidth // columns)
        (top, left), (bottom, right) = box.start, box.stop
        for j, i in product(range(top // rows, -(-bottom // rows)), range(left // columns, -(-right // columns))):
            segment = self._segment(page, j * across + i)
            y, x = j * rows, i * columns
            corner, end = (max(top, y), max(left, x)), (min(bottom, y + rows), min(right, x + columns))
            common = Box(corner, end)
            outer = Box((y, x), (y + rows, x + columns))
            pixels[common.inside(box)] = segment[common.inside(outer)]
        return pixels

    def _segment(self, page: Any, index: int) -> Counts:
        file = self.tiff.filehandle
        file.seek(page.dataoffsets[index])
        stored = file.read(page.databytecounts[index])
        decoded, _, _ = page.decode(stored, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        segment: Counts = decoded[0, :, :, 0]
        return segment


def _write(
    path: Path, pages: Iterator[Counts], like: ImageInfo, original: TiffImage | None, described: str | None
) -> None:
    stored = math.prod(like.shape) * like.dtype.itemsize
    big = stored > _CLASSIC_BYTES or (original is not None and original.tiff.is_bigtiff)
    order = original.tiff.byteorder if original else None
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as writer:
        for index, page in enumerate(pages):
            settings = _settings_like(original, index, like) if original else _settings(like)
            if described and not original:
                settings |= {"description": described if not index else ""}
            writer.write(page, metadata=None, software=False, contiguous=False, **settings)


def _settings(like: ImageInfo) -> dict[str, Any]:
    """Return how to write a page without a source: uncompressed, with pixel size and metadata."""
    settings: dict[str, Any] = {"photometric": _MINISBLACK} | _resolution(like)
    if like.metadata:
        settings["description"] = to_comment(like.metadata)
    return settings


def _resolution(like: ImageInfo) -> dict[str, Any]:
    if not like.pixel_nm:
        return {}
    ratio = _density.per_centimetre(like.pixel_nm)
    return {"resolution": (ratio, ratio), "resolutionunit": "CENTIMETER"}


def _settings_like(original: TiffImage, index: int, like: ImageInfo) -> dict[str, Any]:
    """Return how to write page `index` as the source wrote it."""
    source = original.pages[min(index, len(original.pages) - 1)]
    compression = int(source.compression) if source.compression in _LOSSLESS else _DEFLATE
    settings: dict[str, Any] = {
        "photometric": _MINISWHITE if source.photometric == _MINISWHITE else _MINISBLACK,
        "compression": compression,
        "predictor": compression in _PREDICTED and source.predictor != 1,
        "extratags": _tiff_tags.copies(source) if index < len(original.pages) else (),
    }
    if source.photometric == _PALETTE and like.dtype == source.dtype and source.colormap is not None:
        settings |= {"photometric": "palette", "colormap": source.colormap}
    if source.is_tiled and source.tilewidth % 16 == source.tilelength % 16 == 0:
        settings["tile"] = (source.tilelength, source.tilewidth)
    elif not source.is_tiled and source.rowsperstrip < source.imagelength:
        settings["rowsperstrip"] = source.rowsperstrip
    known, density = original.info.pixel_nm, _tiff_tags.density(source)
    if like.pixel_nm and not (known and math.isclose(known, like.pixel_nm, rel_tol=1e-6)):
        return settings | _resolution(like)
    if density:
        x, y, unit = density
        settings |= {"resolution": (x, y), "resolutionunit": unit}
    return settings
