"""How good the fused section is: mean absolute difference after unfolding (Huang et al. 2020)."""

import torch
from torch import Tensor, nn

from refocal.objectives._batch import Batch
from refocal.objectives._fold import Onlooker, reference
from refocal.objectives._warp import warp

__all__ = ["Fusion"]


class Fusion(nn.Module):
    """Teach a net to fuse the unfolded section with the interpolated one.

    Parameters
    ----------
    interpolation
        A trained net that interpolates between the neighbours; without it, their mean.
    unfolding
        A trained net that says the flow; without it, the true one (the hint `flow`).
    """

    def __init__(self, interpolation: str | None = None, unfolding: str | None = None) -> None:
        super().__init__()
        self.interpolation, self.unfolding = Onlooker(interpolation), Onlooker(unfolding)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"fusion": mean |net(unfolded, interpolated) - truth|}."""
        folded, between = batch.frames[:, 1:2], reference(self.interpolation, batch.frames)
        flow = self.unfolding(torch.cat((folded, between), 1)) if self.unfolding else batch.hints["flow"]
        fused = net(torch.cat((warp(folded, flow), between), 1)).float()
        return {"fusion": (fused - batch.truth).abs().mean()}
