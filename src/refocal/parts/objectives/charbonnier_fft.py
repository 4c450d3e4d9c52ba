"""The losses of BANet: a smooth L1 of the pixels and an L1 of their Fourier transforms."""

import torch
from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch

__all__ = ["CharbonnierFFT"]


class CharbonnierFFT(nn.Module):
    """Charbonnier loss, mean sqrt(d^2 + eps^2), + `weight` times the mean |d| of real and imaginary Fourier parts.

    Parameters
    ----------
    weight
        Of the Fourier term; the transform is not normalised, so the term grows with the size of the patch.
    eps
        Where the loss turns from square to linear, contrast units.
    """

    def __init__(self, weight: float = 0.01, eps: float = 1e-3) -> None:
        super().__init__()
        if not eps > 0:
            raise ValueError(f"eps must be above 0, got {eps}")
        self.weight, self.eps = weight, eps

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"charbonnier": ..., "fourier": ...}."""
        error = net(batch.frames).float() - batch.truth
        # The transform is linear: that of the difference is the difference of the transforms.
        spectrum = torch.view_as_real(torch.fft.fft2(error))
        return {
            "charbonnier": (error.square() + self.eps**2).sqrt().mean(),
            "fourier": self.weight * spectrum.abs().mean(),
        }
