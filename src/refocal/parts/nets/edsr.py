"""EDSR at scale 1: residual blocks at full resolution, no normalisation (Lim et al. 2017)."""

from typing import Any, ClassVar

from torch import Tensor, nn

from refocal.core.values import Reach
from refocal.parts.nets._blocks import ResidualBlock, conv3

__all__ = ["EDSR"]


class EDSR(nn.Module):
    """Enhanced deep residual network, (batch, channels, y, x) in [0, 1] to the same shape.

    The defaults are the large model: 38,369,283 parameters at three channels. The baseline of the GRAN paper is
    `width=64, blocks=16, residual_scale=1.0` (1,222,147). `image_residual` adds the input to the output.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 8, "blocks": 2}

    def __init__(
        self,
        channels: int = 3,
        width: int = 256,
        blocks: int = 32,
        residual_scale: float = 0.1,
        image_residual: bool = False,
        zero_init: bool = False,
    ) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        self.image_residual = image_residual
        self.head = conv3(channels, width)
        self.trunk = nn.Sequential(*(ResidualBlock(width, residual_scale, zero_init) for _ in range(blocks)))
        self.merge = conv3(width, width)
        self.tail = conv3(width, channels)
        if image_residual:
            nn.init.zeros_(self.tail.weight)
            nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
        self.reach = Reach(halo=2 * blocks + 3)

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, channels, y, x) in [0, 1]."""
        features = self.head(image)
        restored: Tensor = self.tail(features + self.merge(self.trunk(features)))
        return restored + image if self.image_residual else restored
