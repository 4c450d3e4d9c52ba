"""Every gate: any image gets a grade, nothing is touched, the same image gets the same grade."""

import inspect
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import Contrast, Frames, Grade
from refocal.testing import GateContract
from refocal.testing.gates import awkward, soft, texture


class TestEveryGate(GateContract):
    kinds = registry.names("gates")

    @pytest.fixture(autouse=True)
    def _calibrated(self, calibration: Path) -> None:
        self.calibration = calibration

    def options(self, kind: str) -> dict[str, str]:
        needed = inspect.signature(registry.load("gates", kind)).parameters
        return {"path": str(self.calibration)} if "path" in needed else {}


def grade(image: np.ndarray, **options: float) -> Grade:
    return registry.make("gates", "sharpness", **options)(Frames(image[None], contrast=Contrast.of(image.dtype)))


def test_always_restores() -> None:
    assert registry.make("gates", "always")(Frames(np.zeros((1, 1, 1), np.uint8))).verdict == "restore"


@pytest.mark.parametrize(
    ("case", "verdict", "words"),
    [
        ("1x1", "keep", "too small"),
        ("31 px", "keep", "too small"),
        ("zeros", "no_content", "constant"),
        ("saturated", "no_content", "constant"),
        ("NaN", "unreadable", "NaN"),
    ],
)
def test_what_cannot_be_measured_says_so(case: str, verdict: str, words: str) -> None:
    found = grade(awkward()[case])
    assert found.verdict == verdict
    assert words in found.reason
    assert found.sigma_px is None


def test_verdicts_follow_the_blur() -> None:
    assert grade(soft(0)).verdict == "keep"
    assert grade(soft(2)).verdict == "restore"
    assert grade(soft(5)).verdict == "retake"
    assert grade(soft(2), keep_px=3).verdict == "keep"
    assert grade(soft(2), keep_px=0.1, retake_px=0.5).verdict == "retake"


def test_native_blur_is_taken_off_in_quadrature() -> None:
    total = grade(soft(2)).sigma_px
    assert total is not None
    assert grade(soft(2), native_px=1.0).sigma_px == pytest.approx(np.sqrt(total**2 - 1))
    assert grade(soft(2), native_px=9.0).sigma_px == 0


@pytest.mark.parametrize("sigma", [1.0, 1.5, 2.0, 3.0])
def test_blur_and_noise_are_about_right(sigma: float) -> None:
    found = grade(soft(sigma, noise=6, side=512))
    assert found.sigma_px == pytest.approx(sigma, rel=0.25)
    assert found.noise == pytest.approx(6, rel=0.1)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_dtypes_agree(dtype: type) -> None:
    a, b = grade(soft(2)), grade(soft(2).astype(dtype))
    assert replace(a, reason="") == replace(
        b, reason="", sigma_px=pytest.approx(b.sigma_px, rel=1e-4), noise=pytest.approx(b.noise, rel=1e-4),
        anisotropy=pytest.approx(b.anisotropy, rel=1e-3), angle_deg=pytest.approx(b.angle_deg, rel=1e-3),
    )  # fmt: skip


def test_sixteen_bit_extremes_do_not_overflow() -> None:
    rng = np.random.default_rng(0)
    image = (soft(2).astype(np.uint16) * 257)[:128, :128]
    assert grade(image).sigma_px == pytest.approx(grade(soft(2)[:128, :128]).sigma_px, rel=1e-3)
    assert grade(rng.integers(0, 2, (512, 512)).astype(np.uint16) * 65535).verdict == "no_content"


def test_clipped_tissue_is_taken_again_but_filling_is_not() -> None:
    bright = (soft(2).astype(np.int64) * 3).clip(0, 255).astype(np.uint8)
    assert grade(bright).verdict == "retake"
    assert "clipped" in grade(bright).reason
    assert grade(bright, saturated=1).verdict != "retake"
    filled = np.zeros((512, 512), np.uint8)
    filled[:256, :256] = soft(2)
    assert grade(filled).verdict == "restore"


def test_half_blank_changes_nothing() -> None:
    image = soft(2, side=512)
    whole = grade(image).sigma_px
    rng = np.random.default_rng(9)
    image[:, 256:] = (140 + 4 * rng.standard_normal((512, 256))).round()
    assert grade(image).sigma_px == pytest.approx(whole, abs=0.1)


def test_directional_blur_has_its_angle() -> None:
    sharp = texture(512)
    rng = np.random.default_rng(1)
    along_x = ndimage.gaussian_filter(sharp, (1.2, 2.6), mode="wrap") + 3 * rng.standard_normal(sharp.shape)
    found = grade(along_x.astype(np.float32))
    assert found.anisotropy is not None
    assert found.anisotropy > 0.2
    assert min(found.angle_deg or 0, 180 - (found.angle_deg or 0)) < 15
    turned = grade(along_x.T.astype(np.float32))
    assert turned.angle_deg == pytest.approx(90, abs=15)


@pytest.mark.parametrize("options", [{"keep_px": 4.0}, {"retake_px": 0.5}, {"native_px": -1.0}, {"content": np.nan}])
def test_contradicting_thresholds_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(BadOptionError):
        registry.make("gates", "sharpness", **options)


def test_real_tissue_reads_softer_when_blurred(data) -> None:
    cv2 = pytest.importorskip("cv2")
    path = sorted((data / "train" / "sem").glob("mussel_*.png"))[0]
    tile = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)[600:1112, 600:1112]
    found = [grade(cv2.GaussianBlur(tile, (0, 0), s) if s else tile).sigma_px for s in (0, 1.5, 2.5, 4)]
    assert found == sorted(found)
