"""A U-Net that predicts cells and their borders, for scoring restoration by segmentation (Ronneberger et al. 2015).

Two answers per pixel, as logits: inside a cell, and on a contour between cells. A small net has 1.1 million parameters
(`width=24, levels=3`). Nothing in it depends on the rest of the image beyond its halo, so tiles have no seams.
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3

__all__ = ["Contour"]


class Contour(nn.Module):
    """Foreground and contour, (batch, channels, y, x) in [0, 1] to logits (batch, 2, y, x).

    The defaults have 7,852,002 parameters at one channel. Sizes must be multiples of 2**levels.

    Parameters
    ----------
    channels
        Image channels.
    width
        Feature channels at full resolution; each level has twice as many as the one above.
    levels
        How often the image is halved.
    norm
        Normalise each convolution's output over the batch. Off, a published model has nothing but convolutions.
    """

    outputs = 2
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 4, "levels": 2}

    def __init__(self, channels: int = 1, width: int = 32, levels: int = 4, norm: bool = True) -> None:
        super().__init__()
        if width < 1 or levels < 1:
            raise ValueError(f"width and levels must be at least 1, got {width} and {levels}")
        self.inputs = channels
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(_two(a, b, norm) for a, b in pairwise([channels, *widths]))
        self.up = nn.ModuleList(_two(low + high, high, norm) for high, low in pairwise(widths))
        self.last = nn.Conv2d(width, 2, 1)
        # Two 3x3 convolutions a level on either way, pooling and bilinear doubling in between.
        self.reach = Reach(halo=2 * (2 ** (levels + 1) - 1) + 5 * (2**levels - 1), multiple=2**levels)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of foreground and contour."""
        features = self._levels(image)
        low = features.pop()
        for up in reversed(self.up):
            doubled = functional.interpolate(low, scale_factor=2.0, mode="bilinear", align_corners=False)
            low = up(torch.cat((features.pop(), doubled), 1))
        logits: Tensor = self.last(low)
        return logits

    @property
    def encoder(self) -> nn.Module:
        """The way down: images to the features of the coarsest level, (batch, width * 2**levels, y, x)."""
        layers = [layer for down in self.down for layer in (nn.MaxPool2d(2), down)]
        return nn.Sequential(*layers[1:])

    def _levels(self, image: Tensor) -> list[Tensor]:
        found = [self.down[0](image)]
        for down in list(self.down)[1:]:
            found.append(down(functional.max_pool2d(found[-1], 2)))
        return found


def _two(inputs: int, outputs: int, norm: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layer = conv3(before, outputs)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        layers += [layer, *([nn.BatchNorm2d(outputs)] if norm else []), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
