"""Stream: frames that a transmission microscope takes fast while its stage moves, registered to each other."""

from dataclasses import dataclass

import numpy as np

from refocal.core.values import Example, Pixels
from refocal.imaging import exposure
from refocal.parts.degradations import _psf
from refocal.parts.degradations._draw import Range, check_range, draw, with_pixels

__all__ = ["Stream"]


@dataclass(frozen=True, slots=True)
class Stream:
    """Blur, count and register every frame of a burst (Wieslander et al. 2021), each by its own path and noise.

    The stage makes `length_px` on average while a frame is exposed, with a relative spread of `uneven` from frame to
    frame, along `angle_deg` (90 is y) with a bend, plus a random walk (see `motion`). `electrons` per pixel at white
    are counted; `nyquist` is the transfer of the camera at half a cycle per pixel, `read` its noise in electrons.
    All frames except the target are off by a fraction of a pixel: they are resampled, with errors of `slack_px`.
    Pixels are clipped to 0..1, as windows of eight bits do. The hint `kernels` has one for each frame.
    """

    length_px: Range = (2.0, 10.0)
    uneven: Range = 0.25
    bend_deg: Range = (0.0, 20.0)
    walk_px: Range = (0.3, 2.0)
    angle_deg: Range = (0.0, 180.0)
    electrons: Range = (25.0, 150.0)
    nyquist: Range = (0.1, 0.4)
    read: Range = (0.3, 1.5)
    slack_px: Range = (0.0, 0.15)

    def __post_init__(self) -> None:
        """Refuse impossible parameters."""
        check_range("length_px", self.length_px, 0, 200)
        check_range("uneven", self.uneven, 0, 1)
        check_range("bend_deg", self.bend_deg, 0, 180)
        check_range("walk_px", self.walk_px, 0, 50)
        check_range("angle_deg", self.angle_deg, -360, 360)
        check_range("electrons", self.electrons, 1, 1e9)
        check_range("nyquist", self.nyquist, 0.01, 1)
        check_range("read", self.read, 0, 1e6)
        check_range("slack_px", self.slack_px, 0, 10)

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Record every frame."""
        frames = example.frames
        count = frames.counts.shape[0]
        length, angle, bend = draw(self.length_px, rng), draw(self.angle_deg, rng), draw(self.bend_deg, rng)
        walk, spread = draw(self.walk_px, rng), draw(self.uneven, rng)
        camera = draw(self.electrons, rng, log=True), draw(self.nyquist, rng), draw(self.read, rng)
        slack = draw(self.slack_px, rng)
        lengths = length * np.exp(spread * rng.standard_normal(count) - spread**2 / 2)
        beside = rng.uniform(-0.5, 0.5, (count, 2))
        found = beside + slack * rng.standard_normal((count, 2))
        beside[frames.target] = found[frames.target] = 0
        ways = [exposure.path(float(n), angle, bend, walk, rng) for n in lengths]
        kernels = exposure.kernels([way + at[:, None] for way, at in zip(ways, beside, strict=True)])
        seen = np.empty(frames.counts.shape, np.float32)
        for index, (image, kernel) in enumerate(zip(frames.counts, kernels, strict=True)):
            recorded = _clipped(exposure.counted(_psf.convolve(image, kernel), *camera, rng))
            seen[index] = _clipped(exposure.moved_back(recorded, found[index])) if beside[index].any() else recorded
        return with_pixels(example, seen, kernels=kernels)


def _clipped(pixels: Pixels) -> Pixels:
    clipped: Pixels = np.clip(pixels, 0, 1)
    return clipped
