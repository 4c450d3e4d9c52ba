"""Which neighbouring voxels belong to one cell, learned from labels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._labels import edges, labels_of, middle

__all__ = ["AffinityLoss"]


class AffinityLoss(nn.Module):
    """Balanced binary cross-entropy for nets with the logits (batch, 3, section, y, x): links along z, y, x.

    A link is 1 where voxel and predecessor have one label above 0, after `grow` pixels on either side of every change
    within a section were taken away. Linked and separate voxels weigh the same in sum.
    """

    def __init__(self, grow: int = 1) -> None:
        super().__init__()
        if grow < 0:
            raise ValueError(f"grow must be at least 0, got {grow}")
        self.grow = grow

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"affinity": ...}; needs `labels` among the hints of the batch."""
        labels = labels_of(batch, "affinity")
        if self.grow:
            labels = labels.masked_fill(edges(labels, self.grow - 1), 0)
        logits = net(batch.frames).float()
        labels = middle(labels, tuple(logits.shape[2:]))
        links, known = targets(labels)
        count = known.sum().clamp(min=1)
        linked = ((links * known).sum() / count).clamp(0.01, 0.99)
        weight = known * torch.where(links > 0, 0.5 / linked, 0.5 / (1 - linked))
        loss = functional.binary_cross_entropy_with_logits(logits, links, weight, reduction="sum")
        return {"affinity": loss / count}


def targets(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return links and where they are known, both (batch, 3, section, y, x), for (batch, section, y, x) labels."""
    links = torch.zeros(labels.shape[0], 3, *labels.shape[1:], device=labels.device)
    known = torch.ones_like(links)
    for channel, axis in enumerate((1, 2, 3)):
        length = labels.shape[axis] - 1
        here, before = labels.narrow(axis, 1, length), labels.narrow(axis, 0, length)
        links[:, channel].narrow(axis, 1, length).copy_((here == before) & (here > 0))
        known[:, channel].narrow(axis, 0, 1).zero_()
    return links, known
