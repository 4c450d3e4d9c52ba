"""Field defocus: the specimen is tilted or curved, so the blur changes over the tile."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Example, Pixels
from refocal.parts.degradations import _psf
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["FieldDefocus"]


@dataclass(frozen=True, slots=True)
class FieldDefocus:
    """Blur by a signed width that is `defocus_px` at the centre of the tile, plus a plane, plus a paraboloid.

    `tilt_px` is the change along the longer edge of the tile in a direction drawn, `curvature_px` the change from
    the centre to that distance from it. Where the width passes zero the specimen passes through focus; with
    astigmatism the ellipse turns by 90 degrees there. Each pixel blends the two nearest of a ladder of point spread
    functions. The hints are `sigma_map`, the width at each (y, x), and `sigma_px`, its root mean square.
    """

    defocus_px: Range = (-3.0, 3.0)
    tilt_px: Range = (0.0, 2.0)
    curvature_px: Range = (-0.5, 0.5)
    profile: Literal["gaussian", "disc"] = "gaussian"
    astigmatism_px: Range = 0.0
    angle_deg: Range = (0.0, 360.0)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("defocus_px", self.defocus_px, -64, 64)
        check_range("tilt_px", self.tilt_px, 0, 64)
        check_range("curvature_px", self.curvature_px, -64, 64)
        check_range("astigmatism_px", self.astigmatism_px, 0, 64)
        check_range("angle_deg", self.angle_deg, -360, 360)
        if self.profile not in ("gaussian", "disc"):
            raise ValueError(f"profile must be gaussian or disc, got {self.profile!r}")
        if self.profile == "disc" and self.astigmatism_px != 0:
            raise ValueError("astigmatism_px needs the profile gaussian, got disc")

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Blur every frame by the same field."""
        frames = example.frames.counts
        defocus = self._field(frames.shape[1:], rng)
        astigmatism = draw(self.astigmatism_px, rng)
        turn = np.deg2rad(2 * draw((0.0, 180.0), rng))
        twofold = astigmatism * np.array([[np.cos(turn), np.sin(turn)], [np.sin(turn), -np.cos(turn)]])
        pixels = np.zeros_like(frames, np.float32)
        for step, share in _ladder(defocus):
            m = step * np.eye(2) + twofold
            kernel = _psf.disc(abs(step)) if self.profile == "disc" else _psf.gaussian(m @ m)
            pixels += share * _psf.convolve(frames, kernel)
        widths = np.hypot(defocus, astigmatism).astype(np.float32)
        sigma = _psf.wider(example, float(np.sqrt((widths**2).mean())))
        return with_pixels(example, pixels, sigma_map=widths, sigma_px=sigma)

    def _field(self, shape: tuple[int, ...], rng: np.random.Generator) -> NDArray[np.float64]:
        """Return the signed width at each (y, x)."""
        defocus, tilt, curvature = (draw(v, rng) for v in (self.defocus_px, self.tilt_px, self.curvature_px))
        direction = np.deg2rad(draw(self.angle_deg, rng))
        height, width = shape
        y, x = np.mgrid[:height, :width]
        v, u = (y - (height - 1) / 2) / max(shape), (x - (width - 1) / 2) / max(shape)
        plane = tilt * (u * np.cos(direction) + v * np.sin(direction))
        field: NDArray[np.float64] = defocus + plane + curvature * (u**2 + v**2)
        return field


def _ladder(defocus: NDArray[np.float64]) -> list[tuple[float, Pixels]]:
    """Return signed widths at most 0.4 px apart (fewer than 34), and the share of each at every pixel."""
    low, high = float(defocus.min()), float(defocus.max())
    count = min(int(np.ceil((high - low) / 0.4)), 32) + 1
    if count == 1:
        return [(low, np.ones(defocus.shape, np.float32))]
    steps = np.linspace(low, high, count)
    place = (defocus - low) / (high - low) * (count - 1)
    return [(float(s), np.clip(1 - np.abs(place - i), 0, 1).astype(np.float32)) for i, s in enumerate(steps)]
