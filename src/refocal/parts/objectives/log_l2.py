"""Mean logarithm of the squared difference: every example counts by its decibels."""

from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch

__all__ = ["LogL2"]


class LogL2(nn.Module):
    """The mean over examples of log(MSE + floor), in nepers of amplitude; 0.115 is one decibel of PSNR.

    A blind net meets easy and hopeless examples in one batch. Under L1 the hopeless ones, whose error is large whatever
    the net does, drown the others; the logarithm lets a decibel on a clean tile weigh as much as one on a noisy tile.
    `floor` (contrast units squared) ends that below the rounding of 8 bits.
    """

    def __init__(self, floor: float = 1e-5) -> None:
        super().__init__()
        if not floor > 0:
            raise ValueError(f"floor must be above 0, got {floor}")
        self.floor = floor

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"log_l2": mean over examples of log(MSE + floor) / 2}."""
        errors = (net(batch.frames).float() - batch.truth).square().mean((1, 2, 3))
        return {"log_l2": (errors + self.floor).log().mean() / 2}
