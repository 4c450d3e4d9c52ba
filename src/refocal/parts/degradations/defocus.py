"""Defocus: isotropic blur by a Gaussian, a uniform disc, or the wave-optical probe."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations import _psf
from refocal.parts.degradations._draw import Range, check_range, draw

__all__ = ["Defocus"]


@dataclass(frozen=True, slots=True)
class Defocus:
    """Blur by `sigma_px` (a number or a range), the standard deviation of the probe along one axis.

    A defocus of df nanometres gives a geometric disc of radius alpha df / pixel, so sigma is half of that: 1 px for
    each micrometre at 4 nm and 8 mrad. `mixed` draws Gaussian (40 %), disc (40 %) or wave-optical (20 %).

    The beam energy, the half angle of the beam, coma and the frames' `pixel_nm` (4 where it is not known) matter to
    the wave-optical probe only, whose diffraction comes on top of `sigma_px`.
    """

    sigma_px: Range = (0.0, 3.0)
    profile: Literal["gaussian", "disc", "wave", "mixed"] = "gaussian"
    energy_kv: float = 1.5
    alpha_mrad: float = 8.0
    coma_px: Range = 0.0

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("sigma_px", self.sigma_px, 0, 64)
        check_range("energy_kv", self.energy_kv, 0.1, 300)
        check_range("alpha_mrad", self.alpha_mrad, 0.1, 50)
        check_range("coma_px", self.coma_px, 0, 64)
        if self.profile not in ("gaussian", "disc", "wave", "mixed"):
            raise ValueError(f"profile must be gaussian, disc, wave or mixed, got {self.profile!r}")

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Blur every frame."""
        sigma = draw(self.sigma_px, rng)
        profile: str = self.profile
        if profile == "mixed":
            profile = str(rng.choice(["gaussian", "disc", "wave"], p=[0.4, 0.4, 0.2]))
        if profile == "gaussian":
            kernel = _psf.gaussian(np.eye(2) * sigma**2)
        elif profile == "disc":
            kernel = _psf.disc(sigma, edge_px=draw((0.3, 0.7), rng))
        else:
            signed = sigma if rng.random() < 0.5 else -sigma
            coma = draw(self.coma_px, rng)
            kernel = _psf.wave(
                signed,
                coma_px=coma,
                angle_deg=draw((0.0, 360.0), rng) if coma else 0.0,
                pixel_nm=example.frames.pixel_nm or 4.0,
                energy_kv=self.energy_kv,
                alpha_mrad=self.alpha_mrad,
            )
        return _psf.blurred(example, kernel, sigma)
