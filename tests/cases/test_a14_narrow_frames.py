"""A frame of one value around the specimen, or a data bar below it, does not enter the grade."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from program import Program
from refocal.core import registry
from refocal.core.values import Frames, Grade


def tissue(sigma_px: float, side: int = 256) -> np.ndarray:
    rng = np.random.default_rng(3)
    cells = gaussian_filter(rng.standard_normal((side, side)), 6)
    image = gaussian_filter(0.8 - 0.6 * np.exp(-((cells / cells.std() * 3) ** 2)), sigma_px)
    image = 40 + 180 * (image - image.min()) / np.ptp(image) + rng.normal(0, 1.8, image.shape)
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


def grade(image: np.ndarray) -> Grade:
    found: Grade = registry.make("gates", "sharpness")(Frames(image[None]))
    return found


@pytest.mark.parametrize("sigma_px", [2.6, 4.0])
@pytest.mark.parametrize("width", [1, 2, 5, 20])
@pytest.mark.parametrize("value", [0, 255, 128])
@pytest.mark.parametrize("sides", ["tblr", "l", "tr", "b"])
def test_a_straight_frame(sigma_px: float, width: int, value: int, sides: str) -> None:
    image = tissue(sigma_px)
    plain = grade(image)
    framed = image.copy()
    for side in sides:
        framed[{"t": np.s_[:width], "b": np.s_[-width:], "l": np.s_[:, :width], "r": np.s_[:, -width:]}[side]] = value
    found = grade(framed)
    assert found.verdict == plain.verdict
    assert found.sigma_px == pytest.approx(plain.sigma_px, rel=0.1)
    assert found.noise == pytest.approx(plain.noise, rel=0.15)


def test_an_oblique_frame() -> None:
    image = tissue(2.6)
    y, x = np.indices(image.shape)
    framed = np.where(y < 12 - x // 24, 0, np.where(x > 250 + y // 60, 0, image)).astype(np.uint8)
    assert grade(framed).sigma_px == pytest.approx(grade(image).sigma_px, rel=0.15)


def test_a_data_bar_whose_height_is_told(inside: Program, tmp_path: Path) -> None:
    bar = np.zeros((59, 256), np.uint8)
    bar[20:30, ::3] = 255
    text = b"[Scan]\r\nPixelWidth=8.1e-009\r\nPixelHeight=8.1e-009\r\n[PrivateFei]\r\nDatabarHeight=59\r\n\0"
    image = np.vstack([tissue(2.6), bar])
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "bar.tif", image, metadata=None, extratags=[(34682, "s", len(text), text, True)])
    said = inside("grade", tmp_path / "in")
    assert "scan fault" not in said.out
    assert " restore " in said.out
    inside(
        "restore", tmp_path / "in", "-o", tmp_path / "out", "--gate", "always", "--restorer", "unsharp", "--no-report"
    )
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "bar.tif")[-59:], bar)
