"""Background: brightness that changes slowly over the tile, vignetting, and the gain of the beam."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Background"]


@dataclass(frozen=True, slots=True)
class Background:
    """Multiply every frame by one smooth map: beam gain, slow waves of +-`unevenness`, corners darker by `vignetting`.

    The hint `gain_map` is the (y, x) map. The truth keeps its brightness, so a network is taught to even it out;
    keep `gain` at 1 in training.
    """

    unevenness: Range = (0.0, 0.1)
    vignetting: Range = (0.0, 0.1)
    gain: Range = 1.0

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("unevenness", self.unevenness, 0, 0.9)
        check_range("vignetting", self.vignetting, 0, 0.9)
        check_range("gain", self.gain, 0.01, 100)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Multiply every frame."""
        unevenness, vignetting, gain = (draw(v, rng) for v in (self.unevenness, self.vignetting, self.gain))
        height, width = example.frames.counts.shape[1:]
        v = np.linspace(-0.5, 0.5, height)[:, None] if height > 1 else np.zeros((1, 1))
        u = np.linspace(-0.5, 0.5, width)[None, :] if width > 1 else np.zeros((1, 1))
        waves = np.zeros((height, width))
        shares = rng.dirichlet(np.ones(3))
        for share in shares:
            across, down = rng.uniform(-0.7, 0.7, 2)
            waves += share * np.sin(2 * np.pi * (across * u + down * v + rng.random()))
        corner = 2 * (u**2 + v**2)
        gain_map = (gain * (1 + unevenness * waves) * (1 - vignetting * corner)).astype(np.float32)
        return with_pixels(example, example.frames.counts * gain_map, gain_map=gain_map)
