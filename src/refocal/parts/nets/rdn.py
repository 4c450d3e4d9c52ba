"""RDN at scale 1: residual dense blocks with global feature fusion (Zhang et al. 2018, 2021)."""

from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from refocal.core.values import Reach
from refocal.parts.nets._blocks import conv3

__all__ = ["RDN"]


class DenseBlock(nn.Module):
    """`layers` convolutions that each see all earlier outputs, fused by a 1x1 convolution, plus identity."""

    def __init__(self, width: int, growth: int, layers: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(conv3(width + i * growth, growth) for i in range(layers))
        self.fuse = nn.Conv2d(width + layers * growth, width, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map (batch, width, y, x) to the same shape."""
        seen = features
        for layer in self.layers:
            seen = torch.cat((seen, torch.relu(layer(seen))), 1)
        fused: Tensor = self.fuse(seen)
        return features + fused


class RDN(nn.Module):
    """Residual dense network, (batch, channels, y, x) in [0, 1] to the same shape.

    The defaults have 21,975,683 parameters at three channels. The fusion of all block outputs by one 1x1 convolution
    is added up block by block, so that the concatenation (1,024 channels at full resolution) never exists.
    `image_residual` adds the input to the output, as the journal version does for tasks of equal size.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 8, "growth": 4, "blocks": 2, "layers": 2}

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        growth: int = 64,
        blocks: int = 16,
        layers: int = 8,
        image_residual: bool = True,
    ) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        self.image_residual = image_residual
        self.shallow = conv3(channels, width)
        self.deep = conv3(width, width)
        self.trunk = nn.ModuleList(DenseBlock(width, growth, layers) for _ in range(blocks))
        self.fuse = nn.Conv2d(blocks * width, width, 1)
        self.merge = conv3(width, width)
        self.tail = conv3(width, channels)
        if image_residual:
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
        self.reach = Reach(halo=blocks * layers + 4)

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, channels, y, x) in [0, 1]."""
        shallow = self.shallow(image)
        features = self.deep(shallow)
        fused = None
        for block, weight in zip(self.trunk, self.fuse.weight.chunk(len(self.trunk), 1), strict=True):
            features = block(features)
            part = nn.functional.conv2d(features, weight, self.fuse.bias if fused is None else None)
            fused = part if fused is None else fused + part
        restored: Tensor = self.tail(self.merge(fused) + shallow)
        return restored + image if self.image_residual else restored
