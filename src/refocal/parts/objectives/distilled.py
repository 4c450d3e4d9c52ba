"""Learn from the truth and from a larger trained net (Hinton et al. 2015; for restoration: Gao et al. 2018)."""

from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._frozen_net import FrozenNet

__all__ = ["Distilled"]


class Distilled(nn.Module):
    """L1 to the truth plus L1 to what a teacher makes of the same frames.

    The teacher's output lacks what cannot be predicted of the truth, so a small net needs fewer steps; each of them
    costs a pass through the teacher.

    Parameters
    ----------
    teacher
        Name of a shipped model, or path of a model file.
    weight
        Weight of the second term.
    """

    def __init__(self, teacher: str = "gran-em", weight: float = 1.0) -> None:
        super().__init__()
        if not weight > 0:
            raise ValueError(f"weight must be above 0, got {weight}; without a teacher use the objective 'l1'")
        self.weight = weight
        self.teacher = FrozenNet(teacher)

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"l1": mean |net - truth|, "distilled": weight x mean |net - teacher|}."""
        answer = net(batch.frames).float()
        return {
            "l1": (answer - batch.truth).abs().mean(),
            "distilled": self.weight * (answer - self.teacher(batch.frames)).abs().mean(),
        }
