"""Scalars, words and nothing where HDF5 files usually have three numbers, and links to nowhere: no traceback."""

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")


@pytest.mark.parametrize(
    ("key", "value"),
    [("resolution", 4.0), ("resolution", 4), ("resolution", "4nm"), ("resolution", h5py.Empty("f")), ("offset", 0)],
)
def test_attributes_of_other_kinds_are_not_known(key, value, inside, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = np.ones((2, 32, 32), np.uint8)
        file["volumes/raw"].attrs[key] = value
    assert "voxel_nm" in inside("info", tmp_path / "a.h5").out


def test_a_link_to_nowhere_is_one_line(inside, tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["volumes/raw"] = h5py.ExternalLink("nowhere.h5", "d")
    assert "nowhere.h5" in inside("info", f"{tmp_path / 'a.h5'}::volumes/raw", code=1).line
