"""TIFF pages as their source had them: tags, tiling, lossless compression, and which number is white."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tifffile

from refocal.core.values import Counts, ImageInfo
from refocal.parts.formats import _density, _tiff_tags
from refocal.parts.formats._pages import to_comment
from refocal.parts.formats._tiff_tones import MINISBLACK, MINISWHITE, PALETTE

if TYPE_CHECKING:
    from refocal.parts.formats.tiff import TiffImage

_NONE, _LZW, _DEFLATE, _PACKBITS, _ZSTD = 1, 5, 8, 32773, 50000
_LOSSLESS = {_NONE, _LZW, _DEFLATE, 32946, _PACKBITS, 34925, _ZSTD}
_PREDICTED = {_LZW, _DEFLATE, 32946, _ZSTD}
_CLASSIC_BYTES = 2**32 - 2**25
_DESCRIPTION, _ORIENTATION = 270, 274
_IMAGES = re.compile(r"^images=\d+\s*$", re.MULTILINE)


def write(path: Path, pages: Iterator[Counts], like: ImageInfo, original: "TiffImage | None", described: str) -> None:
    """Write the pages of a stack; `described` is the description of a file without a source."""
    stored = math.prod(like.shape) * like.dtype.itemsize
    big = stored > _CLASSIC_BYTES or (original is not None and original.tiff.is_bigtiff)
    order = original.tiff.byteorder if original else None
    with tifffile.TiffWriter(path, bigtiff=big, byteorder=order) as writer:
        if original and _imagej_reads_on(original, like):
            _write_without_gaps(writer, pages, like, original)
            return
        for index, page in enumerate(pages):
            if original:
                settings = _settings_like(original, index, like)
                page = original.tones.stored(page)
            else:
                settings = _settings(like)
                if described:
                    settings |= {"description": described if not index else ""}
            writer.write(page, metadata=None, software=False, contiguous=False, **settings)


def _imagej_reads_on(original: "TiffImage", like: ImageInfo) -> bool:
    """Say whether ImageJ takes the planes of such a file one after the other, whatever its directories say.

    It does for `images=N`, no compression and no orientation (ij.io.TiffDecoder).
    """
    first = original.pages[0]
    text = _tiff_tags.description(first)
    plain = first.compression == _NONE and not first.is_tiled and _ORIENTATION not in first.tags
    return plain and like.shape[0] > 1 and text.startswith("ImageJ=") and bool(_IMAGES.search(text))


def _write_without_gaps(writer: Any, pages: Iterator[Counts], like: ImageInfo, original: "TiffImage") -> None:
    """Write all planes behind the first directory; tags that stand in the first directory alone stay there."""
    settings = _settings_like(original, 0, like)
    later = {tag[0] for page in original.pages[1:2] for tag in _tiff_tags.copies(page)}
    settings["extratags"] = [(*tag[:4], tag[0] not in later) for tag in settings["extratags"]]
    settings.pop("rowsperstrip", None)
    planes = (original.tones.stored(page) for page in pages)
    writer.write(
        planes, shape=like.shape, dtype=like.dtype.newbyteorder(original.tiff.byteorder), metadata=None,
        software=False, **settings,
    )  # fmt: skip


def _settings(like: ImageInfo) -> dict[str, Any]:
    """Return how to write a page without a source: uncompressed, with pixel size and metadata."""
    settings: dict[str, Any] = {"photometric": MINISBLACK} | _resolution(like)
    known = {name: getattr(like, name) for name in ("pixel_y_nm", "section_nm") if getattr(like, name)}
    if text := to_comment({**like.metadata, **known}):
        settings["description"] = text
    return settings


def _resolution(like: ImageInfo) -> dict[str, Any]:
    if not like.pixel_nm:
        return {}
    x, y = (_density.per_centimetre(edge) for edge in (like.pixel_nm, like.pixel_y_nm or like.pixel_nm))
    return {"resolution": (x, y), "resolutionunit": "CENTIMETER"}


def _settings_like(original: "TiffImage", index: int, like: ImageInfo) -> dict[str, Any]:
    """Return how to write page `index` as the source wrote it."""
    source = original.pages[min(index, len(original.pages) - 1)]
    compression = int(source.compression) if source.compression in _LOSSLESS else _DEFLATE
    settings: dict[str, Any] = {
        "photometric": MINISWHITE if original.tones.turned else MINISBLACK,
        "compression": compression,
        "predictor": compression in _PREDICTED and source.predictor != 1,
        "extratags": _kept(original, source) if index < len(original.pages) else (),
    }
    same = like.dtype == source.dtype and source.photometric == PALETTE and source.colormap is not None
    if same and original.tones.reversible:
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


def _kept(original: "TiffImage", page: Any) -> list[tuple[int, int, int, Any, bool]]:
    """Return the tags to copy, without a description of channels or pages that are no longer there."""
    tags = _tiff_tags.copies(page)
    text = _tiff_tags.description(page)
    counts_them = text.startswith('{"shape"') or "<OME" in text[:2000] or ":OME" in text[:2000]
    fewer = page.samplesperpixel > 1 or len(original.tiff.pages) != len(original.pages)
    return [tag for tag in tags if not (counts_them and fewer and tag[0] == _DESCRIPTION)]
