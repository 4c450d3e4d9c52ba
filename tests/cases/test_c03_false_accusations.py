"""TIFFs with wrong strip counts whose pixels are all there are read, and long names are written."""

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture
from refocal.core.atomic import copy

IMAGE = texture(SOFT, 0)
RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")


def tiff(path, count, rows=None):
    """Write one strip, or several, with this byte count; None leaves it out."""
    height, width = IMAGE.shape
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (278, height)]
    tags += [] if count is None else [(279, count)]
    directory = len(tags).to_bytes(2, "little")
    for code, value in tags:
        directory += b"".join(n.to_bytes(size, "little") for n, size in ((code, 2), (4, 2), (1, 4), (value, 4)))
    path.write_bytes(b"II*\0" + (8 + IMAGE.size).to_bytes(4, "little") + IMAGE.tobytes() + directory + bytes(4))


@pytest.mark.parametrize("count", [0, None, IMAGE.size + 4096, 1])
def test_wrong_byte_counts(count, inside, tmp_path):
    tiff(tmp_path / "t.tif", count)
    inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "t.tif"), IMAGE)


@pytest.mark.parametrize("name", ["a" * 251, "断片" * 41, "ü" * 125])
def test_long_names(name, inside, tmp_path):
    tiff(tmp_path / f"{name}.tif", IMAGE.size)
    inside("restore", tmp_path / f"{name}.tif", "-o", tmp_path / "out", *RESTORE)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / f"{name}.tif"), IMAGE)
    copy(tmp_path / f"{name}.tif", tmp_path / "out" / f"{name}.tif")
    assert (tmp_path / "out" / f"{name}.tif").read_bytes() == (tmp_path / f"{name}.tif").read_bytes()
    assert [p.name for p in (tmp_path / "out").glob("*.tif")] == [f"{name}.tif"]
