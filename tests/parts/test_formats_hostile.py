"""Files made to cost time or memory: refused in a line, and soon."""

import struct
import time
import tracemalloc
import zlib

import numpy as np
import pytest
import tifffile

from refocal.core.errors import RefocalError
from refocal.parts.formats import open_image
from refocal.parts.formats._tiff_pages import MOST_DIRECTORIES

HUGE = 60_000


def tiff(path, tags, pixels=b""):
    """Write one directory of 32-bit numbers or texts; offsets of 0 become the place of the pixels."""
    place = 8 + 2 + 12 * len(tags) + 4
    entries, texts = b"", b""
    for code, value in sorted(tags.items()):
        if isinstance(value, bytes):
            entries += struct.pack("<HHII", code, 2, len(value), place + len(texts))
            texts += value
        else:
            entries += struct.pack("<HHII", code, 4, 1, value)
    entries = b"".join(
        e[:8] + struct.pack("<I", place + len(texts)) if e[:2] in (b"\x11\x01", b"\x44\x01") else e
        for e in (entries[i : i + 12] for i in range(0, len(entries), 12))
    )
    path.write_bytes(b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4) + texts + pixels)


def plain(**more):
    side = 16
    return {256: side, 257: side, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: side, 279: side * side} | more


def directories(path, count):
    stored = bytearray(b"II*\0\x08\0\0\0")
    for index in range(count):
        tags = b"".join(struct.pack("<HHII", code, 4, 1, 1) for code in (256, 257, 277, 278, 279))
        after = len(stored) + 2 + len(tags) + 4
        stored += struct.pack("<H", 5) + tags + struct.pack("<I", after if index < count - 1 else 0)
    path.write_bytes(stored)


def circle(path):
    directories(path, 3)
    path.write_bytes(path.read_bytes()[:-4] + struct.pack("<I", 8))


def png(path, width, height, stored):
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", stored), (b"IEND", b"")]
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + b"".join(struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks)
    )


def zeros(size):
    packer = zlib.compressobj(9)
    return b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)), packer.flush()])


TILE = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: HUGE, 323: HUGE, 324: 0, 325: 100}
STRIP = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 278: 2**31 - 1, 273: 0}
BOMBS = {
    "tile": lambda path: tiff(path, TILE, zlib.compress(bytes(4096))),
    "strip": lambda path: tiff(path, STRIP | {279: len(zeros(64 << 20))}, zeros(64 << 20)),
    "directories": lambda path: directories(path, MOST_DIRECTORIES + 1),
    "circle": circle,
    "png almost empty": lambda path: png(path, HUGE, HUGE, bytes(4_000_000)),
    "png with too much": lambda path: png(path, 100, 100, bytes(4_000_000)),
    "promised pages": lambda path: tiff(path, plain() | {270: b"ImageJ=1.5\nimages=100000000\n\0"}, bytes(256)),
    "promised sections": lambda path: tiff(path, plain() | {270: b'{"shape": [3, 16, 16]}\0'}, bytes(256)),
}


def told(path):
    """Open and read; return the error's text, "" where there is none."""
    began = time.process_time()
    tracemalloc.start()
    try:
        with open_image(path) as image:
            image.read()
        text = ""
    except RefocalError as error:
        text = str(error)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert time.process_time() - began < 8
    assert peak < 1 << 28
    return text


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused(bomb, tmp_path):
    BOMBS[bomb](tmp_path / "b.tif")
    text = told(tmp_path / "b.tif")
    assert text
    assert "\n" not in text


TEXTS = {
    "pixels": b"<OME " + b"<Pixels " * 100_000,
    "sizes": b"<OME ><Pixels " + b'SizeZ="1" ' * 100_000,
    "names": b"<OME >" + b'FileName="' * 100_000,
    "units": b"ImageJ=1.5\n" + b"unit=\n" * 100_000,
    "images": b"ImageJ=1.5\n" + b"images=1" * 100_000 + b"\n" * 100_000 + b"x",
    "deep": b'{"shape"' + b"[" * 300_000,
    "laughs": b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><OME><Pixels SizeZ="&b;"/></OME>',
}


@pytest.mark.parametrize("text", TEXTS)
def test_descriptions_cost_little(text, tmp_path):
    tiff(tmp_path / "b.tif", plain() | {270: TEXTS[text] + b"\0"}, bytes(256))
    told(tmp_path / "b.tif")


def test_many_pages_are_read(tmp_path):
    with tifffile.TiffWriter(tmp_path / "s.tif") as writer:
        writer.write(np.zeros((500, 8, 8), np.uint8), metadata=None)
    with open_image(tmp_path / "s.tif") as image:
        assert image.info.shape == (500, 8, 8)
