"""Voxel sizes of HDF5 under other names and nonsense numbers, from the command line."""

import json

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")
pytest.importorskip("zarr")
HOW = ("--gate", "always", "--restorer", "identity", "--no-report")


def volume(path, **attributes):
    with h5py.File(path, "w") as file:
        file["volumes/raw"] = np.random.default_rng(0).integers(1, 255, (4, 64, 64), np.uint8)
        file["volumes/raw"].attrs.update(attributes)
    return path


def test_attributes_reach_an_hdf5_output(inside, tmp_path):
    given = volume(tmp_path / "a.h5", element_size_um=[0.04, 0.004, 0.004], comment="probe 7")
    inside("restore", given, "-o", tmp_path / "o.h5", *HOW)
    with h5py.File(tmp_path / "o.h5") as file:
        kept = file["volumes/raw"].attrs
        assert kept["comment"] == "probe 7"
        np.testing.assert_array_equal(kept["element_size_um"], [0.04, 0.004, 0.004])
        assert "resolution" not in kept


@pytest.mark.parametrize("z", [0.0, np.nan, np.inf, -40.0])
def test_nonsense_numbers_reach_no_ome_zarr(z, inside, tmp_path):
    said = inside("restore", volume(tmp_path / "a.h5", resolution=[z, 4.0, 4.0]), "-o", tmp_path / "o.zarr", *HOW)

    def refused(word):
        raise AssertionError(word)

    json.loads((tmp_path / "o.zarr" / ".zattrs").read_text(), parse_constant=refused)
    assert "voxel size is not known" in " ".join((said.out + said.err).split())
