"""TIFF stacks that end before their last page are unreadable: nothing shorter is written in their place."""

import struct

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")

STACK = np.stack([texture(SOFT, seed, (40, 48)) for seed in range(6)])


def libtiff_order(path):
    """Write each page's pixels before its directory, as libtiff does."""
    stored, pointer = bytearray(b"II*\0\0\0\0\0"), 4
    for page in STACK:
        height, width = page.shape
        tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, len(stored)), (278, height)]
        tags.append((279, page.size))
        stored += page.tobytes()
        struct.pack_into("<I", stored, pointer, len(stored))
        stored += struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", code, 4, 1, n) for code, n in tags)
        pointer = len(stored)
        stored += bytes(4)
    path.write_bytes(stored)


def one_directory(path):
    tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"})
    stored = bytearray(path.read_bytes())
    (first,) = struct.unpack_from("<I", stored, 4)
    (count,) = struct.unpack_from("<H", stored, first)
    struct.pack_into("<I", stored, first + 2 + 12 * count, 0)
    path.write_bytes(stored)


KINDS = {
    "libtiff": libtiff_order,
    "imagej": lambda path: tifffile.imwrite(path, STACK, imagej=True, metadata={"axes": "ZYX"}),
    "one directory": one_directory,
    "ome": lambda path: tifffile.imwrite(path, STACK, ome=True, photometric="minisblack", metadata={"axes": "ZYX"}),
    "shaped": lambda path: tifffile.imwrite(path, STACK, photometric="minisblack"),
    "big": lambda path: tifffile.imwrite(path, STACK, photometric="minisblack", bigtiff=True),
    "deflate": lambda path: tifffile.imwrite(path, STACK, photometric="minisblack", compression="zlib"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_whole_stacks_are_restored_and_cut_ones_are_not(kind, inside, tmp_path):
    source = tmp_path / "in" / ("s.ome.tif" if kind == "ome" else "s.tif")
    source.parent.mkdir()
    KINDS[kind](source)
    inside("restore", source, "-o", tmp_path / "whole", *RESTORE)
    assert len(tifffile.TiffFile(tmp_path / "whole" / source.name).pages) == 6
    whole = source.read_bytes()
    for part in (0.4, 0.75):
        source.write_bytes(whole[: int(len(whole) * part)])
        out = tmp_path / f"cut {part}"
        said = inside("restore", source, "-o", out, *RESTORE, code=1)
        assert "truncated" in said.err + said.out
        assert not (out / source.name).exists()
        assert "unreadable" in (out / "retake.csv").read_text()


@pytest.mark.parametrize("text", ["ImageJ=1.5\nimages=6\n", '{"shape": [6, 40, 48]}'])
def test_fewer_pages_than_the_description_promises(text, inside, tmp_path):
    """As a copy program leaves it that ended the chain of directories properly."""
    with tifffile.TiffWriter(tmp_path / "s.tif") as writer:
        for page in STACK[:4]:
            writer.write(page, metadata=None, description=text, compression="zlib", contiguous=False)
    said = inside("restore", tmp_path / "s.tif", "-o", tmp_path / "out", *RESTORE, code=1)
    assert "holds 4 of the 6 pages" in said.err + said.out
