"""Unfold: a residual U-Net that predicts from a folded section and a flat reference how to pull the section apart.

Huang et al. 2020. Batch normalisation is in training mode here whenever the net is trained; the paper's code left it in
evaluation mode after its first validation.
"""

from itertools import pairwise
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3

__all__ = ["Unfold"]


class Unfold(nn.Module):
    """Flow of unfolding, (batch, 2, y, x) to (batch, 2, y, x).

    The inputs are the folded section and the reference, in [0, 1]. The answer is in pixels, (y, x), at the pixels of
    the flat section: where to sample the folded one (see `refocal.imaging.fold_geometry`). The
    defaults have 19,646,690 parameters.
    Compact: `channels=1, width=8` (1,232,474). Sizes must be multiples of 2**levels.

    Parameters
    ----------
    channels
        Copies of each grey image that are fed in.
    width
        Feature channels at full resolution, doubled with each level.
    levels
        How often the images are halved.
    """

    inputs = 2
    outputs = 2
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 4, "levels": 2}

    def __init__(self, channels: int = 3, width: int = 32, levels: int = 4) -> None:
        super().__init__()
        if width < 1 or levels < 1:
            raise ValueError(f"width and levels must be at least 1, got {width} and {levels}")
        self.channels = channels
        widths = [width * 2**level for level in range(levels + 1)]
        self.down = nn.ModuleList(_Block(a, b, 0.2) for a, b in pairwise([2 * channels, *widths]))
        self.up = nn.ModuleList(
            nn.Sequential(nn.ConvTranspose2d(b, a, 3, 2, 1, 1), nn.BatchNorm2d(a), nn.ReLU())
            for a, b in pairwise(widths)
        )
        self.merge = nn.ModuleList(_Block(w, w, 0.0) for w in widths[:-1])
        self.last = conv3(width, 2)
        full = 2**levels
        # Five convolutions a level on the way down, at the bottom and on the way up; poolings, transposed convolutions.
        self.reach = Reach(halo=5 * (2 * full - 1) + (full - 1) + 2 * (full - 1) + 5 * (full - 1) + 1, multiple=full)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.kaiming_normal_(module.weight, a=0.2)
        nn.init.normal_(self.last.weight, std=0.02)

    def forward(self, pair: Tensor) -> Tensor:
        """Return the flow in pixels."""
        features, levels = pair.repeat_interleave(self.channels, 1), []
        for number, block in enumerate(self.down):
            features = block(features if number == 0 else functional.max_pool2d(features, 2))
            levels.append(features)
        for up, merge, beside in zip(reversed(self.up), reversed(self.merge), levels[-2::-1], strict=True):
            features = merge((up(features) + beside) / 2)
        flow: Tensor = self.last(features)
        return flow


class _Block(nn.Module):
    """conv - norm - act, then three convolutions added to that, then conv - norm - act."""

    def __init__(self, inputs: int, outputs: int, slope: float) -> None:
        super().__init__()
        self.first = _normed(inputs, outputs, slope)
        self.residual = nn.Sequential(
            _normed(outputs, outputs, slope), _normed(outputs, outputs, slope), _normed(outputs, outputs, None)
        )
        self.last = _normed(outputs, outputs, slope)

    def forward(self, features: Tensor) -> Tensor:
        features = self.first(features)
        changed: Tensor = self.last(features + self.residual(features))
        return changed


def _normed(inputs: int, outputs: int, slope: float | None) -> nn.Sequential:
    layers: list[nn.Module] = [conv3(inputs, outputs), nn.BatchNorm2d(outputs)]
    if slope is not None:
        layers.append(nn.LeakyReLU(slope))
    return nn.Sequential(*layers)
