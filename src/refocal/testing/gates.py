"""What every gate promises: any image gets a grade, nothing is touched, the same image gets the same grade."""

from functools import cache
from typing import Any, ClassVar, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from refocal.core.values import Contrast, Counts, Frames, Verdict
from refocal.testing._part import PartContract

CASES = (
    "1x1", "3 px wide", "31 px", "32 px", "strip", "zeros", "constant float", "saturated", "NaN", "infinite", "huge",
    "tiny", "binary", "checkerboard", "big-endian", "signed", "int32", "float64", "turned", "transposed",
    "every second",
)  # fmt: skip


class GateContract(PartContract):
    """Override `options` where the gate needs any."""

    family: ClassVar[str] = "gates"

    @pytest.mark.parametrize("case", CASES)
    def test_any_image_gets_a_grade(self, kind: str, case: str) -> None:
        image = awkward()[case]
        before = image.copy()
        gate = self.make(kind)
        found = gate(Frames(image[None], contrast=Contrast.of(image.dtype)))
        assert found.verdict in get_args(Verdict)
        assert found.reason
        assert "\n" not in found.reason
        for value in (found.sigma_px, found.noise, found.anisotropy, found.angle_deg, found.expected):
            assert value is None or np.isfinite(value)
        assert gate(Frames(image[None], contrast=Contrast.of(image.dtype))) == found
        np.testing.assert_array_equal(image, before)

    def test_read_only_counts_are_enough(self, kind: str) -> None:
        image = soft(1)
        image.setflags(write=False)
        assert self.make(kind)(Frames(image[None], contrast=Contrast.of(image.dtype))).verdict in get_args(Verdict)


@cache
def awkward() -> dict[str, Counts]:
    """Return images of every size, dtype and content that instruments and people produce, by `CASES`."""
    images: tuple[NDArray[Any], ...] = (
        np.zeros((1, 1), np.uint8),
        np.arange(600, dtype=np.uint16).reshape(200, 3),
        soft(1)[:31],
        soft(1)[:32, :32],
        soft(1)[:33],
        np.zeros((64, 64), np.uint8),
        np.full((64, 64), 0.37, np.float32),
        np.full((64, 64), 255, np.uint8),
        np.where(np.arange(64) == 7, np.nan, soft(1)[:64, :64]).astype(np.float32),
        np.full((64, 64), np.inf, np.float32),
        (soft(1)[:64, :64] * 1e30).astype(np.float32),
        (soft(1)[:64, :64] * 1e-30).astype(np.float32),
        (soft(1) > 128).astype(np.uint8) * 255,
        np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255,
        soft(2).astype(">u2"),
        soft(2).astype(np.int16) - 128,
        soft(2).astype(np.int32),
        soft(2).astype(np.float64),
        soft(2)[::-1, ::-1],
        soft(2).T,
        soft(2)[::2, ::2],
    )
    return dict(zip(CASES, images, strict=True))


def texture(side: int = 256, seed: int = 0) -> NDArray[np.float64]:
    """Return structure on every scale, 8-bit range, float."""
    rng = np.random.default_rng(seed)
    ky, kx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / np.maximum(np.hypot(ky, kx), 1 / 24) ** 1.2
    drawn = np.fft.irfft2(spectrum, s=(side, side))
    image: NDArray[np.float64] = 128 + 30 * (drawn - drawn.mean()) / drawn.std()
    return image


def soft(sigma: float, noise: float = 4.0, side: int = 256, seed: int = 0) -> NDArray[np.uint8]:
    """Return the texture blurred, noisy and 8-bit."""
    rng = np.random.default_rng(seed + 1)
    blurred = ndimage.gaussian_filter(texture(side, seed), sigma, mode="wrap")
    return (blurred + noise * rng.standard_normal(blurred.shape)).round().clip(0, 255).astype(np.uint8)
