"""The U-Net under a burst net, with global max pooling on every level (Aittala & Durand 2018).

Every convolution but the last and the transposed ones is convolution - ELU - batch norm; all may have weight norm.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm as with_weight_norm

from refocal.parts.nets._burst_features import Tracks, convolved, each, maximum

LEVELS = 4
Norm = Callable[[Any], Any]


class BurstUNet(nn.Module):
    """Tracks to features at full resolution, one set a burst.

    Parameters
    ----------
    inputs
        Channels of the input, own and shared together.
    width
        Channels at full resolution; 2, 4, 6, 6 times as many below, and 6, 4, 3, 1.5 times on the way up.
    transposed
        Whether transposed convolutions double the size, or nearest neighbours and a convolution.
    early
        Whether the frames become one after the encoder, or after the decoder.
    weight_norm
        Whether convolutions have weight norm.
    """

    def __init__(self, inputs: int, width: int, transposed: bool, early: bool, weight_norm: bool) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"width of a unet must be even and at least 2, got {width}")
        self.early, self.outputs = early, width
        norm: Norm = with_weight_norm if weight_norm else lambda layer: layer
        down = [width * times for times in (1, 2, 4, 6, 6)]
        rise = [width * times // 2 for times in (12, 8, 6, 3)]
        self.first = _Act(inputs, width, norm)
        self.down = nn.ModuleList(_Down(a, b, norm) for a, b in pairwise(down))
        self.bottom = _Act(down[-1], down[-1], norm)
        self.lift = _up(down[-1], rise[0], transposed, norm)
        self.up = nn.ModuleList(
            _Up(a, skip, b, transposed, norm) for (a, b), skip in zip(pairwise(rise), down[3:0:-1], strict=True)
        )
        self.last = _Act(2 * rise[-1] + width, rise[-1], norm)
        self.tail = _Act(rise[-1], width, norm)
        double = ("up4",) if transposed else ("double", "conv3")
        self.steps = ("conv3", *LEVELS * ("conv4",), "conv3", *double, *3 * ("conv3", *double), "conv3", "conv3")

    def forward(self, tracks: Tracks) -> Tensor:
        """Return (batch, width, y, x)."""
        own, levels = each(self.first, tracks), []
        count = tracks.frames
        for down in self.down:
            levels.append(own)
            here = Tracks(own, None, count)
            own = each(down, here._replace(shared=maximum(here)))
        own = self.bottom(Tracks(own, None, count))
        if self.early:
            own, *levels = (maximum(Tracks(features, None, count)) for features in (own, *levels))
            count = 1
        own = self.lift(own)
        for up in (*self.up, self.last):
            shared = maximum(Tracks(own, None, count))
            own = each(up, Tracks(torch.cat((own, levels.pop()), 1), shared, count))
        features: Tensor = self.tail(Tracks(maximum(Tracks(own, None, count)), None, 1))
        return features


class _Act(nn.Module):
    """Convolution - ELU - batch norm."""

    def __init__(self, inputs: int, outputs: int, norm: Norm, size: int = 3, stride: int = 1) -> None:
        super().__init__()
        self.conv = norm(nn.Conv2d(inputs, outputs, size, stride, (size - 1) // 2))
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, tracks: Tracks) -> Tensor:
        normed: Tensor = self.norm(functional.elu(convolved(self.conv, tracks)))
        return normed


class _Down(nn.Module):
    """Own features and the maximum of all to half the size."""

    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.narrow = _Act(2 * inputs, outputs, norm, 1)
        self.halve = _Act(outputs, outputs, norm, 4, 2)

    def forward(self, tracks: Tracks) -> Tensor:
        halved: Tensor = self.halve(Tracks(self.narrow(tracks), None, 1))
        return halved


class _Up(nn.Module):
    """Own features, those of the encoder and the maximum of all to twice the size."""

    def __init__(self, inputs: int, skip: int, outputs: int, transposed: bool, norm: Norm) -> None:
        super().__init__()
        self.narrow = _Act(2 * inputs + skip, inputs, norm, 1)
        self.conv = _Act(inputs, inputs, norm)
        self.twice = _up(inputs, outputs, transposed, norm)

    def forward(self, tracks: Tracks) -> Tensor:
        doubled: Tensor = self.twice(self.conv(Tracks(self.narrow(tracks), None, 1)))
        return doubled


def _up(inputs: int, outputs: int, transposed: bool, norm: Norm) -> nn.Module:
    if transposed:
        made: nn.Module = norm(nn.ConvTranspose2d(inputs, outputs, 4, 2, 1))
        return made
    return nn.Sequential(nn.Upsample(scale_factor=2), norm(nn.Conv2d(inputs, outputs, 3, padding=1)))
