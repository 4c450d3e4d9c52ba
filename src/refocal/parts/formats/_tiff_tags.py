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


def describe(page: Any) -> tuple[float | None, dict[str, Any], list[str]]:
    """Return pixel size, metadata and warnings from every place where a TIFF may have them, the surest first."""
    text = page.tags.valueof(270, default="")
    text = text if isinstance(text, str) else text.decode("latin-1") if isinstance(text, bytes) else ""
    found: dict[str, Any] = {}
    for code in _sem.TAGS:
        if code in page.tags:
            found = _sem.read_tag(code, stored_bytes(page, page.tags[code]), page.imagewidth) | found
    found = _sem.read_ome(text) | found if "<OME" in text[:2000] or ":OME" in text[:2000] else found
    resolution = density(page)
    warnings = []
    if resolution:
        x, y, unit = resolution
        if text.startswith("ImageJ="):
            found = _sem.read_imagej(text, x[0] / x[1]) | found
        elif unit in (_INCH, _CENTIMETRE):
            nm = _density.pixel_nm(x[0] / x[1] * (100 if unit == _CENTIMETRE else 100 / 2.54))
            found = ({"pixel_nm": nm} if nm else {}) | found
        if abs(x[0] * y[1] / (x[1] * y[0]) - 1) > 0.01:
            warnings.append("pixels are not square; the x edge is taken as the pixel size")
    if found.get("databar_rows"):
        warnings.append(f"the last {found['databar_rows']} rows may be a data bar, not specimen")
    return found.pop("pixel_nm", None), found, warnings
