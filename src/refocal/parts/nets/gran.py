"""GRAN: a residual trunk at half resolution with one graph-reasoning attention block (ISBI 2023).

Down and Up surround `blocks` residual blocks. The attention block treats every coarse pixel as a node of a graph
with affinity theta'phi. Without a softmax the sums reorder (eq. 2 and 3 of the paper):

    context = sum_p phi_p g_p' / P            (channels x channels, the only global quantity)
    y_p     = context' theta_p
    out_p   = v_p (1 + sigmoid(W_r y_p + b))

The mean over the P nodes keeps the logits independent of the image size, and makes contexts of parts add up: sum the
unnormalised contexts and node counts of all parts, divide once, finish each part (`gather`, then `finish`).
"""

from functools import partial
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from refocal.core.values import Reach
from refocal.parts.nets._blocks import ResidualBlock, Told, conv3, through

__all__ = ["GRAN"]

Position = Literal["low", "middle", "high"]
Up = Literal["deconv6", "pixelshuffle", "nearest"]


class GraphAttention(nn.Module):
    """Graph-reasoning attention over all positions of a feature map, in linear time and memory.

    The gate starts at one half (zero-initialised W_r). Context and reasoning are computed in float32: the sums of
    an image of a million nodes overflow half precision.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.theta = nn.Conv2d(channels, channels, 1)
        self.phi = nn.Conv2d(channels, channels, 1)
        self.g = nn.Conv2d(channels, channels, 1)
        self.out = nn.Conv2d(channels, channels, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def context(self, features: Tensor, share: Tensor | None = None) -> Tensor:
        """Return the mean of phi g' over the nodes: (batch, channels, y, x) to (batch, channels, channels).

        With `share` (batch or 1, 1, y, x), each node's part in a mean over more nodes than these, tiles add.
        """
        with torch.autocast(features.device.type, enabled=False):
            features = features.float()
            phi: Tensor = self.phi(features)
            phi = phi / (phi.shape[2] * phi.shape[3]) if share is None else phi * share
            context: Tensor = phi.flatten(2) @ self.g(features).flatten(2).transpose(1, 2)
            return context

    def reason(self, features: Tensor, context: Tensor) -> Tensor:
        """Gate (batch, channels, y, x) features by the reasoning over a given context."""
        with torch.autocast(features.device.type, enabled=False):
            wide = features.float()
            # W_r (context' theta(v)) with the three small matrices merged first: one 1x1 convolution per pixel.
            mix = self.out.weight[:, :, 0, 0] @ context.transpose(1, 2)
            weight = mix @ self.theta.weight[:, :, 0, 0]
            bias = mix @ self.theta.bias + self.out.bias  # type: ignore[operator]
            logits = torch.baddbmm(bias[:, :, None], weight, wide.flatten(2)).view_as(wide)
            return (wide * (1 + torch.sigmoid(logits))).to(features.dtype)

    def forward(self, features: Tensor) -> Tensor:
        """Reason over the whole feature map."""
        return self.reason(features, self.context(features))


class GRAN(nn.Module):
    """Graph-reasoning attention network, (batch, channels, y, x) in [0, 1] to the same shape.

    The defaults are reading A of the paper: 3,195,779 parameters at three channels. Reading B is
    `up="nearest", hr_blocks=1`, reading C `up="pixelshuffle", hr_blocks=1, blocks=38`; with `hr_blocks` one or more
    full-resolution blocks stand before Down and after Up. Sizes must be multiples of 2.

    Parameters
    ----------
    channels
        Image channels.
    width
        Feature channels.
    blocks
        Residual blocks at half resolution.
    position
        Where the attention block stands in the trunk: after the first, the middle or the last block.
    up
        The Up module: transposed 6x6 convolution, convolution with pixel shuffle, or nearest-neighbour doubling.
    hr_blocks
        Residual blocks at full resolution on either side.
    image_residual
        Add the input image to the output (off in the paper; trains faster).
    zero_init
        Start every residual block as the identity.
    told
        Whether the net is told blur and noise (not in the paper); the maps of `Told` follow the channels.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 8, "blocks": 3}

    def __init__(
        self,
        channels: int = 3,
        width: int = 64,
        blocks: int = 40,
        position: Position = "high",
        up: Up = "deconv6",
        hr_blocks: int = 0,
        image_residual: bool = False,
        zero_init: bool = False,
        told: bool = False,
    ) -> None:
        super().__init__()
        self.told = Told.maps if told else ()
        self.inputs = self.outputs = channels
        self.embed = Told(2) if told else None
        self.image_residual = image_residual
        self.head = nn.Sequential(
            conv3(channels, width), *(ResidualBlock(width, zero_init=zero_init) for _ in range(hr_blocks))
        )
        self.down = conv3(width, width, stride=2)
        before = {"low": 1, "middle": max(1, blocks // 2), "high": blocks}[position]
        block = partial(ResidualBlock, width, zero_init=zero_init, told=Told.features * told)
        self.trunk = nn.Sequential(*(block() for _ in range(before)))
        self.attention = GraphAttention(width)
        self.rest = nn.Sequential(*(block() for _ in range(blocks - before)))
        self.merge = conv3(width, width)
        self.up = _up(up, width)
        self.tail = nn.Sequential(
            *(ResidualBlock(width, zero_init=zero_init) for _ in range(hr_blocks)), conv3(width, channels)
        )
        if image_residual:
            # A net that adds to its input starts as the identity.
            nn.init.zeros_(self.tail[-1].weight)  # type: ignore[arg-type]
            nn.init.zeros_(self.tail[-1].bias)  # type: ignore[arg-type]
        # One pixel for the head, two for Down's and Up's coarse grid, then 2 coarse (4 fine) pixels a block.
        self.reach = Reach(halo=8 + 4 * (blocks + 1) + 4 * hr_blocks, multiple=2, context=True)

    def features(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return Down's output and the trunk's features in front of the attention block."""
        down = self.down(self.head(image[:, : self.outputs]))
        return down, through(self.trunk, down, self._told(image))

    def _told(self, image: Tensor) -> Tensor | None:
        return self.embed(image[:, self.outputs :]) if self.embed else None

    def gather(self, image: Tensor, share: Tensor | None = None) -> Tensor:
        """Return the graph context of an image: its mean of phi g', (batch, width, width), float32.

        `share` (batch or 1, 1, y / 2, x / 2) weighs the nodes of a tile in the mean over a larger image.
        """
        return self.attention.context(self.features(image)[1], share)

    def finish(self, image: Tensor, context: Tensor) -> Tensor:
        """Restore an image under a context that was gathered elsewhere."""
        down, features = self.features(image)
        return self._finish(image, down, features, context)

    def both(self, image: Tensor, share: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Gather under `share`, add `context`, finish under the sum; return the restored image and what was gathered.

        One graph for every pass: the whole image has share 1 / nodes and context 0, the second pass over tiles share 0.
        """
        down, features = self.features(image)
        gathered = self.attention.context(features, share)
        return self._finish(image, down, features, gathered + context), gathered

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, channels, y, x) in [0, 1]."""
        down, features = self.features(image)
        return self._finish(image, down, features, self.attention.context(features))

    def _finish(self, image: Tensor, down: Tensor, features: Tensor, context: Tensor) -> Tensor:
        reasoned = self.attention.reason(features, context)
        coarse = self.merge(through(self.rest, reasoned, self._told(image))) + down
        restored: Tensor = self.tail(self.up(coarse))
        return restored + image[:, : self.outputs] if self.image_residual else restored


def _up(kind: Up, width: int) -> nn.Module:
    if kind == "deconv6":
        return nn.ConvTranspose2d(width, width, 6, stride=2, padding=2)
    if kind == "pixelshuffle":
        return nn.Sequential(conv3(width, 4 * width), nn.PixelShuffle(2))
    return nn.Upsample(scale_factor=2, mode="nearest")
