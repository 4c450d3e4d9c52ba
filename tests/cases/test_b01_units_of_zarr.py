"""Lengths keep their meaning: known units become nanometres, others stay as they are, numbers and all."""

import json
from pathlib import Path
from typing import Any

import mrcfile
import pytest

from program import Program
from zarr_images import ome

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")
FACTORS = {
    "nm": 1, "nanometre": 1, "nanometers": 1, "um": 1e3, "µm": 1e3, "micron": 1e3, "microns": 1e3, "Micrometre": 1e3,
    "angstrom": 0.1, "Å": 0.1, "millimeter": 1e6,
}  # fmt: skip


def geometry(path: Path) -> tuple[list[Any], list[float], list[float]]:
    image = json.loads((path / ".zattrs").read_text())["multiscales"][0]
    steps = image["datasets"][0]["coordinateTransformations"]
    return [axis.get("unit") for axis in image["axes"]], steps[0]["scale"], steps[1]["translation"]


@pytest.mark.parametrize("unit", FACTORS)
def test_units_that_are_known(unit: str, inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr", unit=unit)
    inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.zarr", *RESTORE)
    units, scale, offset = geometry(tmp_path / "r.zarr")
    assert units == ["nanometer"] * 3
    assert scale == pytest.approx([FACTORS[unit] * n for n in (40, 4, 4)])
    assert offset == pytest.approx([FACTORS[unit] * n for n in (400, 80, 120)])


@pytest.mark.parametrize("unit", [None, " ", "furlong", "pixel"])
def test_units_that_are_not_known_stay_with_their_numbers(unit: str | None, inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr", unit=unit)
    said = inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.zarr", *RESTORE)
    assert "scale and translation are kept as numbers" in said.err
    assert geometry(tmp_path / "r.zarr") == geometry(tmp_path / "v.zarr")
    lost = inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.mrc", *RESTORE)
    assert "the output cannot hold scale 40 x 4 x 4" in lost.err


@pytest.mark.parametrize("scale", [(0.0, 4.0, 4.0), (-40.0, 4.0, 4.0), (float("nan"), 4.0, 4.0)])
def test_scales_that_are_no_sizes(scale: Any, inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr", scale=scale)
    said = inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.zarr", *RESTORE)
    assert "no positive number" in said.err
    text = (tmp_path / "r.zarr" / ".zattrs").read_text()
    assert "NaN" not in text
    assert json.loads(text)["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"] == [1, 1, 1]


def test_an_oblong_voxel_and_an_offset_go_to_mrc_and_to_tiff(inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr", scale=(40.0, 5.08, 4.0))
    inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.mrc", *RESTORE)
    with mrcfile.open(tmp_path / "r.mrc") as made:
        assert made.voxel_size.tolist() == pytest.approx((40, 50.8, 400))
        assert made.header.origin.tolist() == pytest.approx((1200, 800, 4000))
    inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.tif", *RESTORE)
    inside("restore", tmp_path / "r.tif", "-o", tmp_path / "back.zarr", *RESTORE)
    assert geometry(tmp_path / "back.zarr") == geometry(tmp_path / "v.zarr")
