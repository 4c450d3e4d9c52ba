"""Structural dissimilarity, the loss that takes the wobble of slopes out of burst nets (Wieslander et al. 2021)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.objectives._batch import Batch

__all__ = ["SSIM"]

_WINDOW, _SIGMA_PX = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2


class SSIM(nn.Module):
    """`structure` * (1 - mean SSIM) + `pixel` * mean |d|.

    SSIM as in `refocal.parts.metrics.ssim`: a Gaussian window of 1.5 px, data range 1, only windows that lie inside.
    What is     trained on SSIM scores well in SSIM; compare in another metric too.

    Parameters
    ----------
    structure, pixel
        Weights of the terms. Wieslander et al. put SSIM in the place of the slopes and keep the other term.
    """

    def __init__(self, structure: float = 1.0, pixel: float = 0.1) -> None:
        super().__init__()
        self.structure, self.pixel = structure, pixel

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"structure": ..., "pixel": ...}."""
        restored = net(batch.frames).float()
        unlike = 1 - _similarity(restored, batch.truth).mean()
        return {
            "structure": self.structure * unlike,
            "pixel": self.pixel * (restored - batch.truth).abs().mean(),
        }


def _similarity(got: Tensor, truth: Tensor) -> Tensor:
    """Return the local similarity of (batch, channel, y, x), float32."""
    parts = torch.cat((got, truth, got * got, truth * truth, got * truth), 1)
    mean_got, mean_truth, got2, truth2, product = _local(parts).chunk(5, 1)
    covariance = product - mean_got * mean_truth
    variances = got2 - mean_got**2 + truth2 - mean_truth**2
    luminance = (2 * mean_got * mean_truth + _C1) / (mean_got**2 + mean_truth**2 + _C1)
    similarity: Tensor = luminance * (2 * covariance + _C2) / (variances + _C2)
    return similarity


def _local(images: Tensor) -> Tensor:
    """Return Gaussian means of all channels where the window lies inside."""
    place = torch.arange(_WINDOW, device=images.device, dtype=images.dtype) - _WINDOW // 2
    line = torch.exp(-0.5 * (place / _SIGMA_PX) ** 2)
    line = (line / line.sum()).expand(images.shape[1], 1, 1, -1)
    across = functional.conv2d(images, line, groups=images.shape[1])
    return functional.conv2d(across, line.transpose(2, 3), groups=images.shape[1])
