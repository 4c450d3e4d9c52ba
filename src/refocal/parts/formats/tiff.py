"""TIFF and BigTIFF: stacks, tiles, lossless compression, pyramids (full size only) and microscope tags.

A page is read segment by segment: an uncompressed contiguous page row by row, a tiled or striped one by the tiles or
strips that a box touches. A written page keeps the tags, the tiling and the compression of its source, except that a
lossy compression becomes deflate.
"""

from collections.abc import Iterable
from io import BufferedReader
from itertools import product
from logging import NullHandler, getLogger
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from refocal.core.atomic import writing
from refocal.core.blocks import Box
from refocal.core.errors import UnsupportedError, WriteError
from refocal.core.values import Counts, ImageInfo
from refocal.parts.formats import _ome, _sem, _tiff_pages, _tiff_tags, _tiff_write
from refocal.parts.formats._pages import REFUSALS, expected, from_comment
from refocal.parts.formats._reader import Reader, decoding, one_channel, read_rows, refuse_bomb
from refocal.parts.formats._tiff_pages import Segments
from refocal.parts.formats._tiff_tones import Tones

__all__ = ["Tiff"]

_DTYPES = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64")
_BEST_RATIO = 20_000
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
                described = _ome.xml(like, path.name) if _ome.is_ome(path) else ""
                _tiff_write.write(unfinished, expected(path, pages, like), like, original, described)
        finally:
            if original:
                original.close()


class TiffImage(Reader):
    """An opened TIFF."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        super().__init__(path, file)
        try:
            _tiff_pages.refuse_broken_chain(path, file)
            self.tiff: Any = tifffile.TiffFile(file, mode="r")
            self._describe()
        except BaseException:
            self.close()
            raise

    def _describe(self) -> None:
        warnings: list[str] = []
        self.pages = _tiff_pages.images_of(self.path, self.tiff, warnings)
        first = self.pages[0]
        if first.dtype is None or first.dtype.name not in _DTYPES or first.imagedepth != 1:
            kind = first.dtype or f"{first.bitspersample}-bit"
            raise UnsupportedError(f"{self.path}: holds {kind} pixels; expected {', '.join(_DTYPES)}")
        nm, y_nm, z_nm, metadata, said = _tiff_tags.describe(first)
        side_car = _sem.read_side_car(self.path)
        nm = nm or side_car.pop("pixel_nm", None)
        side_car.pop("pixel_nm", None)
        text = _tiff_tags.description(first)
        metadata = side_car | metadata | from_comment(text)
        y_nm, z_nm = metadata.pop("pixel_y_nm", y_nm), metadata.pop("section_nm", z_nm)
        self.tones = Tones.of(self.path, first, warnings)
        self.segments = [Segments.of(self.path, page, self.tiff.filehandle.size) for page in self.pages]
        promised = _tiff_pages.promised(text, first)
        count = _tiff_pages.count(self.path, self.tiff, self.pages, promised)
        self.info = ImageInfo(
            (count, first.imagelength, first.imagewidth), self.tones.dtype, nm, metadata, (*said, *warnings),
            pixel_y_nm=y_nm, section_nm=z_nm, no_data=_tiff_tags.no_data(first),
        )  # fmt: skip
        for page, segments in zip(self.pages, self.segments, strict=True):
            refuse_bomb(self.path, page.nbytes, sum(segments.counts), _BEST_RATIO)

    def _decode(self, page: int, box: Box) -> Counts:
        file, number = self.tiff.filehandle, min(page, len(self.pages) - 1)
        image, segments = self.pages[number], self.segments[number]
        if image.samplesperpixel > 1:
            pixels = image.asarray()
            pixels = np.moveaxis(pixels, 0, -1) if image.planarconfig == 2 else pixels
            return self.tones.positive(one_channel(pixels, self.path, _tiff_tags.alphas(image))[box.slices])
        if segments.contiguous and image.fillorder == 1 and image.predictor == 1 and image.bitspersample % 8 == 0:
            # Pages without a directory of their own follow the last that has one.
            offset = segments.offsets[0] + (page - number) * image.nbytes
            stored = image.dtype.newbyteorder(self.tiff.byteorder)
            return self.tones.positive(read_rows(file, offset, image.imagewidth * stored.itemsize, stored, box))
        return self.tones.positive(self._decode_segments(image, segments, box))

    def _decode_segments(self, page: Any, segments: Segments, box: Box) -> Counts:
        pixels = np.empty(box.shape, page.dtype.newbyteorder("="))
        rows, columns = (page.tilelength, page.tilewidth) if page.is_tiled else (page.rowsperstrip, page.imagewidth)
        across = -(-page.imagewidth // columns)
        (top, left), (bottom, right) = box.start, box.stop
        for j, i in product(range(top // rows, -(-bottom // rows)), range(left // columns, -(-right // columns))):
            segment = self._segment(page, segments, j * across + i)
            y, x = j * rows, i * columns
            corner, end = (max(top, y), max(left, x)), (min(bottom, y + rows), min(right, x + columns))
            common = Box(corner, end)
            outer = Box((y, x), (y + rows, x + columns))
            pixels[common.inside(box)] = segment[common.inside(outer)]
        return pixels

    def _segment(self, page: Any, segments: Segments, index: int) -> Counts:
        file = self.tiff.filehandle
        file.seek(segments.offsets[index])
        stored = file.read(segments.counts[index])
        decoded, _, _ = page.decode(stored, index, jpegtables=page.jpegtables, jpegheader=page.jpegheader)
        segment: Counts = decoded[0, :, :, 0]
        return segment
