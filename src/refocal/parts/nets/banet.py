"""BANet: blur-aware modules of strip pooling and dilated convolutions at half resolution (Tsai et al. 2022).

A module gates its features twice by blur attention, which pools the field to lines and to 3, 5 and 7 strips in both
directions, and adds two rounds of parallel convolutions with dilations 1, 3 and 5.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.nets._blocks import conv3
from refocal.parts.nets._windows import windowed

__all__ = ["BANet"]

_STRIPS = (3, 5, 7)
_SLOPE = 0.2


class BANet(nn.Module):
    """Blur-aware attention network, (batch, channels, y, x) in [0, 1] to the same shape.

    17,988,547 parameters at three channels, 17,986,241 at one. Sizes must be multiples of 2; strip pooling makes the
    result depend on the whole window.

    Parameters
    ----------
    channels
        Image channels.
    width
        Feature channels at full resolution; twice as many at half.
    blocks
        Blur-aware modules.
    window
        Edge of the windows that it is run on, px; the paper's crops have 256.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 6, "blocks": 2, "window": 32}

    def __init__(self, channels: int = 1, width: int = 64, blocks: int = 10, window: int = 256) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        self.head = conv3(channels, width)
        self.down = conv3(width, 2 * width, stride=2)
        self.trunk = nn.Sequential(*(_Module(2 * width) for _ in range(blocks)))
        self.up = nn.ConvTranspose2d(2 * width, width, 4, 2, 1)
        self.merge = conv3(2 * width, width)
        self.tail = conv3(width, channels)
        self.reach = windowed(window, 2)

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, channels, y, x) in [0, 1]."""
        fine = _leaky(self.head(image - 0.5))
        coarse = self.trunk(_leaky(self.down(fine)))
        merged = _leaky(self.merge(torch.cat((_leaky(self.up(coarse)), fine), 1)))
        restored: Tensor = self.tail(merged)
        return restored + image


class _Module(nn.Module):
    """Blur-aware attention and cascaded parallel dilated convolutions, plus identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.enter = conv3(width, width)
        self.first, self.between, self.second = _Dilated(width), conv3(3 * half, width), _Dilated(width)
        self.attention = _BlurAttention(width)
        self.leave = conv3(5 * half, width)

    def forward(self, features: Tensor) -> Tensor:
        entered = _leaky(self.enter(features))
        cascade = self.second(_leaky(self.between(self.first(entered))))
        merged = self.leave(torch.cat((cascade, self.attention(entered)), 1))
        return _leaky(merged + features)


class _Dilated(nn.Module):
    """Three parallel convolutions with dilations 1, 3, 5, side by side."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(width, width // 2, 3, padding=d, dilation=d) for d in (1, 3, 5))

    def forward(self, features: Tensor) -> Tensor:
        return torch.cat([conv(features) for conv in self.convs], 1)


class _BlurAttention(nn.Module):
    """Gate features by what strips over the whole field hold, then by a local gate."""

    def __init__(self, width: int) -> None:
        super().__init__()
        half = width // 2
        self.rows = nn.Conv2d(width, half, (3, 1), padding=(1, 0), bias=False)
        self.columns = nn.Conv2d(width, half, (1, 3), padding=(0, 1), bias=False)
        self.strips = nn.ModuleList(nn.Conv2d(width, half, 3, padding=1, bias=False) for _ in _STRIPS)
        self.fuse = nn.Conv2d(4 * half, half, 1, bias=False)
        self.gate = nn.Conv2d(half, width, 1)
        self.local = nn.Sequential(conv3(width, width), nn.ReLU(), conv3(width, width), nn.Sigmoid())

    def forward(self, features: Tensor) -> Tensor:
        height, width = features.shape[2:]
        # Lines broadcast against each other: (y, 1) + (1, x).
        parts = [self.rows(features.mean(3, keepdim=True)) + self.columns(features.mean(2, keepdim=True))]
        for count, conv in zip(_STRIPS, self.strips, strict=True):
            tall = conv(functional.adaptive_avg_pool2d(features, (height, count)))
            wide = conv(functional.adaptive_avg_pool2d(features, (count, width)))
            parts.append(functional.interpolate(tall, (height, width)) + functional.interpolate(wide, (height, width)))
        gated = features * torch.sigmoid(self.gate(torch.relu(self.fuse(torch.cat(parts, 1)))))
        local: Tensor = self.local(gated)
        return gated * local


def _leaky(features: Tensor) -> Tensor:
    return functional.leaky_relu(features, _SLOPE)
