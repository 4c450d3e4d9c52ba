"""PConv: inpainting by partial convolutions, which see nothing of a hole and tell what they filled (Liu et al. 2018).

y = W (X M) (window / sum M) + b  where sum M > 0, else 0;     M' = [sum M > 0]
"""

from itertools import pairwise
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach

__all__ = ["PConv"]

_KERNELS = (7, 5, 5)


class PConv(nn.Module):
    """Inpainting, (batch, 2, y, x) to (batch, 1, y, x).

    The inputs are the image in [0, 1] and the mask, 1 where it is known. The defaults have 25,772,298 parameters.
    Compact: `width=8, levels=5` (182,378). Sizes must be multiples of 2**levels.

    Parameters
    ----------
    channels
        Image channels; one.
    width
        Feature channels of the first level, doubled with each of the next three.
    levels
        How often the image is halved.
    """

    inputs = 2
    outputs = 1
    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "width": 4, "levels": 2}

    def __init__(self, channels: int = 1, width: int = 64, levels: int = 7) -> None:
        super().__init__()
        if channels != 1 or width < 1 or levels < 1:
            raise ValueError(f"needs channels = 1, width >= 1 and levels >= 1, got {channels}, {width} and {levels}")
        widths = [1, *(width * min(2**level, 8) for level in range(levels))]
        kernels = [*_KERNELS, *[3] * levels][:levels]
        self.down = nn.ModuleList(
            _Partial(a, 0, b, kernel, stride=2, norm=i > 0, slope=0.0)
            for i, (a, b, kernel) in enumerate(zip(widths, widths[1:], kernels, strict=False))
        )
        self.up = nn.ModuleList(
            _Partial(b, a, a, 3, stride=1, norm=i > 0, slope=0.2 if i else None)
            for i, (a, b) in enumerate(pairwise(widths))
        )
        far = sum(kernel // 2 * 2**i for i, kernel in enumerate(kernels))
        self.reach = Reach(halo=far + 3 * (2**levels - 1), multiple=2**levels)

    def forward(self, given: Tensor) -> Tensor:
        """Fill what the mask leaves out; the rest is redrawn too."""
        features, mask = given[:, :1], given[:, 1:2]
        levels = [(features, mask)]
        for layer in self.down:
            features, mask = layer(features, mask)
            levels.append((features, mask))
        levels.pop()
        for layer in reversed(self.up):
            beside, known = levels.pop()
            features = functional.interpolate(features, scale_factor=2.0, mode="nearest")
            mask = functional.interpolate(mask, scale_factor=2.0, mode="nearest")
            features, mask = layer(features, mask, beside, known)
        return features


class _Partial(nn.Module):
    """A partial convolution of one or two groups of features, each with its mask (batch, 1, y, x)."""

    def __init__(
        self, inputs: int, more: int, outputs: int, kernel: int, stride: int, norm: bool, slope: float | None
    ) -> None:
        super().__init__()
        last = slope is None
        self.conv = nn.Conv2d(inputs + more, outputs, kernel, stride, kernel // 2, bias=last)
        self.norm = nn.BatchNorm2d(outputs) if norm else None
        self.inputs, self.more, self.slope = inputs, more, slope
        nn.init.kaiming_normal_(self.conv.weight, a=slope or 0.0)

    def forward(
        self, features: Tensor, mask: Tensor, beside: Tensor | None = None, known: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        seen, share = features * mask, mask * self.inputs
        if beside is not None and known is not None:
            seen, share = torch.cat((seen, beside * known), 1), share + known * self.more
        size, stride = self.conv.kernel_size[0], self.conv.stride[0]
        share = functional.avg_pool2d(share / (self.inputs + self.more), size, stride, size // 2)
        there = (share > 1e-6).to(features.dtype)
        total = functional.conv2d(seen, self.conv.weight, None, stride, size // 2)
        result = total * (there / share.clamp_min(1e-6))
        if self.conv.bias is not None:
            result = result + self.conv.bias[:, None, None] * there
        if self.norm is not None:
            result = self.norm(result)
        if self.slope is not None:
            result = functional.leaky_relu(result, self.slope)
        return result, there
