"""Voxel size, order of axes and origin of an MRC stack reach OME-Zarr, or are said."""

import json

import mrcfile
import numpy as np
import pytest

pytest.importorskip("zarr")
HOW = ("--gate", "always", "--restorer", "identity", "--no-report")


@pytest.mark.parametrize("turned", [False, True])
def test_sizes_and_origin_reach_ome_zarr(turned, inside, tmp_path):
    counts = np.random.default_rng(0).integers(0, 255, (4, 64, 64), np.int16)
    with mrcfile.new(tmp_path / "a.mrc") as file:
        file.set_data(counts)
        header = file.header
        header.mx, header.my, header.mz = (4, 64, 64) if turned else (64, 64, 4)
        header.cella.x, header.cella.y, header.cella.z = float(header.mx) * 40, 64 * 50.8, float(header.mz) * 400
        header.origin.x, header.origin.y, header.origin.z = 80, 120, 160
        if turned:
            header.mapc, header.mapr, header.maps = 3, 2, 1
    said = inside("restore", tmp_path / "a.mrc", "-o", tmp_path / "o.zarr", *HOW)
    image = json.loads((tmp_path / "o.zarr" / ".zattrs").read_text())["multiscales"][0]
    steps = {step["type"]: step for step in image["datasets"][0]["coordinateTransformations"]}
    assert steps["scale"]["scale"] == pytest.approx([4.0, 5.08, 40.0] if turned else [40.0, 5.08, 4.0])
    assert steps["translation"]["translation"] == pytest.approx([8.0, 12.0, 16.0] if turned else [16.0, 12.0, 8.0])
    assert turned == ("run along" in said.out + said.err)
