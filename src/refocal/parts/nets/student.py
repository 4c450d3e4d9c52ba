"""A small net at a fraction of the resolution: the student of the large ones, for labs without a GPU.

    coarse = head(pixel_unshuffle(image))           squares of scale x scale pixels become channels
    restored = image + pixel_shuffle(tail(trunk(coarse) + coarse))

All convolutions are 3x3 on the coarse grid, in residual blocks (EDSR, Lim et al. 2017) between folding and unfolding
(ESPCN, Shi et al. 2016): no normalisation, no attention, no layer at full resolution. That is what processors do fast.
A pixel depends on its halo and on nothing else, so an image of any size takes one pass and has no seams.
"""

from typing import Any, ClassVar

from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach
from refocal.parts.nets._blocks import ResidualBlock, Told, conv3, through

__all__ = ["Student"]


class Student(nn.Module):
    """Residual blocks at 1/scale of the resolution, (batch, channels, y, x) in [0, 1] to the same shape.

    Starts as the identity. With `told`, the maps of `Told` follow the channels. Sizes must be multiples of `scale`.

    Parameters
    ----------
    channels
        Image channels.
    width
        Feature channels.
    blocks
        Residual blocks of two convolutions.
    scale
        Edge of the squares of pixels that become channels.
    told
        Whether the net is told blur and noise.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 8, "blocks": 2}

    def __init__(
        self, channels: int = 1, width: int = 32, blocks: int = 13, scale: int = 2, told: bool = False
    ) -> None:
        super().__init__()
        if min(width, blocks, scale) < 1:
            raise ValueError(f"width, blocks and scale must be at least 1, got {width}, {blocks} and {scale}")
        self.told = Told.maps if told else ()
        self.inputs = self.outputs = channels
        self.scale = scale
        self.embed = Told(scale) if told else None
        self.head = conv3(channels * scale**2, width)
        self.trunk = nn.Sequential(
            *(ResidualBlock(width, zero_init=True, told=Told.features * told) for _ in range(blocks))
        )
        self.tail = conv3(width, channels * scale**2)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]
        # A coarse pixel for each convolution, and the rest of the squares that the pixels lie in.
        self.reach = Reach(halo=scale * (2 * blocks + 3) - 1, multiple=scale)

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, channels, y, x) in [0, 1]."""
        image, maps = image[:, : self.outputs], image[:, self.outputs :]
        told = self.embed(maps) if self.embed else None
        coarse = self.head(functional.pixel_unshuffle(image, self.scale))
        change = functional.pixel_shuffle(self.tail(through(self.trunk, coarse, told) + coarse), self.scale)
        return image + change
