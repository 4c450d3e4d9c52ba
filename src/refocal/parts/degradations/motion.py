"""Motion: the specimen moves while the whole frame is exposed, as in transmission image streams."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example
from refocal.imaging import exposure
from refocal.parts.degradations import _psf
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Motion"]


@dataclass(frozen=True, slots=True)
class Motion:
    """Blur each frame by the histogram of its path: an arc of `length_px` that bends by `bend_deg`, plus a random walk.

    `walk_px` is the standard deviation of the walk's end along one axis. The path is centred, so that the frame stays
    where the truth is. A scanned frame is distorted instead (`drift`, `vibration`). The hint `kernels` has one for
    each frame; `kernel` and `sigma_px` are the target's.
    """

    length_px: Range = (0.0, 20.0)
    bend_deg: Range = (0.0, 40.0)
    walk_px: Range = (0.0, 1.0)
    angle_deg: Range = (0.0, 360.0)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("length_px", self.length_px, 0, 200)
        check_range("bend_deg", self.bend_deg, 0, 180)
        check_range("walk_px", self.walk_px, 0, 50)
        check_range("angle_deg", self.angle_deg, -360, 360)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Blur every frame, each by its own path."""
        frames = example.frames
        kernels = exposure.kernels([self._path(rng) for _ in range(frames.counts.shape[0])])
        pixels = np.stack([_psf.convolve(image, k) for image, k in zip(frames.counts, kernels, strict=True)])
        told = _psf.blurred(example, kernels[frames.target], _psf.width(kernels[frames.target])).hints
        return with_pixels(example, pixels, **{**told, "kernels": kernels})

    def _path(self, rng: np.random.Generator) -> exposure.Path:
        length, walk = draw(self.length_px, rng), draw(self.walk_px, rng)
        angle_deg = draw(self.angle_deg, rng)
        return exposure.path(length, angle_deg, draw(self.bend_deg, rng), walk, rng)
