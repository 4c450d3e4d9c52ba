"""Unsharp masking: what every image program offers, and what learned sharpening must beat."""

from collections.abc import Sequence

from scipy.ndimage import gaussian_filter

from refocal.core.values import Frames, Reach, Restored
from refocal.parts.restorers import _classical

__all__ = ["Unsharp"]


class Unsharp:
    """Add `amount` times the difference between the image and its Gaussian blur of `sigma_px`."""

    def __init__(self, sigma_px: float = 1.5, amount: float = 1.0) -> None:
        if not 0 < sigma_px < 100:
            raise ValueError(f"sigma_px must lie between 0 and 100, got {sigma_px}")
        self.sigma_px, self.amount = sigma_px, amount
        self.reach = Reach(halo=int(4 * sigma_px + 0.5))

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Sharpen the target image of each of the frames."""
        return _classical.each(
            batch, lambda x: x + self.amount * (x - gaussian_filter(x, self.sigma_px, mode="mirror"))
        )
