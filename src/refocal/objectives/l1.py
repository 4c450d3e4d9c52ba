"""Mean absolute difference."""

from torch import Tensor, nn

from refocal.objectives._batch import Batch

__all__ = ["L1"]


class L1(nn.Module):
    """The pixel-wise L1 loss of EDSR, RDN and GRAN."""

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"l1": mean |net(frames) - truth|}."""
        return {"l1": (net(batch.frames).float() - batch.truth).abs().mean()}
