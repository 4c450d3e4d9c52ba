"""Parts shared by the residual networks: 3x3 convolution, the residual block, and what a net is told of the blur."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a zero-padded 3x3 convolution that keeps the size (divides it by `stride`)."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class ResidualBlock(nn.Module):
    """conv3 - ReLU - conv3, scaled, plus identity; no normalisation (EDSR).

    With `zero_init` the second convolution starts at zero, so a deep trunk starts as the identity and
    takes a ten times larger learning rate. `told` features of `Told` add to the first convolution, at first nothing.
    """

    def __init__(self, channels: int, scale: float = 1.0, zero_init: bool = False, told: int = 0) -> None:
        super().__init__()
        self.conv1 = conv3(channels, channels)
        self.conv2 = conv3(channels, channels)
        self.scale = scale
        if zero_init:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]
        if told:
            self.told = nn.Conv2d(told, channels, 1, bias=False)
            nn.init.zeros_(self.told.weight)

    def forward(self, features: Tensor, told: Tensor | None = None) -> Tensor:
        """Map (batch, channels, y, x) to the same shape; `told` is (batch, told, y, x)."""
        first = self.conv1(features)
        change: Tensor = self.conv2(torch.relu(first if told is None else first + self.told(told)))
        return features + (change if self.scale == 1.0 else change * self.scale)


class Told(nn.Module):
    """Features of what was measured of the degradation, on a grid that is `scale` times as coarse.

    Two maps follow the image's channels: the blur in pixels (standard deviation) and the noise in contrast units.
    """

    maps = ("sigma_px", "noise")
    features = 16

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.embed = nn.Sequential(
            nn.Conv2d(len(self.maps), self.features, 1),
            nn.ReLU(),
            nn.Conv2d(self.features, self.features, 1),
            nn.ReLU(),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Map (batch, 2, y, x) to (batch, features, y / scale, x / scale)."""
        coarse = functional.avg_pool2d(maps, self.scale)
        features: Tensor = self.embed(torch.cat([coarse[:, :1] / 4, torch.log(coarse[:, 1:] * 255 + 1) / 3], dim=1))
        return features


def through(blocks: Iterable[nn.Module], features: Tensor, told: Tensor | None) -> Tensor:
    """Send features through residual blocks that are all told the same."""
    for block in blocks:
        features = block(features, told)
    return features
