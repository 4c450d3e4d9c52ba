"""GRAN without feature maps at full resolution: neighbouring linear layers merged, the image border included, exactly.

    down(head(image)): 3x3, then 3x3 stride 2     ->  one 5x5 convolution with stride 2
    tail(up(coarse)):  6x6 transposed, then 3x3   ->  one 5x5 convolution to four phases, and a pixel shuffle

A merged layer is wrong where the second of the pair would have met its zero padding: one row and column of the coarse
features, one frame of pixels of the result. Those come from the original layers on thin strips. It takes a tenth of the
time and half of the memory of a tile away; the numbers agree to rounding.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.nets.gran import GRAN


class FoldedGRAN(nn.Module):
    """The same function as `net.both`, for nets with the 6x6 Up and no blocks at full resolution."""

    def __init__(self, net: GRAN, head: nn.Conv2d, down: nn.Conv2d, up: nn.ConvTranspose2d, tail: nn.Conv2d) -> None:
        super().__init__()
        self.net = net
        with torch.no_grad():
            self.register_buffer("into", _merge_down(head, down))
            self.register_buffer("into_bias", _bias(down, head))
            self.register_buffer("out", _merge_up(up, tail))
            self.register_buffer("out_bias", _bias(tail, up).repeat_interleave(4))

    def forward(self, image: Tensor, share: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Return the restored image and what was gathered; see `GRAN.both`. Sizes at least 4."""
        net = self.net
        down = self._down(image)
        features = net.trunk(down)
        gathered = net.attention.context(features, share)
        coarse = net.merge(net.rest(net.attention.reason(features, gathered + context))) + down
        restored = self._up(coarse)
        return restored + image if net.image_residual else restored, gathered

    def _down(self, image: Tensor) -> Tensor:
        merged = functional.conv2d(image, self.into, self.into_bias, stride=2, padding=2)  # type: ignore[arg-type]
        top = self.net.down(self.net.head(image[:, :, :4]))[:, :, :1]
        left = self.net.down(self.net.head(image[:, :, :, :4]))[:, :, 1:, :1]
        return torch.cat((top, torch.cat((left, merged[:, :, 1:, 1:]), 3)), 2)

    def _up(self, coarse: Tensor) -> Tensor:
        phases = functional.conv2d(coarse, self.out, self.out_bias, padding=2)  # type: ignore[arg-type]
        merged = functional.pixel_shuffle(phases, 2)
        top, bottom = self._plain(coarse[:, :, :2])[:, :, :1], self._plain(coarse[:, :, -2:])[:, :, -1:]
        left = self._plain(coarse[:, :, :, :2])[:, :, 1:-1, :1]
        right = self._plain(coarse[:, :, :, -2:])[:, :, 1:-1, -1:]
        return torch.cat((top, torch.cat((left, merged[:, :, 1:-1, 1:-1], right), 3), bottom), 2)

    def _plain(self, coarse: Tensor) -> Tensor:
        plain: Tensor = self.net.tail(self.net.up(coarse))
        return plain


def fold(net: nn.Module) -> FoldedGRAN | None:
    """Return a GRAN with its outer layers merged, or None for a net that has no such layers."""
    if not isinstance(net, GRAN) or not len(net.head) == len(net.tail) == 1:
        return None
    head, up, tail = net.head[0], net.up, net.tail[0]
    if isinstance(head, nn.Conv2d) and isinstance(up, nn.ConvTranspose2d) and isinstance(tail, nn.Conv2d):
        return FoldedGRAN(net, head, net.down, up, tail)
    return None


def _merge_down(first: nn.Conv2d, second: nn.Conv2d) -> Tensor:
    """Return k(u) = sum over p of second(p) first(u - p): (out, in, 5, 5)."""
    # Correlating the padded first kernel with the flipped second one is that sum; inputs of `first` act as the batch.
    merged = functional.conv2d(first.weight.double().transpose(0, 1), second.weight.double().flip(2, 3), padding=2)
    return merged.transpose(0, 1).float().contiguous()


def _merge_up(first: nn.ConvTranspose2d, second: nn.Conv2d) -> Tensor:
    """Return the four phases of the 8x8 stride-2 transposed kernel of the pair: (4 out, in, 5, 5)."""
    wide = functional.conv2d(first.weight.double(), second.weight.double(), padding=2)  # (in, out, 8, 8)
    # Pixel 2m + r takes coarse pixel m + j through tap r - 2j + 3; taps outside the 8 are zero.
    taps = torch.tensor([[r - 2 * j + 3 for j in range(-2, 3)] for r in (0, 1)])
    padded = functional.pad(wide, (1, 1, 1, 1))
    picked = padded[:, :, (taps + 1).clamp(0, 9)][..., (taps + 1).clamp(0, 9)]  # (in, out, ry, jy, rx, jx)
    inputs, outputs = wide.shape[:2]
    return picked.permute(1, 2, 4, 0, 3, 5).reshape(4 * outputs, inputs, 5, 5).float().contiguous()


def _bias(second: nn.Conv2d, first: nn.Conv2d | nn.ConvTranspose2d) -> Tensor:
    """Return what the pair adds to each output channel."""
    if first.bias is None or second.bias is None:
        raise ValueError("only convolutions with biases can be folded")
    return second.weight.sum((2, 3)) @ first.bias + second.bias
