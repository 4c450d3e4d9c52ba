"""SGPN: a feature pyramid whose right side is a triangle of high-frequency-enhancing nodes (scale-guided pyramid).

Five scales, i = 0 the finest. Encoder f_i, decoded features X^{i,1}, then columns j = 2 ... 5 - i of nodes

    X^{i,j} = block(own + conv(relu(conv([own, up2 X^{i+1,j-1}, up4 X^{i+2,max(j-2,1)}]))))     own = X^{i,j-1}

where sources below the fifth scale are dropped. The result is image + tanh(out(X^{0,5})) in [-1, 1]. The paper's
indices cannot be literal and it prints no widths; this is the reading and the proposal whose count is the printed one.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.nets._blocks import ResidualBlock, conv3
from refocal.parts.nets._windows import windowed

__all__ = ["SGPN"]

Preset = Literal["paper", "lite"]


@dataclass(frozen=True, slots=True)
class _Widths:
    encoder: tuple[int, ...]
    decoder: tuple[int, ...]
    blocks: int


PRESETS: dict[str, _Widths] = {
    "paper": _Widths((64, 128, 256, 384, 512), (64, 128, 128, 128, 128), 1),
    "lite": _Widths((32, 64, 128, 256, 512), (16, 32, 64, 128, 256), 2),
}


class SGPN(nn.Module):
    """Scale-guided pyramid network, (batch, channels, y, x) in [0, 1] to the same shape.

    It starts as the identity. The clamp of the paper at inference is what writing counts does. Sizes must be
    multiples of 16, at least 32; instance norm makes the result depend on the whole window.

    Parameters
    ----------
    channels
        Image channels; the paper used one.
    preset
        `paper` (19,344,833 parameters, 2,332 kMAC a pixel) or `lite` (about as many parameters at coarser scales, a
        fifth of the work).
    encoder, decoder
        Widths of the five scales from fine to coarse, in place of the preset's.
    blocks
        Residual blocks per scale and side, in place of the preset's.
    window
        Edge of the windows that it is run on, px; the paper's crops have 256.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {
        "channels": 1,
        "encoder": [4, 4, 6, 6, 8],
        "decoder": [4, 4, 4, 6, 6],
        "window": 64,
    }

    def __init__(
        self,
        channels: int = 1,
        preset: Preset = "paper",
        encoder: Sequence[int] | None = None,
        decoder: Sequence[int] | None = None,
        blocks: int | None = None,
        window: int = 256,
    ) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        if preset not in PRESETS:
            raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {preset!r}")
        chosen = PRESETS[preset]
        left, right, many = encoder or chosen.encoder, decoder or chosen.decoder, blocks or chosen.blocks
        if len(left) != 5 or len(right) != 5:
            raise ValueError(f"encoder and decoder take 5 widths each, got {len(left)} and {len(right)}")
        self.encoder = nn.ModuleList(
            nn.Sequential(_block(a, b, 1 if i == 0 else 2), *(ResidualBlock(b) for _ in range(many)))
            for i, (a, b) in enumerate(zip((channels, *left[:-1]), left, strict=True))
        )
        self.lateral = nn.ModuleList(nn.Conv2d(a, b, 1) for a, b in zip(left, right, strict=True))
        self.blocks = nn.ModuleList(_block(a, b) for a, b in zip((*right[1:], right[-1]), right, strict=True))
        self.smooth = nn.ModuleList(nn.Sequential(*(ResidualBlock(b) for _ in range(many))) for b in right)
        self.nodes = nn.ModuleList(
            nn.ModuleList(_Node(right[i], sum(right[i : i + 3])) for _ in range(4 - i)) for i in range(4)
        )
        self.out = conv3(right[0], channels)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]
        self.reach = windowed(window, 16)

    def forward(self, image: Tensor) -> Tensor:
        """Restore (batch, channels, y, x) in [0, 1]."""
        features, sides = 2 * image - 1, []
        for encode, lateral in zip(self.encoder, self.lateral, strict=True):
            features = encode(features)
            sides.append(lateral(features))
        # columns[i][j - 1] is X^{i,j}; rows are filled from the coarsest, whose row has one node.
        columns: list[list[Tensor]] = [[] for _ in range(5)]
        columns[4].append(self.smooth[4](self.blocks[4](sides[4])))
        for i in (3, 2, 1, 0):
            coarse = functional.interpolate(columns[i + 1][0], scale_factor=2.0, mode="nearest")
            columns[i].append(self.smooth[i](self.blocks[i](coarse) + sides[i]))
        for j in range(2, 6):
            for i in range(5 - j, -1, -1):
                sources = [_up(columns[i + 1][j - 2], 2)]
                if i + 2 <= 4:
                    sources.append(_up(columns[i + 2][max(j - 2, 1) - 1], 4))
                columns[i].append(self.nodes[i][j - 2](columns[i][-1], sources))  # type: ignore[index]
        return image + torch.tanh(self.out(columns[0][-1])) / 2


class _Node(nn.Module):
    """One node of the triangle: `inputs` channels of itself and its coarser sources to `width`."""

    def __init__(self, width: int, inputs: int) -> None:
        super().__init__()
        self.conv1 = conv3(inputs, width)
        self.conv2 = conv3(width, width)
        self.block = _block(width, width)

    def forward(self, own: Tensor, sources: list[Tensor]) -> Tensor:
        change = self.conv2(torch.relu(self.conv1(torch.cat((own, *sources), 1))))
        enhanced: Tensor = self.block(own + change)
        return enhanced


def _block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """Return convolution, instance norm, ReLU; the norm takes away what a bias would add."""
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return nn.Sequential(conv, nn.InstanceNorm2d(outputs), nn.ReLU())


def _up(features: Tensor, factor: int) -> Tensor:
    return functional.interpolate(features, scale_factor=float(factor), mode="bilinear", align_corners=False)
