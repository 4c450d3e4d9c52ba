"""Grey of 1 to 7 bits is stretched to what a viewer shows; counts of 9 to 15 bits are kept."""

import imagecodecs
import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")


def packed(path, numbers, bits, photometric="minisblack"):
    """Write numbers of a few bits each; rows begin at whole bytes."""
    stored = imagecodecs.packints_encode(numbers, bits) if bits not in (4,) else None
    stored = stored if stored is not None else ((numbers[:, ::2] << 4) | numbers[:, 1::2]).astype(np.uint8).tobytes()
    height, width = numbers.shape
    white = 0 if photometric == "miniswhite" else 1
    tags = [(256, width), (257, height), (258, bits), (259, 1), (262, white), (273, 8), (278, height)]
    tags.append((279, len(stored)))
    directory = len(tags).to_bytes(2, "little")
    for code, value in tags:
        directory += b"".join(n.to_bytes(size, "little") for n, size in ((code, 2), (4, 2), (1, 4), (value, 4)))
    path.write_bytes(b"II*\0" + (8 + len(stored)).to_bytes(4, "little") + stored + directory + bytes(4))


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_four_bits_are_stretched(photometric, inside, tmp_path):
    numbers = texture(SOFT, 0) >> 4
    packed(tmp_path / "t.tif", numbers, 4, photometric)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "t.tif"), numbers)
    said = inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    assert "4-bit grey was stretched" in said.err + said.out
    with tifffile.TiffFile(tmp_path / "out" / "t.tif") as back:
        assert back.pages.first.photometric == 1
        shown = numbers * 17 if photometric == "minisblack" else 255 - numbers * 17
        np.testing.assert_array_equal(back.asarray(), shown)


@pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
def test_twelve_packed_bits_keep_their_counts(photometric, inside, tmp_path):
    numbers = texture(SOFT, 0).astype(np.uint16) * 16
    packed(tmp_path / "t.tif", numbers, 12, photometric)
    try:
        np.testing.assert_array_equal(tifffile.imread(tmp_path / "t.tif"), numbers)
    except ValueError:
        pytest.skip("this tifffile cannot read 12 bits")
    said = inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    assert "12-bit counts are written as 16 bits" in said.err + said.out
    with tifffile.TiffFile(tmp_path / "out" / "t.tif") as back:
        assert back.pages.first.photometric == 1
        np.testing.assert_array_equal(back.asarray(), numbers if photometric == "minisblack" else 4095 - numbers)


def test_twelve_bits_in_sixteen_keep_their_counts(inside, tmp_path):
    numbers = texture(SOFT, 0).astype(np.uint16) * 16
    tifffile.imwrite(tmp_path / "t.tif", numbers, metadata=None, extratags=[(281, 3, 1, 4095, True)])
    inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "t.tif"), numbers)
