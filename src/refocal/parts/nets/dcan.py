"""DCAN: a VGG-like trunk whose three coarsest levels vote on cells and contours (Chen et al. 2016)."""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3

__all__ = ["DCAN"]


class DCAN(nn.Module):
    """Deep contour-aware network, (batch, channels, y, x) in [0, 1] to logits (batch, 2, y, x): foreground, contour.

    41,462,476 parameters at one channel and `width=64`, 10,369,388 at 32. The levels at 1/8, 1/16 and 1/32 are
    classified by 1x1 convolutions into two classes for each task, enlarged and added. Sizes must be multiples of 32.
    """

    outputs = 2
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 2}

    def __init__(self, channels: int = 1, width: int = 64, dropout: float = 0.5) -> None:
        super().__init__()
        self.inputs = channels
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        self.trunk = nn.ModuleList(
            _stage(a, b, convolutions)
            for (a, b), convolutions in zip(pairwise([channels, *widths]), (2, 2, 3, 3, 3), strict=True)
        )
        top = 16 * width
        self.top = nn.Sequential(
            nn.Conv2d(8 * width, top, 7, padding=3), nn.ReLU(inplace=True), nn.Dropout(dropout),
            nn.Conv2d(top, top, 1), nn.ReLU(inplace=True), nn.Dropout(dropout),
        )  # fmt: skip
        self.votes = nn.ModuleList(nn.Conv2d(inputs, 4, 1) for inputs in (8 * width, 8 * width, top))
        # Convolutions 2 + 4 + 12 + 24 + 48, the 7x7 at 1/32, five poolings, bilinear enlargement of the coarsest vote.
        self.reach = Reach(halo=90 + 96 + 31 + 48, multiple=32)

    def forward(self, image: Tensor) -> Tensor:
        """Return the logits of foreground and contour."""
        features, coarse = image, []
        for number, stage in enumerate(self.trunk):
            features = stage(features if number == 0 else functional.max_pool2d(features, 2))
            coarse.append(features)
        coarse = [*coarse[3:], self.top(functional.max_pool2d(features, 2))]
        votes = [vote(level) for vote, level in zip(self.votes, coarse, strict=True)]
        wide = [
            functional.interpolate(v, scale_factor=float(f), mode="bilinear", align_corners=False)
            for v, f in zip(votes, (8, 16, 32), strict=True)
        ]
        classes = torch.stack(wide).sum(0)
        # The softmax of two classes is the logistic function of their difference.
        return classes[:, 1::2] - classes[:, 0::2]


def _stage(inputs: int, outputs: int, convolutions: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for number in range(convolutions):
        layer = conv3(inputs if number == 0 else outputs, outputs)
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        layers += [layer, nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)
