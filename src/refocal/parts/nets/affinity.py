"""A 3-D U-Net that says which neighbouring voxels belong to one cell (Funke et al. 2019).

Sections are much further apart than pixels, so pooling is in y and x only. Channel c of the answer, in the order z, y,
x, links a voxel with the one before it along that axis.
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach

__all__ = ["Affinity"]


class Affinity(nn.Module):
    """Affinities, (batch, section, y, x) in [0, 1] to logits (batch, 3, section, y, x).

    The defaults are small (1,326,227 parameters) and keep the size, any number of sections included; y and x must be
    multiples of pool**levels. `width=12, growth=5, levels=3, pool=3, pad=False` is the published net: 84,020,475
    parameters, 53x268x268 to 25x56x56 (sizes of 214 + 27 k), without padding.

    Parameters
    ----------
    channels
        Must be 1: sections are not channels.
    width, growth
        Feature channels at full resolution, and how many times more each level has.
    levels, pool
        How often y and x are divided by `pool`.
    pad
        Pad every convolution with zeros; off, the answer is smaller than the input, which only training can use.
    """

    inputs = 1
    outputs = 3
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 4, "levels": 2}

    def __init__(
        self, channels: int = 1, width: int = 16, growth: int = 2, levels: int = 3, pool: int = 2, pad: bool = True
    ) -> None:
        super().__init__()
        if channels != 1:
            raise ValueError(f"affinities are of grey volumes, channels must be 1, got {channels}")
        if min(width, growth, levels) < 1 or pool < 2:
            raise ValueError("width, growth and levels must be at least 1, pool at least 2")
        widths = [width * growth**level for level in range(levels + 1)]
        self.pool = (1, pool, pool)
        self.down = nn.ModuleList(_two(a, b, pad) for a, b in pairwise([1, *widths]))
        self.up = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(low, low, self.pool, self.pool, groups=low, bias=False), nn.Conv3d(low, high, 1)
            )
            for high, low in pairwise(widths)
        )
        self.merge = nn.ModuleList(_two(2 * high, high, pad) for high, _ in pairwise(widths))
        self.last = nn.Conv3d(width, 3, 1)
        steps = [pool**level for level in range(levels + 1)]
        halo = 2 * sum(steps) + 2 * sum(steps[:-1]) + (steps[-1] - 1)
        self.reach = Reach(halo=halo, multiple=steps[-1])

    def forward(self, sections: Tensor) -> Tensor:
        """Return the logits of the affinities along z, y and x."""
        features = [self.down[0](sections[:, None])]
        for down in list(self.down)[1:]:
            features.append(down(functional.max_pool3d(features[-1], self.pool)))
        low = features.pop()
        for up, merge in zip(reversed(self.up), reversed(self.merge), strict=True):
            wide = up(low)
            low = merge(torch.cat((_middle(features.pop(), wide), wide), 1))
        logits: Tensor = self.last(low)
        return logits


def _middle(wide: Tensor, like: Tensor) -> Tensor:
    """Cut the middle of (batch, channel, z, y, x) features to the size of others."""
    for axis in (2, 3, 4):
        start = (wide.shape[axis] - like.shape[axis]) // 2
        wide = wide.narrow(axis, start, like.shape[axis])
    return wide


def _two(inputs: int, outputs: int, pad: bool) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before in (inputs, outputs):
        layer = nn.Conv3d(before, outputs, 3, padding=1 if pad else 0)
        nn.init.kaiming_normal_(layer.weight, 0.005, nonlinearity="leaky_relu")
        layers += [layer, nn.LeakyReLU(0.005, inplace=True)]
    return nn.Sequential(*layers)
