"""Grade focus without a reference: blur, noise and direction from noise-cancelled structure-function exponents.

The order of the questions is part of the contract: is it large enough, are they numbers, is there any content, is it
clipped, and only then how soft is it. A tile without content therefore never raises an alarm.

Blur is the standard deviation of the Gaussian with the same effect on the exponents, everything included: probe, pixel
and defocus. Exponents at lags 1, 2 and 4 are mapped to it by the tables below, and blended. The tables were fitted to
the training images, binned by two and blurred by known amounts (`benchmarks/gate.py --fit` prints them): variances of
blurs add, so differences between blurs of one image fix the tables up to a constant, and that a binned image must be
half as blurred fixes the constant. One default for all specimens; their spread is 0.1 to 0.25 px below 3 px.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from refocal.errors import BadOptionError
from refocal.gates._structure import DOWN, UP, Structure, X, Y, clipped, structure
from refocal.values import Frames, Grade

__all__ = ["Sharpness"]

# Exponents (first row) and the blur that they mean, px.
_LAG1 = np.array(
    [
        [-0.2, 0.2, 0.5, 0.8, 1.0, 1.2, 1.35, 1.5, 1.6, 1.7, 1.75, 1.8, 1.85, 1.9, 1.93, 1.98],
        [0.0, 0.26, 0.54, 0.74, 0.88, 1.05, 1.23, 1.47, 1.7, 2.02, 2.26, 2.53, 2.95, 3.55, 4.03, 6.0],
    ]
)
_LAG2 = np.array(
    [
        [-1.0, -0.3, 0.0, 0.2, 0.4, 0.6, 0.8, 1.0, 1.2, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 1.97],
        [0.5, 0.78, 0.96, 1.08, 1.22, 1.44, 1.72, 2.0, 2.4, 2.94, 3.28, 3.69, 4.2, 5.0, 6.5, 10.0],
    ]
)
_LAG4 = np.array(
    [
        [-1.0, -0.2, 0.2, 0.5, 0.8, 1.0, 1.2, 1.4, 1.6, 1.8, 1.95],
        [2.0, 2.2, 2.5, 3.0, 3.69, 4.29, 5.05, 6.0, 7.5, 10.0, 16.0],
    ]
)

SMALLEST_PX = 32


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Say by its blur whether a tile is kept, restored or taken again.

    The target frame is graded as a whole; `valid` is not used, because blank areas drop out by themselves. A tile
    smaller than 32 px, or without any measurable exponent, is kept as it is and the reason says so; one with NaN or
    infinite counts is `unreadable`.
    """

    keep_px: float = 1.0
    """Keep below this blur: 0.8 px beyond the 0.6 px that an in-focus probe and the pixel blur anyway."""
    retake_px: float = 3.2
    """Take again above this blur: the shipped weights are trained for up to 3 px, and this measures 3 px to 0.25."""
    native_px: float = 0.0
    """Blur that sharp tiles of this microscope have; taken off in quadrature before anything is decided."""
    content: float = 0.02
    """Least D(8) - D(1), in units of the noise variance. Blank resin has below 0.005, tissue 0.5 and more."""
    significance: float = 5.0
    """An increment counts as content from this many standard errors on."""
    saturated: float = 0.5
    """Take again where a larger share of the pixels is at one limit of the dtype; 1 switches this off."""

    def __post_init__(self) -> None:
        """Refuse thresholds that contradict each other."""
        if not 0 <= self.keep_px < self.retake_px:
            raise BadOptionError(f"keep_px must be below retake_px, got {self.keep_px} and {self.retake_px}")
        for name in ("native_px", "content", "significance", "saturated"):
            if not getattr(self, name) >= 0:
                raise BadOptionError(f"{name} must not be negative, got {getattr(self, name)}")

    def __call__(self, frames: Frames, /) -> Grade:
        """Grade the target frame; blur in pixels, noise in counts."""
        image = frames.image
        height, width = image.shape
        if min(height, width) < SMALLEST_PX:
            return Grade("keep", f"{width}x{height} px is too small to grade (needs {SMALLEST_PX}); left as it is")
        found = structure(image)
        if not found.finite:
            return Grade("unreadable", "has counts that are NaN or infinite")
        noise = _noise(found)
        floor = self._floor(found, noise, image.size)
        blank = self._blank(found, noise, floor, integer=image.dtype.kind in "ui")
        if blank:
            return Grade("no_content", blank, noise=noise)
        share = clipped(image)
        if share > self.saturated:
            return Grade("retake", f"{share:.0%} of the pixels are clipped, over {self.saturated:.0%}", noise=noise)
        total = _blur(found, floor)
        if math.isnan(total):
            return Grade("keep", f"not measurable under noise {noise:.3g}; left as it is", noise=noise)
        sigma = math.sqrt(max(0.0, total**2 - self.native_px**2))
        anisotropy, angle = _direction(found, floor)
        return Grade(*self._verdict(sigma, noise), sigma, noise, anisotropy, angle)

    def _floor(self, found: Structure, noise: float, pixels: int) -> float:
        """Return the least increment, counts^2, that white noise does not make: Var[D(k) - D(l)] = 2 noise^4 / N.

        N is a quarter of the pixels, for noise that is correlated along the fast axis.
        """
        rounding = 1e-9 * abs(found.values[Y, 1])
        return max(self.significance * noise**2 * math.sqrt(8 / pixels), rounding)

    def _blank(self, found: Structure, noise: float, floor: float, *, integer: bool) -> str:
        """Return why there is nothing to grade, or an empty string."""
        rise = found.rise(Y, 1, 8)
        if not any(found.values.values()):
            return "constant, or a plain gradient"
        if not rise > max(floor, self.content * noise**2):
            return f"no content: {max(0.0, rise):.3g} counts² of structure under noise {noise:.3g}"
        if integer and rise < 1:
            return f"no content: {rise:.3g} counts² of structure, less than one count"
        # Tissue blurred by 25 px has an exponent of 1.9 at lag 8; above that it is shading, not blur.
        if found.shading > 1.9:
            return "no content: nothing but smooth shading"
        return ""

    def _verdict(self, sigma: float, noise: float) -> tuple[Literal["keep", "restore", "retake"], str]:
        measured = f"blur {sigma:.2f} px, noise {noise:.3g} counts"
        if sigma < self.keep_px:
            return "keep", f"{measured}: sharper than {self.keep_px:g} px"
        if sigma > self.retake_px:
            return "retake", f"{measured}: softer than {self.retake_px:g} px"
        return "restore", f"{measured}: between {self.keep_px:g} and {self.retake_px:g} px"


