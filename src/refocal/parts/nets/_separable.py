"""Local separable convolution: every pixel has a vertical and a horizontal kernel of its own."""

import torch
from torch import Tensor
from torch.nn import functional

_BLOCK_PX = 1 << 18


def separable(image: Tensor, vertical: Tensor, horizontal: Tensor, block_px: int = _BLOCK_PX) -> Tensor:
    """Return sum over i, j of vertical_i(p) horizontal_j(p) image(p + (i, j) - taps // 2), borders replicated.

    Takes (batch, 1, y, x) and two (batch, taps, y, x). Works on blocks of rows of about `block_px` pixels, so the
    memory beyond inputs and result is taps times a block, whatever the size; kernels that are a single one at tap t
    shift the image exactly.
    """
    taps, (height, width) = vertical.shape[1], image.shape[-2:]
    half = taps // 2
    padded = functional.pad(image, (half, taps - 1 - half, half, taps - 1 - half), mode="replicate")
    if torch.compiler.is_exporting():
        return _rows(padded, vertical, horizontal)
    step = max(1, block_px // width)
    blocks = [
        _rows(padded[:, :, y : y + step + taps - 1], vertical[:, :, y : y + step], horizontal[:, :, y : y + step])
        for y in range(0, height, step)
    ]
    return torch.cat(blocks, 2)


def _rows(padded: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    taps, height, width = vertical.shape[1], vertical.shape[2], vertical.shape[3]
    shifted = torch.cat([padded[:, :, i : i + height] for i in range(taps)], 1)
    total = torch.zeros_like(vertical[:, :1])
    for j in range(taps):
        column = (vertical * shifted[:, :, :, j : j + width]).sum(1, keepdim=True)
        total = total + horizontal[:, j : j + 1] * column
    return total
