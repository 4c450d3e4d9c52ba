"""Grade focus without a reference: blur, noise and direction from noise-cancelled structure-function exponents.

The order of the questions is part of the contract: is the tile large enough, are its pixels numbers, is there any
content, is it clipped, and only then how soft is it. A tile without content therefore never raises an alarm.

Blur is the standard deviation of the Gaussian with the same effect on the exponents, including probe, pixel and
defocus; see `refocal.imaging.blur_scale`.
"""

import math
from dataclasses import dataclass
from typing import Literal

from refocal.core.errors import BadOptionError
from refocal.core.values import Frames, Grade
from refocal.imaging.blur_scale import blur, direction
from refocal.imaging.screening import Screen
from refocal.imaging.structure_function import Y

__all__ = ["Sharpness"]


@dataclass(frozen=True, slots=True)
class Sharpness:
    """Decide from its blur whether a tile is kept, restored or imaged again.

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
        seen = Screen(self.content, self.significance, self.saturated)(frames.image)
        if isinstance(seen, Grade):
            return seen
        found, noise, floor = seen.found, seen.noise, seen.floor
        total = blur(found, floor)
        if math.isnan(total):
            unknown = f"not measurable under noise {noise:.3g}; left as it is{seen.faults}"
            return Grade("keep", unknown, noise=noise, structure=found)
        sigma = math.sqrt(max(0.0, total**2 - self.native_px**2))
        anisotropy, angle = direction(found, floor)
        verdict, reason = self._verdict(sigma, noise)
        if verdict == "keep" and found.rise(Y, 1, 8) < noise**2:
            reason += ", but with more noise than structure"
        return Grade(verdict, reason + seen.faults, sigma, noise, anisotropy, angle, structure=found)

    def _verdict(self, sigma: float, noise: float) -> tuple[Literal["keep", "restore", "retake"], str]:
        measured = f"blur {sigma:.2f} px, noise {noise:.3g} counts"
        if sigma < self.keep_px:
            return "keep", f"{measured}: sharper than {self.keep_px:g} px"
        if sigma > self.retake_px:
            return "retake", f"{measured}: softer than {self.retake_px:g} px"
        return "restore", f"{measured}: between {self.keep_px:g} and {self.retake_px:g} px"
