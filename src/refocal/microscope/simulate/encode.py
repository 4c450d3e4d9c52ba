"""Files as the microscopes write them, as bytes: top-down 8-bit BMP, (OME-)TIFF with its pyramid, and PNG."""

import struct
import zlib
from typing import NamedTuple
from xml.sax.saxutils import quoteattr

import numpy as np
from numpy.typing import NDArray

Grey = NDArray[np.uint8]


class Encoded(NamedTuple):
    """A whole file, and where its pixels begin (a stamp may be written there); None where they are packed."""

    data: bytes
    pixels: int | None


def bmp(image: Grey, pixel_nm: float) -> Encoded:
    """Return an 8-bit BMP with a grey palette, rows top-down (negative height), as the MultiSEM writes it."""
    height, width = image.shape
    stride = -(-width // 4) * 4
    offset = 14 + 40 + 4 * 256
    per_metre = min(round(1e9 / pixel_nm), 2**31 - 1)
    palette = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 4, axis=1)
    palette[:, 3] = 0
    rows = np.zeros((height, stride), np.uint8)
    rows[:, :width] = image
    size = offset + stride * height
    head = struct.pack("<2sIHHI", b"BM", size, 0, 0, offset)
    info = struct.pack("<IiiHHIIiiII", 40, width, -height, 1, 8, 0, stride * height, per_metre, per_metre, 256, 256)
    return Encoded(head + info + palette.tobytes() + rows.tobytes(), offset)


def tiff(image: Grey, pixel_nm: float, *, name: str = "", levels: int = 1) -> Encoded:
    """Return an uncompressed 8-bit TIFF; with a name an OME-TIFF, with levels a pyramid in SubIFDs.

    Parameters
    ----------
    image
        (y, x) uint8.
    pixel_nm
        Pixel edge in nanometres.
    name
        Name of the image in the OME-XML; none without a name.
    levels
        Number of resolutions, the full one included; each is half of the one before.
    """
    planes = [image]
    while len(planes) < levels and min(planes[-1].shape) >= 32:
        planes.append(np.ascontiguousarray(planes[-1][::2, ::2]))
    words = _ome_xml(image.shape, pixel_nm, name).encode() + b"\0" if name else b""
    body, offsets = bytearray(), []
    for plane in planes:
        offsets.append(8 + len(body))
        body += plane.tobytes() + b"\0" * (plane.size % 2)
    described = 8 + len(body)
    body += words + b"\0" * (len(words) % 2)
    per_cm = 8 + len(body)
    body += struct.pack("<II", min(round(1e7 / pixel_nm), 2**32 - 1), 1)
    # The list of SubIFDs and the directories behind: the lesser ones first, because the main one points to them.
    subs: list[int] = []
    for plane, offset in zip(planes[1:], offsets[1:], strict=True):
        subs.append(8 + len(body))
        body += _directory(plane, offset, [(254, 4, 1, 1)])
    listed = 8 + len(body)
    if len(subs) > 1:
        body += struct.pack(f"<{len(subs)}I", *subs)
    more = [(282, 5, 1, per_cm), (283, 5, 1, per_cm), (296, 3, 1, 3)]
    if words:
        more.append((270, 2, len(words), described))
    if subs:
        more.append((330, 4, len(subs), listed if len(subs) > 1 else subs[0]))
    first = 8 + len(body)
    body += _directory(image, offsets[0], more)
    return Encoded(struct.pack("<2sHI", b"II", 42, first) + bytes(body), offsets[0])


def png(image: Grey) -> Encoded:
    """Return an 8-bit grey PNG, compressed quickly."""
    height, width = image.shape
    rows = np.zeros((height, width + 1), np.uint8)
    rows[:, 1:] = image

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    packed = chunk(b"IDAT", zlib.compress(rows.tobytes(), 1))
    return Encoded(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + packed + chunk(b"IEND", b""), None)


def _directory(plane: Grey, offset: int, more: list[tuple[int, int, int, int]]) -> bytes:
    height, width = plane.shape
    entries = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, offset),
        (277, 3, 1, 1),
        (278, 4, 1, height),
        (279, 4, 1, plane.size),
        *more,
    ]
    # Little-endian: a short in the low half of the value field is the same bytes as a long.
    packed = b"".join(struct.pack("<HHII", *entry) for entry in sorted(entries))
    return struct.pack("<H", len(entries)) + packed + struct.pack("<I", 0)


def _ome_xml(shape: tuple[int, ...], pixel_nm: float, name: str) -> str:
    size = f'SizeX="{shape[1]}" SizeY="{shape[0]}" SizeZ="1" SizeC="1" SizeT="1"'
    edge = f"{pixel_nm / 1000:.9g}"
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06">'
        f'<Image ID="Image:0" Name={quoteattr(name)}><Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint8" {size} '
        f'PhysicalSizeX="{edge}" PhysicalSizeXUnit="&#181;m" PhysicalSizeY="{edge}" PhysicalSizeYUnit="&#181;m">'
        '<Channel ID="Channel:0:0" SamplesPerPixel="1"/><TiffData IFD="0" PlaneCount="1"/></Pixels></Image></OME>'
    )
