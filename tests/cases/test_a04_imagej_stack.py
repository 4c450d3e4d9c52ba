"""ImageJ takes the planes of an uncompressed stack one after the other: a restored one must lie as it reads."""

import re

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")

STACK = np.stack([texture(SOFT, seed, (40, 48)) for seed in range(4)])


def as_imagej_opens(path):
    """Return the planes as ij.io.TiffDecoder and its reader take them."""
    stored = path.read_bytes()
    with tifffile.TiffFile(path) as tiff:
        first = tiff.pages.first
        images = re.search(r"images=(\d+)", first.description) if first.description.startswith("ImageJ") else None
        if not images or first.compression != 1 or 274 in first.tags:
            return np.stack([page.asarray() for page in tiff.pages])
        start, dtype = first.dataoffsets[0], first.dtype.newbyteorder(tiff.byteorder)
        return np.frombuffer(stored, dtype, int(images[1]) * first.size, start).reshape(-1, *first.shape)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("out", ["tiles", "volume.tif"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_restored_stacks_open_as_their_source(dtype, out, compression, inside, tmp_path):
    told = {"axes": "ZYX", "unit": "nm", "spacing": 40.0, "Labels": list("abcd")}
    source, counts = tmp_path / "s.tif", STACK.astype(dtype)
    tifffile.imwrite(source, counts, imagej=True, resolution=(0.25, 0.25), metadata=told, compression=compression)
    np.testing.assert_array_equal(as_imagej_opens(source), counts)
    inside("restore", source, "-o", tmp_path / out, *RESTORE)
    made = tmp_path / out if out.endswith(".tif") else tmp_path / out / "s.tif"
    np.testing.assert_array_equal(as_imagej_opens(made), counts)
    np.testing.assert_array_equal(tifffile.imread(made), counts)
    with tifffile.TiffFile(made) as back:
        assert back.imagej_metadata["spacing"] == 40
        assert back.imagej_metadata["Labels"] == list("abcd")
