"""TIFF tags as bytes: read the microscope's, copy all that describe the specimen and not the layout of the file."""

import struct
from typing import Any

import numpy as np
import tifffile

from refocal.parts.formats import _density, _sem

# What a writer decides itself (sizes, offsets, compression, colour) or passes by name (resolution), and pointers to
# places in the file that a copy would leave dangling (EXIF, GPS, interoperability, SIS).
_LAYOUT = frozenset(
    {254, 255, 256, 257, 258, 259, 262, 263, 266, 273, 277, 278, 279, 280, 281, 282, 283, 284, 288, 289, 292, 293, 296}
    | {317, 320, 322, 323, 324, 325, 330, 332, 338, 339, 340, 341, 347, 400, 512, 513, 514, 529, 530, 531, 532}
    | {32997, 32998, 33560, 34665, 34853, 40965}
)
_TVIPS = 37706
_RATIONALS = {5: "I", 10: "i"}
_POINTERS = {13, 18}
_CENTIMETRE, _INCH = 3, 2
_DESCRIPTION, _EXTRA_SAMPLES, _GDAL_NODATA = 270, 338, 42113
_POINTED = {34665: "EXIF", 34853: "GPS", 33560: "SIS"}
_MOST_TEXT = 1 << 20
"""Characters of a description, or bytes of a microscope's tag, that are looked at; all of it is copied."""
_SQUARE = 1e-3


def stored_bytes(page: Any, tag: Any) -> bytes:
    """Return the value of a tag as it stands in the file."""
    file = page.parent.filehandle
    size = tag.count * struct.calcsize(tifffile.TIFF.DATA_FORMATS[tag.dtype])
    if tag.code == _TVIPS:
        # The tag says "one number" but that number is the place of a structure.
        file.seek(tag.valueoffset)
        version = int.from_bytes(file.read(4), "little" if page.parent.byteorder == "<" else "big")
        size = np.dtype(tifffile.TIFF.TVIPS_HEADER_V1).itemsize
        size += np.dtype(tifffile.TIFF.TVIPS_HEADER_V2).itemsize if version == 2 else 0
    file.seek(tag.valueoffset)
    stored: bytes = file.read(size)
    return stored


def copies(page: Any) -> list[tuple[int, int, int, Any, bool]]:
    """Return the tags worth keeping, as `extratags` for a writer of the same byte order."""
    kept: list[tuple[int, int, int, Any, bool]] = []
    for tag in page.tags:
        if tag.code in _LAYOUT or tag.dtype in _POINTERS or tag.dtype not in tifffile.TIFF.DATA_FORMATS:
            continue
        value: Any = stored_bytes(page, tag)
        count = tag.count
        if tag.dtype in _RATIONALS:
            value = struct.unpack(f"{page.parent.byteorder}{2 * count}{_RATIONALS[tag.dtype]}", value)
        elif tag.code == _TVIPS:
            value, count = value + bytes(-len(value) % 4), -(-len(value) // 4)
        kept.append((int(tag.code), int(tag.dtype), count, value, False))
    return kept


def density(page: Any) -> tuple[tuple[int, int], tuple[int, int], int] | None:
    """Return x and y resolution as ratios, and their unit; None where the file gives none."""
    x, y = (page.tags.valueof(code) for code in (282, 283))
    if not all(isinstance(r, tuple) and len(r) == 2 and min(r) > 0 for r in (x, y)):
        return None
    return x, y, int(page.tags.valueof(296, default=_INCH))


def description(page: Any) -> str:
    """Return the image description, "" where there is none."""
    text = page.tags.valueof(_DESCRIPTION, default="")
    return text if isinstance(text, str) else text.decode("latin-1") if isinstance(text, bytes) else ""


def alphas(page: Any) -> int:
    """Return how many of the last samples of a pixel are said to be alpha."""
    kinds = page.tags.valueof(_EXTRA_SAMPLES, default=())
    kinds = kinds if isinstance(kinds, tuple) else (kinds,)
    return sum(1 for kind in kinds if int(kind) in (1, 2))


def no_data(page: Any) -> tuple[float, ...]:
    """Return the count that GDAL's tag says to mean no data."""
    text = page.tags.valueof(_GDAL_NODATA, default="")
    try:
        return (float(str(text).strip("\0 ")),) if text else ()
    except ValueError:
        return ()


def describe(page: Any) -> tuple[float | None, float | None, float | None, dict[str, Any], list[str]]:
    """Return width and height of a pixel, the distance of pages, metadata and warnings; the surest source counts.

    The height is None for square pixels. Edges of more than 10 um are print densities, and not known.
    """
    text = description(page)[:_MOST_TEXT]
    found: dict[str, Any] = {}
    for code in _sem.TAGS:
        if code in page.tags:
            found = _sem.read_tag(code, stored_bytes(page, page.tags[code])[:_MOST_TEXT], page.imagewidth) | found
    found = _sem.read_ome(text) | found if "<OME" in text[:2000] or ":OME" in text[:2000] else found
    resolution = density(page)
    if resolution:
        x, y, unit = resolution
        if text.startswith("ImageJ="):
            found = _sem.read_imagej(text, x[0] / x[1]) | found
        elif unit in (_INCH, _CENTIMETRE):
            nm = _density.pixel_nm(x[0] / x[1] * (100 if unit == _CENTIMETRE else 100 / 2.54))
            found = ({"pixel_nm": nm} if nm else {}) | found
        if "pixel_nm" in found and "pixel_y_nm" not in found:
            found["pixel_y_nm"] = found["pixel_nm"] * x[0] * y[1] / (x[1] * y[0])
    nm, y_nm, z_nm = (found.pop(name, None) for name in ("pixel_nm", "pixel_y_nm", "section_nm"))
    nm = nm if nm and _density.is_likely(nm) else None
    square = nm is None or y_nm is None or abs(y_nm / nm - 1) <= _SQUARE
    y_nm = None if square else _density.rounded(y_nm)
    warnings = [] if square else [f"pixels are not square: {nm:g} nm wide and {y_nm:g} nm high; blur counts in pixels"]
    return nm, y_nm, z_nm if nm else None, found, warnings + _warnings(page, found)


def _warnings(page: Any, found: dict[str, Any]) -> list[str]:
    warnings = []
    if found.get("databar_rows"):
        warnings.append(f"the last {found['databar_rows']} rows may be a data bar, not specimen")
    if page.samplesperpixel > 1:
        alpha = ", and the alpha channel is not written" if alphas(page) else ""
        warnings.append(f"read as grey from a TIFF with {page.samplesperpixel} channels{alpha}")
    if lost := [name for code, name in _POINTED.items() if code in page.tags]:
        warnings.append(f"{', '.join(lost)} tags are not kept in a restored copy")
    return warnings
