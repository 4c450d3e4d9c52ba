"""The distance of sections that a TIFF gives is that of the volume; where it gives none, that is said."""

import json

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")
STACK = np.stack([texture(SOFT, seed, (40, 48)) for seed in range(4)])
NM = {"axes": "ZYX"} | {f"PhysicalSize{a}": n for a, n in (("X", 4), ("Y", 5), ("Z", 40))}
NM |= {f"PhysicalSize{a}Unit": "nm" for a in "XYZ"}


def scale(path):
    told = json.loads((path / ".zattrs").read_text())["multiscales"][0]["datasets"][0]
    return told["coordinateTransformations"][0]["scale"]


def imagej(path, **told):
    tifffile.imwrite(path, STACK, imagej=True, resolution=(0.25, 0.2), metadata={"axes": "ZYX"} | told)


@pytest.mark.parametrize("told", [{"unit": "nm", "spacing": 40.0}, {"unit": "nm", "spacing": 0.04, "zunit": "um"}])
def test_imagej(told, inside, tmp_path):
    imagej(tmp_path / "s.tif", **told)
    inside("restore", tmp_path / "s.tif", "-o", tmp_path / "v.zarr", *RESTORE)
    assert scale(tmp_path / "v.zarr") == pytest.approx([40, 5, 4])


def test_ome(inside, tmp_path):
    tifffile.imwrite(tmp_path / "s.ome.tif", STACK, ome=True, photometric="minisblack", metadata=NM)
    inside("restore", tmp_path / "s.ome.tif", "-o", tmp_path / "v.zarr", *RESTORE)
    assert scale(tmp_path / "v.zarr") == pytest.approx([40, 5, 4])
    inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "w.ome.tif", *RESTORE)
    with tifffile.TiffFile(tmp_path / "w.ome.tif") as back:
        for size in ('PhysicalSizeX="4"', 'PhysicalSizeY="5"', 'PhysicalSizeZ="40"'):
            assert size in back.ome_metadata


def test_a_distance_that_is_not_given_is_said(inside, tmp_path):
    imagej(tmp_path / "s.tif", unit="nm")
    said = inside("restore", tmp_path / "s.tif", "-o", tmp_path / "v.zarr", *RESTORE)
    assert "the distance of the sections is not known" in " ".join((said.err + said.out).split())
    said = inside("restore", tmp_path / "s.tif", "-o", tmp_path / "w.zarr", *RESTORE, "--volume", "section_nm=30")
    assert "not known" not in said.err + said.out
    assert scale(tmp_path / "w.zarr") == pytest.approx([30, 5, 4])


def test_a_tiff_of_a_volume_gives_it_back(inside, tmp_path):
    imagej(tmp_path / "s.tif", unit="nm", spacing=40.0)
    inside("restore", tmp_path / "s.tif", "-o", tmp_path / "v.zarr", *RESTORE)
    inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "w.tif", *RESTORE)
    inside("restore", tmp_path / "w.tif", "-o", tmp_path / "x.zarr", *RESTORE)
    assert scale(tmp_path / "x.zarr") == pytest.approx([40, 5, 4])
