"""Values that mean no data, and number formats of other scales, never set the contrast of what was measured."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture
from program import Program

MODEL = ("--gate", "always", "--restorer", "unsharp", "--no-report")
PLACE = np.s_[:12, :15]


def soft(seed: int = 0) -> np.ndarray:
    return texture(SOFT, seed).astype(np.float32) / 255


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    there = np.ones(one.shape, bool)
    there[PLACE] = False
    return float(np.corrcoef(one[there], other[there])[0, 1])


@pytest.mark.parametrize("code", [-9999.0, 1e20, -3.4e38, 9999.0])
def test_a_code_in_floats_is_left_out_and_kept(code: float, inside: Program, tmp_path: Path) -> None:
    image = soft()
    image[PLACE] = code
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "f.tif", image)
    said = inside("restore", tmp_path / "in", "-o", tmp_path / "out", *MODEL)
    made = tifffile.imread(tmp_path / "out" / "f.tif")
    assert (made[PLACE] == image[PLACE]).all()
    assert correlation(image, made) > 0.9
    assert np.abs(made[40:]).max() < 2
    assert "mean no data" in said.err
    tile = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()][1]
    assert "mean no data" in tile["warnings"][0]
    assert "mean no data" in inside("grade", tmp_path / "in").err


def test_a_code_in_integers(inside: Program, tmp_path: Path) -> None:
    image = (20000 + 4 * texture(SOFT, 1).astype(np.int16)).astype(np.int16)
    image[PLACE] = -32768
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "f.tif", image)
    inside("restore", tmp_path / "in", "-o", tmp_path / "out", *MODEL)
    made = tifffile.imread(tmp_path / "out" / "f.tif")
    assert (made[PLACE] == -32768).all()
    assert made[40:].min() > 19000


def test_the_declared_value_counts_whatever_it_is(inside: Program, tmp_path: Path) -> None:
    image = soft(2)
    image[PLACE] = 0.5
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "f.tif", image, extratags=[(42113, "s", 0, "0.5", True)])
    inside("restore", tmp_path / "in", "-o", tmp_path / "out", *MODEL)
    assert (tifffile.imread(tmp_path / "out" / "f.tif")[PLACE] == 0.5).all()


def test_number_formats_and_scales_have_contrasts_of_their_own(inside: Program, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    images = {"a": soft(3), "b": (soft(4) * 40000 + 5000).astype(np.uint16), "c": soft(5) * 65535}
    for name, image in images.items():
        tifffile.imwrite(tmp_path / "in" / f"{name}.tif", image)
    said = inside("restore", tmp_path / "in", "-o", tmp_path / "out", *MODEL)
    assert "each kind has a contrast of its own" in said.err
    for name, image in images.items():
        made = tifffile.imread(tmp_path / "out" / f"{name}.tif")
        assert correlation(image, made) > 0.9, name
        assert made.max() < 2 * float(image.max()), name
    again = inside("restore", tmp_path / "in", "-o", tmp_path / "out", *MODEL)
    assert "3 skipped" in again.err


@pytest.mark.parametrize("restorer", ["unsharp", "wiener", "richardson_lucy"])
def test_counts_end_at_the_finite_range_of_float16(restorer: str, inside: Program, tmp_path: Path) -> None:
    image = (soft(6) * 80000).clip(0, 65504).astype(np.float16)
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "f.tif", image)
    inside(
        "restore", tmp_path / "in", "-o", tmp_path / "out", "--gate", "always", "--restorer", restorer, "--no-report"
    )
    made = tifffile.imread(tmp_path / "out" / "f.tif")
    assert np.isfinite(made).all()
    tile = [json.loads(line) for line in (tmp_path / "out" / "log.jsonl").read_text().splitlines()][1]
    assert tile["clipped"] == pytest.approx((np.abs(made) == 65504).mean(), abs=1e-9)
