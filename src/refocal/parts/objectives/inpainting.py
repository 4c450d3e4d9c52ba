"""How well a hole is filled: what is known, what is not, and how rough the border is (Liu et al. 2018)."""

import torch
from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._warp import warp

__all__ = ["Inpainting"]


class Inpainting(nn.Module):
    """Teach a net to fill the dark band of a fold; perceptual and style terms of the paper are left out.

    Parameters
    ----------
    unfolded
        Unfold the frame first, by its hint `flow`; the hole is then the hint `lost` instead of `dark`.
    hole, variation
        Weights of the hole and of the total variation of the composite; what is known weighs 1.
    """

    def __init__(self, unfolded: bool = False, hole: float = 6.0, variation: float = 0.1) -> None:
        super().__init__()
        self.unfolded, self.hole, self.variation = unfolded, hole, variation

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return the terms `known`, `hole` and `variation`."""
        seen = batch.frames[:, 1:2]
        # What lies beside the band is to be kept as it is: folded stays folded.
        wanted = batch.truth if self.unfolded else seen
        mask = batch.hints["lost" if self.unfolded else "dark"][:, None].to(seen.dtype)
        if self.unfolded:
            seen = warp(seen, batch.hints["flow"])
        given = seen * (1 - mask)
        filled = net(torch.cat((given, 1 - mask), 1)).float()
        off = (filled - torch.where(mask > 0, batch.truth, wanted)).abs()
        whole = filled * mask + given
        rough = whole.diff(dim=2).abs().mean() + whole.diff(dim=3).abs().mean()
        return {
            "known": (off * (1 - mask)).mean(),
            "hole": self.hole * (off * mask).mean(),
            "variation": self.variation * rough,
        }
