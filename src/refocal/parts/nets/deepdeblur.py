"""DeepDeblur: three scales from coarse to fine, each a residual network of its own (Nah et al. 2017).

The blurred image is taken at 1/4, 1/2 and full size. Each scale sees its level and the doubled result of the coarser
one, and restores its level; training compares all three with the truth (objective `multi_scale`).
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach

__all__ = ["DeepDeblur"]


class DeepDeblur(nn.Module):
    """Multi-scale network without norms, (batch, channels, y, x) in [0, 1] to the same shape.

    The defaults have 11,694,099 parameters at one channel and 11,721,321 at three. Sizes must be multiples of 4.

    Parameters
    ----------
    channels
        Image channels.
    width
        Feature channels.
    blocks
        Residual blocks of each scale.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 4, "blocks": 2}

    def __init__(self, channels: int = 1, width: int = 64, blocks: int = 19) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        self.scales = nn.ModuleList(_scale(channels * (1 if i == 0 else 2), width, blocks, channels) for i in range(3))
        self.ups = nn.ModuleList(
            nn.Sequential(_conv5(channels, 4 * channels), nn.PixelShuffle(2)) for _ in range(len(self.scales) - 1)
        )
        radius = 4 + 4 * blocks  # of one scale; its result is read with 2 px more by the finer one
        # The pyramid adds 1 pixel at its first halving and 2 at its second, and the coarse grid up to 3.
        self.reach = Reach(halo=radius + 2 * (radius + 2) + 4 * (radius + 2) + 6, multiple=4)

    def levels(self, image: Tensor) -> list[Tensor]:
        """Return (batch, channels, y, x) at 1/4, 1/2 and full size."""
        half = _halve(image)
        return [_halve(half), half, image]

    def forward(self, image: Tensor, scales: bool = False) -> Tensor | list[Tensor]:
        """Restore (batch, channels, y, x) in [0, 1]; with `scales`, return the results of all `levels`."""
        results: list[Tensor] = []
        for i, level in enumerate(self.levels(image - 0.5)):
            seen = torch.cat((level, self.ups[i - 1](results[-1])), 1) if results else level
            results.append(self.scales[i](seen))
        return [r + 0.5 for r in results] if scales else results[-1] + 0.5


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv5(width, width), _conv5(width, width)

    def forward(self, features: Tensor) -> Tensor:
        change: Tensor = self.conv2(torch.relu(self.conv1(features)))
        return features + change


def _conv5(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, padding=2)


def _scale(inputs: int, width: int, blocks: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_conv5(inputs, width), *(_Residual(width) for _ in range(blocks)), _conv5(width, outputs))


def _halve(image: Tensor) -> Tensor:
    """Blur by the binomial 1 3 3 1, centred between two pixels, and take every other pixel: half the size."""
    line = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=image.dtype, device=image.device) / 8
    channels = image.shape[1]
    kernel = (line[:, None] * line).expand(channels, 1, 4, 4)
    return functional.conv2d(functional.pad(image, (1, 1, 1, 1), mode="reflect"), kernel, stride=2, groups=channels)
