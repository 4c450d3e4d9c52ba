"""Sampling images backwards along a flow, on the device, with gradients."""

import torch
from torch import Tensor
from torch.nn import functional


def warp(image: Tensor, flow: Tensor) -> Tensor:
    """Return (batch, channel, y, x) sampled at p + flow(p), flow (batch, 2, y, x) in px; borders are replicated.

    Bicubic with the kernel of Keys (a = -0.75), which is also OpenCV's, so training sees what the fold restorer makes.
    """
    height, width = image.shape[-2:]
    y = torch.arange(height, device=image.device, dtype=flow.dtype)[:, None] + flow[:, 0]
    x = torch.arange(width, device=image.device, dtype=flow.dtype) + flow[:, 1]
    grid = torch.stack((2 * x / max(width - 1, 1) - 1, 2 * y / max(height - 1, 1) - 1), -1)
    return functional.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=True)
