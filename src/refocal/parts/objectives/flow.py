"""How far the unfolding is off: mean absolute difference of flows (Huang et al. 2020)."""

import torch
from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._fold import reference
from refocal.parts.objectives._frozen_net import FrozenNet

__all__ = ["Flow"]


class Flow(nn.Module):
    """Teach a net to unfold frames (previous, folded, next), whose hint `flow` is the target.

    Parameters
    ----------
    interpolation
        A trained net that makes the reference of the neighbours; without it, their mean.
    """

    def __init__(self, interpolation: str | None = None) -> None:
        super().__init__()
        self.interpolation = FrozenNet(interpolation)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"flow": mean |net(folded, reference) - flow|} in px, in the lost band too."""
        pair = torch.cat((batch.frames[:, 1:2], reference(self.interpolation, batch.frames)), 1)
        return {"flow": (net(pair).float() - batch.hints["flow"]).abs().mean()}