def _noise(found: Structure) -> float:
    """Return the standard deviation of white noise, counts; exact from 1 px of blur on, below it an upper bound.

    A smooth image has D(l) = noise^2 + c l^2, so D(0) = D(1) - [D(2) - D(1)] / 3.
    """
    first = found.values[Y, 1]
    return math.sqrt(max(0.0, first - max(0.0, found.rise(Y, 1, 2)) / 3))


def _blur(found: Structure, floor: float) -> float:
    """Return the blur in pixels: lag 1 up to 1.2 px, half lag 2 from 2 px, lag 4 from 4 px; NaN if there is none."""
    one = _read(_LAG1, found.exponent(1, Y, floor=floor))
    two = _read(_LAG2, found.exponent(2, X, Y, floor=floor))
    four = _read(_LAG4, found.exponent(4, X, Y, floor=floor))
    # Where the finest increments drown in noise the coarser exponents stand in.
    if math.isnan(one):
        one = two
    if math.isnan(two):
        return one if not math.isnan(one) else four
    fine = one + 0.5 * _step(one, 1.2, 2.0) * (two - one)
    fine += _step(two, 2.6, 3.4) * (two - fine)
    return fine if math.isnan(four) else fine + _step(fine, 3.0, 4.5) * (four - fine)


def _read(table: NDArray[np.float64], exponent: float) -> float:
    return float(np.interp(exponent, *table))


def _step(value: float, low: float, high: float) -> float:
    """Return 0 below `low`, 1 above `high`, smoothly in between."""
    t = min(1.0, max(0.0, (value - low) / (high - low)))
    return t * t * (3 - 2 * t)


def _direction(found: Structure, floor: float) -> tuple[float | None, float | None]:
    """Return how directional the blur is, and the direction of the strongest, degrees from x towards y.

    The variance of an elliptic blur along an angle t is m + a cos 2t + b sin 2t; four directions give all three.
    Oriented tissue looks the same: compare with the neighbours before blaming the stigmator.
    """
    along = [_read(_LAG2, found.exponent(2, d, floor=floor)) for d in (X, DOWN, Y, UP)]
    if any(math.isnan(sigma) for sigma in along):
        return None, None
    x, down, y, up = (s**2 * scale for s, scale in zip(along, (1, 2, 1, 2), strict=True))
    a, b = (x - y) / 2, (down - up) / 2
    mean = (x + down + y + up) / 4
    return min(1.0, math.hypot(a, b) / mean), math.degrees(math.atan2(b, a)) / 2 % 180
