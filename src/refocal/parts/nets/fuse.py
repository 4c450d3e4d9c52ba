"""Fuse: a small U-Net that makes one image of an unfolded section and an interpolated one (Huang et al. 2020).

Its last convolution is linear; the paper ends with batch normalisation and ReLU, which cuts off everything below black.
"""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3

__all__ = ["Fuse"]


class Fuse(nn.Module):
    """Fusion, (batch, 2, y, x) in [0, 1] to (batch, 1, y, x).

    The inputs are the unfolded section, dark where the fold hid it, and the interpolated one. The defaults have
    1,692,961 parameters. Compact: `channels=1, width=16, image_residual=True` (424,273). Sizes: multiples of 8.

    Parameters
    ----------
    channels
        Copies of each grey image that are fed in.
    width
        Feature channels at full resolution, doubled with each level.
    image_residual
        Learn what is to be added to the unfolded section.
    """

    inputs = 2
    outputs = 1
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 8}

    def __init__(self, channels: int = 3, width: int = 32, image_residual: bool = False) -> None:
        super().__init__()
        self.channels, self.image_residual = channels, image_residual
        w = width
        self.down = nn.ModuleList((_two(2 * channels, w), _two(w, 2 * w), _two(2 * w, 4 * w)))
        self.bottom = nn.Sequential(_normed(4 * w, 8 * w), _normed(8 * w, 4 * w), _doubled(4 * w, 4 * w))
        self.up = nn.ModuleList(
            (
                nn.Sequential(_two(8 * w, 4 * w), _doubled(4 * w, 2 * w)),
                nn.Sequential(_two(4 * w, 2 * w), _doubled(2 * w, w)),
            )
        )
        self.last = nn.Sequential(_normed(2 * w, w), conv3(w, 1))
        # Convolutions 14 + 16 + 8 + 4 + 2, poolings 7, transposed convolutions 14.
        self.reach = Reach(halo=65, multiple=8)

    def forward(self, pair: Tensor) -> Tensor:
        """Return the fused section."""
        features, levels = pair.repeat_interleave(self.channels, 1), []
        for stage in self.down:
            features = stage(features)
            levels.append(features)
            features = functional.max_pool2d(features, 2)
        features = self.bottom(features)
        for up in self.up:
            features = up(torch.cat((features, levels.pop()), 1))
        fused: Tensor = self.last(torch.cat((features, levels.pop()), 1))
        return fused + pair[:, :1] if self.image_residual else fused


def _normed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv3(inputs, outputs), nn.BatchNorm2d(outputs), nn.ReLU())


def _two(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_normed(inputs, outputs), _normed(outputs, outputs))


def _doubled(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1), nn.BatchNorm2d(outputs), nn.ReLU())
