"""The complete path of a scanning image, from the section to the file."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refocal.core import registry
from refocal.core.values import Degradation, Example
from refocal.parts.degradations._draw import Range, check_range

__all__ = ["SemAcquisition"]


@dataclass(frozen=True, slots=True)
class SemAcquisition:
    """Degrade a sharp, low-noise tile in the physical order, with the ranges of volume electron microscopy at 4 nm.

    Geometry, probe, charging and background, shot noise, detector bandwidth, amplifier noise, rows, rounding. The
    probe is Gaussian, disc, wave-optical or astigmatic, the same over the tile or (15 %) not; 30 % of the tiles are
    nearly in focus. Shot noise is 3 to 25 grey levels at mid grey. `geometry`, `charging` and `faults` are
    probabilities: a restorer is taught neither to move tissue nor to invent rows unless they are raised. Every part
    can be had alone; `chain` composes others.
    """

    sigma_px: Range = (0.0, 4.0)
    electrons: Range = (100.0, 4000.0)
    memory: Range = (0.0, 0.4)
    geometry: float = 0.2
    charging: float = 0.2
    faults: float = 0.0
    bits: int = 8

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("sigma_px", self.sigma_px, 0, 64)
        for name in ("geometry", "charging", "faults"):
            check_range(name, getattr(self, name), 0, 1)
        self._chain()

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Apply the steps."""
        return self._chain()(example, rng)

    def _chain(self) -> Degradation:
        chain: Degradation = registry.make("degradations", "chain", steps=self.steps())
        return chain

    def steps(self) -> list[dict[str, Any]]:
        """Return the steps, as `chain` takes them."""
        return [
            {"kind": "jitter", "shift_px": [0.0, 0.3], "probability": self.geometry},
            {"kind": "vibration", "amplitude_px": [0.0, 0.5], "probability": self.geometry},
            {"kind": "drift", "drift_px": [0.0, 1.0], "settle_px": 0.0, "probability": self.geometry},
            self._probe(),
            {"kind": "charging", "amplitude": [0.0, 20.0], "probability": self.charging},
            {"kind": "background", "probability": self.charging},
            {"kind": "shot_noise", "electrons": self.electrons, "fano": [1.0, 2.0]},
            {"kind": "bandwidth", "memory": self.memory},
            {"kind": "gaussian_noise", "sigma": [0.5, 2.0]},
            {"kind": "stripes", "offset": [0.0, 1.0], "gain": [0.0, 0.005], "probability": 0.3},
            {"kind": "scan_fault", "probability": self.faults},
            {"kind": "quantise", "bits": self.bits},
        ]

    def _probe(self) -> dict[str, Any]:
        low, high = (self.sigma_px,) * 2 if isinstance(self.sigma_px, int | float) else self.sigma_px
        near = min(max(0.7, low), high)
        signed = ([low, high], [-high, -low])
        astigmatic = [
            {"kind": "astigmatism", "defocus_px": [0.9 * a, 0.9 * b], "astigmatism_px": [0.0, 0.4 * high]}
            for a, b in signed
        ]
        field = {
            "tilt_px": [0.0, 0.5 * high],
            "curvature_px": [-0.1 * high, 0.1 * high],
            "astigmatism_px": [0.0, 0.15 * high],
        }
        uneven = [{"kind": "field_defocus", "defocus_px": span, **field} for span in signed]
        return {
            "choice": [
                {"kind": "defocus", "profile": "mixed", "sigma_px": [low, near]},
                {"kind": "defocus", "profile": "mixed", "sigma_px": [near, high]},
                *astigmatic,
                *uneven,
            ],
            "weights": [0.3, 0.4, 0.075, 0.075, 0.075, 0.075],
        }
