"""Astigmatism: a probe whose ellipse turns by 90 degrees with the sign of defocus."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations import _psf
from refocal.parts.degradations._draw import Range, check_range, draw

__all__ = ["Astigmatism"]


@dataclass(frozen=True, slots=True)
class Astigmatism:
    """Blur by the Gaussian of covariance M^2 with M = d I + a [[cos 2t, sin 2t], [sin 2t, -cos 2t]].

    d is the signed defocus and a the twofold astigmatism, both as blur widths in px; t the angle. At d = 0 the blur
    is isotropic although the probe is astigmatic.
    """

    defocus_px: Range = (-2.0, 2.0)
    astigmatism_px: Range = (0.0, 1.5)
    angle_deg: Range = (0.0, 180.0)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("defocus_px", self.defocus_px, -64, 64)
        check_range("astigmatism_px", self.astigmatism_px, 0, 64)
        check_range("angle_deg", self.angle_deg, -360, 360)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Blur every frame."""
        d, a = draw(self.defocus_px, rng), draw(self.astigmatism_px, rng)
        turn = np.deg2rad(2 * draw(self.angle_deg, rng))
        m = d * np.eye(2) + a * np.array([[np.cos(turn), np.sin(turn)], [np.sin(turn), -np.cos(turn)]])
        return _psf.blurred(example, _psf.gaussian(m @ m), float(np.hypot(d, a)))
