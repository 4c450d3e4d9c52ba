"""Charging: structures that charge up leave a trail along the scan and bend the beam."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage, signal

from refocal.core.values import Example, Pixels
from refocal.parts.degradations import _warp
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Charging"]


@dataclass(frozen=True, slots=True)
class Charging:
    """Add c (structure * h), h the one-sided decay along x of `decay_px`, structure = image - its surroundings.

    `amplitude` is the trail, in grey levels of 255, behind a wide object that is half of the full contrast above its
    surroundings; bright or dark is drawn where `sign` is 0. `deflection_px` is how far the beam is bent where the
    trail's slope is steepest. The hint `halo` is what was added, (frame, y, x) in contrast units.
    """

    amplitude: Range = (0.0, 20.0)
    decay_px: Range = (10.0, 300.0)
    deflection_px: Range = 0.0
    sign: int = 0

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("amplitude", self.amplitude, 0, 255)
        check_range("decay_px", self.decay_px, 1, 1e5)
        check_range("deflection_px", self.deflection_px, 0, 50)
        if self.sign not in (-1, 0, 1):
            raise ValueError(f"sign must be -1 (dark trails), 0 (drawn) or 1 (bright), got {self.sign}")

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Charge every frame in the same way."""
        amplitude, decay = draw(self.amplitude, rng), draw(self.decay_px, rng, log=True)
        deflection = draw(self.deflection_px, rng)
        sign = self.sign or int(rng.choice([-1, 1]))
        charge = np.stack([_trail(image, decay) for image in example.frames.counts])
        if deflection:
            example = _warp.displaced(example, np.stack([_bend(c, deflection) for c in charge]))
        halo = charge * np.float32(sign * 2 * amplitude / 255)
        return with_pixels(example, example.frames.counts + halo, halo=halo)


def _trail(image: Pixels, decay: float) -> Pixels:
    """Return the structure of one (y, x) image, averaged over what the beam passed just before."""
    edge = int(min(5 * decay, 2 * max(image.shape)))
    surroundings = ndimage.uniform_filter(ndimage.uniform_filter(image, edge, mode="mirror"), edge, mode="mirror")
    memory = float(np.exp(-1 / decay))
    trail = signal.lfilter([1 - memory], [1, -memory], image - surroundings, axis=1)
    # Charge spreads a little between rows; without this every row would draw a line of its own.
    spread: Pixels = ndimage.gaussian_filter1d(trail, 1.5, axis=0, mode="mirror").astype(np.float32)
    return spread


def _bend(charge: Pixels, deflection: float) -> Pixels:
    """Return (2, y, x) displacements along the slope of the charge, at most `deflection` long."""
    smooth = ndimage.gaussian_filter(charge, 4.0, mode="mirror")
    slope = np.stack([ndimage.correlate1d(smooth, [-0.5, 0, 0.5], axis, mode="mirror") for axis in (0, 1)])
    steepest = float(np.hypot(*slope).max())
    bent: Pixels = slope * np.float32(deflection / steepest if steepest > 0 else 0)
    return bent
