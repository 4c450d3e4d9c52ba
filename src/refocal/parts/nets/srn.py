"""SRN-DeblurNet: one encoder-decoder applied at 1/4, 1/2 and full size, with memory between scales (Tao et al. 2018).

Each scale sees its level of the blurred image and the doubled result of the coarser one (the coarsest sees its level
twice); in training no gradient flows through that result. A convolutional LSTM at the bottom hands its state on.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.core.values import Reach

__all__ = ["SRN"]

State = tuple[Tensor, Tensor]


class SRN(nn.Module):
    """Scale-recurrent network without norms, (batch, channels, y, x) in [0, 1] to the same shape.

    8,056,609 parameters at one channel with the LSTM (the published model `lstm`), 6,881,251 at three channels without
    (`color`). Sizes must be multiples of 16.

    Parameters
    ----------
    channels
        Image channels.
    memory
        With the convolutional LSTM between scales.
    widths
        Feature channels at full, half and quarter size of a level.
    blocks
        Residual blocks of each stage.
    """

    frames = 1
    small_options: ClassVar[dict[str, Any]] = {"channels": 1, "widths": [3, 4, 6], "blocks": 1}

    def __init__(
        self, channels: int = 1, memory: bool = True, widths: Sequence[int] = (32, 64, 128), blocks: int = 3
    ) -> None:
        super().__init__()
        self.inputs = self.outputs = channels
        a, b, c = widths
        self.encoder = nn.ModuleList(
            nn.Sequential(_conv5(i, o, s), nn.ReLU(), *(_Residual(o) for _ in range(blocks)))
            for i, o, s in ((2 * channels, a, 1), (a, b, 2), (b, c, 2))
        )
        self.decoder = nn.ModuleList(
            nn.Sequential(*(_Residual(i) for _ in range(blocks)), nn.ConvTranspose2d(i, o, 4, 2, 1), nn.ReLU())
            for i, o in ((c, b), (b, a))
        )
        self.out = nn.Sequential(*(_Residual(a) for _ in range(blocks)), _conv5(a, channels))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.xavier_uniform_(layer.weight)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        self.memory = _ConvLSTM(c) if memory else None
        # Residual blocks reach 4 px at sizes 1, 1/2, 1/4, 1/4, 1/2, 1; the rest are the convolutions between them.
        radius = 56 * blocks + 20 + (4 if memory else 0)
        self.reach = Reach(halo=7 * radius + 16, multiple=16)

    def levels(self, image: Tensor) -> list[Tensor]:
        """Return (batch, channels, y, x) at 1/4, 1/2 and full size, bilinear."""
        return [_resize(image, 0.25), _resize(image, 0.5), image]

    def forward(self, image: Tensor, scales: bool = False) -> Tensor | list[Tensor]:
        """Restore (batch, channels, y, x) in [0, 1]; with `scales`, return the results of all `levels`."""
        results: list[Tensor] = []
        state: State | None = None
        for level in self.levels(image):
            coarse = _resize(results[-1], 2.0) if results else level
            restored, state = self._scale(torch.cat((level, coarse.detach() if self.training else coarse), 1), state)
            results.append(restored)
            state = None if state is None else (_resize(state[0], 2.0), _resize(state[1], 2.0))
        return results if scales else results[-1]

    def _scale(self, seen: Tensor, state: State | None) -> tuple[Tensor, State | None]:
        fine = self.encoder[0](seen)
        middle = self.encoder[1](fine)
        features = self.encoder[2](middle)
        if self.memory is not None:
            state = self.memory(features, state)
            features = state[0]
        restored: Tensor = self.out(self.decoder[1](self.decoder[0](features) + middle) + fine)
        return restored, state


class _ConvLSTM(nn.Module):
    """Long short-term memory whose gates are one 3x3 convolution of input and hidden state."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 4 * width, 3, padding=1)
        nn.init.trunc_normal_(self.gates.weight, std=1e-3)
        nn.init.zeros_(self.gates.bias)  # type: ignore[arg-type]

    def forward(self, features: Tensor, state: State | None) -> State:
        hidden, cell = state or (torch.zeros_like(features), torch.zeros_like(features))
        enter, new, forget, leave = self.gates(torch.cat((features, hidden), 1)).chunk(4, 1)
        # Memory is kept at first: the forget gate starts at sigmoid(1).
        cell = cell * torch.sigmoid(forget + 1) + torch.sigmoid(enter) * torch.tanh(new)
        return torch.tanh(cell) * torch.sigmoid(leave), cell


class _Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = _conv5(width, width), _conv5(width, width)

    def forward(self, features: Tensor) -> Tensor:
        change: Tensor = self.conv2(torch.relu(self.conv1(features)))
        return features + change


def _conv5(inputs: int, outputs: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 5, stride, 2)


def _resize(image: Tensor, factor: float) -> Tensor:
    return functional.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False)
