"""SepConv: the section between two sections, by a pair of one-dimensional kernels for each pixel (Niklaus et al. 2017).

In Huang et al. 2020 it makes the reference that a folded section is unfolded against. Bilinear doubling is without
aligned corners here: aligned ones depend on the size of the image, and tiles would show seams.
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3
from refocal.parts.nets._separable import separable

__all__ = ["SepConv"]


class SepConv(nn.Module):
    """Interpolation, (batch, 2, y, x) neighbours in [0, 1] to the section between them (batch, 1, y, x).

    The defaults have 21,602,256 parameters. Compact: `channels=1, width=8, levels=4, taps=25` (379,216). Sizes must be
    multiples of 2**levels.

    Parameters
    ----------
    channels
        Copies of each grey neighbour that are fed in; the paper's net was made for colour.
    width
        Feature channels at full resolution, doubled with each level.
    levels
        How often the images are halved.
    taps
        Length of the kernels, px: odd, twice the largest shift plus one.
    """

    inputs = 2
    outputs = 1
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 8, "levels": 2, "taps": 5}

    def __init__(self, channels: int = 3, width: int = 32, levels: int = 5, taps: int = 51) -> None:
        super().__init__()
        if width < 1 or levels < 2 or taps < 1 or taps % 2 == 0:
            raise ValueError(f"needs width >= 1, levels >= 2 and odd taps, got {width}, {levels} and {taps}")
        self.channels, self.taps = channels, taps
        widths = [width * 2**level for level in range(levels)]
        self.down = nn.ModuleList(_three(a, b) for a, b in pairwise([2 * channels, *widths]))
        self.bottom = _three(widths[-1], widths[-1])
        self.up = nn.ModuleList(conv3(w, w) for w in widths[1:])
        self.between = nn.ModuleList(_three(a, b) for b, a in pairwise(widths[1:]))
        self.heads = nn.ModuleList(_Head(widths[1], taps) for _ in range(4))
        bilinear = sum(3 * 2**k for k in range(1, levels))
        inner = sum(3 * 2**k for k in range(2, levels))
        self.reach = Reach(
            halo=4 * (2**levels - 1) + 3 * 2**levels + bilinear + inner + 9 + taps // 2, multiple=2**levels
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        for head in self.heads:
            head.start()  # type: ignore[operator]

    def forward(self, neighbours: Tensor) -> Tensor:
        """Interpolate between two sections."""
        features = self._features(neighbours.repeat_interleave(self.channels, 1))
        kernels = [head(features) for head in self.heads]
        first = separable(neighbours[:, :1], kernels[0], kernels[1])
        return first + separable(neighbours[:, 1:2], kernels[2], kernels[3])

    def _features(self, image: Tensor) -> Tensor:
        levels = []
        for number, stage in enumerate(self.down):
            image = stage(image if number == 0 else functional.avg_pool2d(image, 2))
            levels.append(image)
        image = self.bottom(functional.avg_pool2d(image, 2))
        for number in reversed(range(len(self.up))):
            image = torch.relu(self.up[number](_double(image))) + levels[number + 1]
            if number:
                image = self.between[number - 1](image)
        return image


class _Head(nn.Sequential):
    """One direction of one neighbour: (batch, width, y / 2, x / 2) to (batch, taps, y, x)."""

    def __init__(self, width: int, taps: int) -> None:
        super().__init__(
            conv3(width, width), nn.ReLU(), conv3(width, width), nn.ReLU(), conv3(width, taps), nn.ReLU(),
            nn.Upsample(scale_factor=2.0, mode="bilinear"), conv3(taps, taps),
        )  # fmt: skip

    def start(self) -> None:
        """Begin near the mean of the neighbours: kernels whose middle tap is the square root of a half."""
        last = self[-1]
        assert isinstance(last, nn.Conv2d) and last.bias is not None  # noqa: PT018
        with torch.no_grad():
            last.weight.mul_(0.05)
            last.bias.zero_()
            last.bias[len(last.bias) // 2] = 0.5**0.5


def _three(inputs: int, outputs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, inputs, outputs):
        layers += [conv3(inputs, width), nn.ReLU()]
    return nn.Sequential(*layers)


def _double(image: Tensor) -> Tensor:
    return functional.interpolate(image, scale_factor=2.0, mode="bilinear", align_corners=False)
