"""DeblurGAN-v2: a feature pyramid over an ImageNet encoder, adding to the image (Kupyn et al. 2019).

    m4 = l4;  m_i = td(l_i + up2 m_{i+1}) for i = 3, 2, 1                         l_i: lateral 1x1 of encoder map i
    smooth(cat of heads of m4, m3, m2, m1 at stride 4) -> up2 -> + l0 -> smooth -> up2 -> convolution -> tanh -> + image

The encoder starts at random; `start: timm:inception_resnet_v2` (or `timm:mobilenetv2_100`) in a recipe takes its
ImageNet weights from timm, the extra `timm`. Batch norms of the encoder use their running statistics once trained.
"""

from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.nets._blocks import conv3
from refocal.parts.nets._inception_resnet_v2 import InceptionResNetV2
from refocal.parts.nets._mobilenet_v2 import MobileNetV2
from refocal.parts.nets._windows import windowed

__all__ = ["DeblurGANv2"]

Backbone = Literal["inception_resnet_v2", "mobilenet_v2"]
# Encoder, pyramid width, head width.
_BACKBONES: dict[str, tuple[type[InceptionResNetV2] | type[MobileNetV2], int, int]] = {
    "inception_resnet_v2": (InceptionResNetV2, 256, 128),
    "mobilenet_v2": (MobileNetV2, 128, 64),
}


class DeblurGANv2(nn.Module):
    """Feature pyramid with an ImageNet encoder, (batch, channels, y, x) in [0, 1] to the same shape.

    35,840,099 parameters at three channels with Inception-ResNet-v2 (the paper's 60,929,291 count a classifier and
    blocks that never reach a pixel), 2,106,627 with MobileNetV2 (3,312,707). It starts as the identity. Sizes must be
    multiples of 32, from 128 px with Inception-ResNet-v2; instance norm makes the result depend on the whole window.

    Parameters
    ----------
    channels
        Image channels.
    backbone
        The encoder: `inception_resnet_v2` or `mobilenet_v2`.
    window
        Edge of the windows that it is run on, px; the paper's crops have 256.
    frames
        Registered frames of a burst that it sees as channels; the change is added to the first. Wieslander et al. 2021
        give it 3.
    """

    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "backbone": "mobilenet_v2", "window": 128}

    def __init__(
        self, channels: int = 1, backbone: Backbone = "inception_resnet_v2", window: int = 256, frames: int = 1
    ) -> None:
        super().__init__()
        if frames < 1:
            raise ValueError(f"frames must be at least 1, got {frames}")
        self.inputs, self.outputs, self.frames = channels * frames, channels, frames
        if backbone not in _BACKBONES:
            raise ValueError(f"backbone must be one of {', '.join(_BACKBONES)}, got {backbone!r}")
        make, wide, narrow = _BACKBONES[backbone]
        self.encoder, self.pads = make(self.inputs), make.pads
        first, *deep = make.widths
        self.lateral0 = nn.Conv2d(first, narrow, 1, bias=False)
        self.laterals = nn.ModuleList(nn.Conv2d(width, wide, 1, bias=False) for width in deep)
        self.downs = nn.ModuleList(_normed(wide, wide) for _ in range(3))
        self.heads = nn.ModuleList(_head(wide, narrow) for _ in range(4))
        self.smooth = _normed(4 * narrow, narrow)
        self.smooth2 = _normed(narrow, narrow // 2)
        self.final = conv3(narrow // 2, channels)
        nn.init.zeros_(self.final.weight)
        nn.init.zeros_(self.final.bias)  # type: ignore[arg-type]
        self.reach = windowed(window, 32)

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, frames * channels, y, x) in [0, 1]; returns (batch, channels, y, x)."""
        first, *deep = self.encoder(2 * image - 1)
        first_pads, *pads = self.pads
        sides = [_pad(side(m), p) for side, m, p in zip(self.laterals, deep, pads, strict=True)]
        pyramid = [sides.pop()]
        for down in self.downs:
            pyramid.append(down(sides.pop() + _up(pyramid[-1], 2)))
        heads = [_up(head(level), 8 >> i) for i, (head, level) in enumerate(zip(self.heads, pyramid, strict=True))]
        smooth = _up(self.smooth(torch.cat(heads, 1)), 2) + _pad(self.lateral0(first), first_pads)
        change: Tensor = self.final(_up(self.smooth2(smooth), 2))
        return image[:, : self.outputs] + torch.tanh(change) / 2


def _normed(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(conv3(inputs, outputs), nn.InstanceNorm2d(outputs), nn.ReLU())


def _head(inputs: int, outputs: int) -> nn.Sequential:
    first, second = (nn.Conv2d(i, outputs, 3, padding=1, bias=False) for i in (inputs, outputs))
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def _pad(features: Tensor, pads: tuple[int, ...]) -> Tensor:
    return functional.pad(features, pads, mode="reflect") if any(pads) else features


def _up(features: Tensor, factor: int) -> Tensor:
    return functional.interpolate(features, scale_factor=float(factor)) if factor > 1 else features
