"""The loss of burst nets: absolute difference of grey values and of their slopes (Aittala & Durand 2018)."""

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.objectives._batch import Batch

__all__ = ["Gradient"]


class Gradient(nn.Module):
    """`pixel` * mean |d| + `slope` * mean of |slope of d| along x and y, for the difference d to the truth.

    Parameters
    ----------
    pixel, slope
        Weights of the terms.
    kernel
        `forward`: the difference to the next pixel. `prewitt`: the sums of three pixels on both sides.
    normalise
        Divide slopes by the sum of positive taps times their distance, so that they are grey values per pixel; only
        `prewitt` changes, by 1/6. Wieslander et al. 2021 do not.
    """

    def __init__(
        self,
        pixel: float = 0.1,
        slope: float = 1.0,
        kernel: Literal["forward", "prewitt"] = "forward",
        normalise: bool = False,
    ) -> None:
        super().__init__()
        if kernel not in ("forward", "prewitt"):
            raise ValueError(f"kernel must be forward or prewitt, got {kernel!r}")
        self.pixel, self.slope, self.kernel = pixel, slope, kernel
        self.scale = 1 / 6 if normalise and kernel == "prewitt" else 1.0

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"pixel": ..., "slope": ...}."""
        error = net(batch.frames).float() - batch.truth
        down, along = _slopes(error, self.kernel)
        slopes = (down.abs().mean() + along.abs().mean()) / 2
        return {"pixel": self.pixel * error.abs().mean(), "slope": self.slope * self.scale * slopes}


def _slopes(image: Tensor, kernel: str) -> tuple[Tensor, Tensor]:
    """Return the slopes of (batch, channel, y, x) along y and x where all taps lie inside."""
    if kernel == "forward":
        return image.diff(dim=2), image.diff(dim=3)
    flat = image.flatten(0, 1)[:, None]
    taps = torch.tensor([-1.0, 0.0, 1.0], device=image.device).view(1, 1, 3, 1).expand(1, 1, 3, 3)
    return functional.conv2d(flat, taps), functional.conv2d(flat, taps.transpose(2, 3))
