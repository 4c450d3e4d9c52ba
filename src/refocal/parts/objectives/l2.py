"""Mean squared difference: what PSNR measures."""

from torch import Tensor, nn

from refocal.parts.objectives._batch import Batch

__all__ = ["L2"]


class L2(nn.Module):
    """The pixel-wise squared loss, scaled to grey levels of 255 so that its size is comparable with `l1`."""

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"l2": 255 mean (net(frames) - truth)^2}."""
        return {"l2": (net(batch.frames).float() - batch.truth).square().mean() * 255}
