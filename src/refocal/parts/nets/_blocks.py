"""Parts shared by the residual networks: 3x3 convolution and the residual block without normalisation."""

import torch
from torch import Tensor, nn


def conv3(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    """Return a zero-padded 3x3 convolution that keeps the size (divides it by `stride`)."""
    return nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1)


class ResidualBlock(nn.Module):
    """conv3 - ReLU - conv3, scaled, plus identity; no normalisation (EDSR).

    With `zero_init` the second convolution starts at zero, so a deep trunk starts as the identity and
    takes a ten times larger learning rate.
    """

    def __init__(self, channels: int, scale: float = 1.0, zero_init: bool = False) -> None:
        super().__init__()
        self.conv1 = conv3(channels, channels)
        self.conv2 = conv3(channels, channels)
        self.scale = scale
        if zero_init:
            nn.init.zeros_(self.conv2.weight)
            nn.init.zeros_(self.conv2.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, channels, y, x) to the same shape."""
        change: Tensor = self.conv2(torch.relu(self.conv1(features)))
        return features + (change if self.scale == 1.0 else change * self.scale)
