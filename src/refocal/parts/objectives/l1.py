"""Mean absolute difference."""

from collections.abc import Sequence

from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch

__all__ = ["L1"]


class L1(nn.Module):
    """The pixel-wise L1 loss of EDSR, RDN and GRAN.

    `frames` are the numbers of the frames that the net sees, all by default: [0, 2] to interpolate between neighbours.
    """

    def __init__(self, frames: Sequence[int] | None = None) -> None:
        super().__init__()
        self.frames = None if frames is None else list(frames)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"l1": mean |net(frames) - truth|}."""
        seen = batch.frames if self.frames is None else batch.frames[:, self.frames]
        return {"l1": (net(seen).float() - batch.truth).abs().mean()}
