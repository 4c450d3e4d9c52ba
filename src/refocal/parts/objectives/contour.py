"""Cells and the contours between them, learned from labels."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._labels import edges, labels_of

__all__ = ["ContourLoss"]


class ContourLoss(nn.Module):
    """Two binary cross-entropies, for nets with the logits (batch, 2, y, x): foreground, contour.

    A contour is every pixel next to a change of label, on both sides, grown by `grow` pixels; foreground is what has a
    label and is no contour. Pixels on contours are few: each counts `positive` times.
    """

    def __init__(self, grow: int = 1, positive: float = 2.0) -> None:
        super().__init__()
        if grow < 0 or not positive > 0:
            raise ValueError(f"grow must be at least 0 and positive above 0, got {grow} and {positive}")
        self.grow, self.positive = grow, positive

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"foreground": ..., "contour": ...}; needs `labels` among the hints of the batch."""
        labels = labels_of(batch, "contour")
        contour = edges(labels, self.grow)[:, 0].float()
        inside = (labels[:, 0] > 0).float() * (1 - contour)
        logits = net(batch.frames).float()
        weight = torch.full((), self.positive, device=logits.device)
        loss = functional.binary_cross_entropy_with_logits
        return {"foreground": loss(logits[:, 0], inside), "contour": loss(logits[:, 1], contour, pos_weight=weight)}
