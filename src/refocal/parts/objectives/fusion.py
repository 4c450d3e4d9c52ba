"""How good the fused section is: mean absolute difference after unfolding (Huang et al. 2020)."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._fold import reference
from refocal.parts.objectives._frozen_net import FrozenNet
from refocal.parts.objectives._warp import warp

__all__ = ["Fusion"]

_KNOTS = 3
"""The error of the flow is drawn at this many places along each edge of the crop, and is smooth between them."""


class Fusion(nn.Module):
    """Teach a net to fuse the unfolded section with the interpolated one.

    Parameters
    ----------
    interpolation
        A trained net that interpolates between the neighbours; without it, their mean.
    unfolding
        A trained net that says the flow; without it, the true one (the hint `flow`), made wrong by `flow_error`.
    flow_error
        Standard deviation of the error of the true flow's amplitude, as a share of it: smooth over the crop and at most
        twice as large. It stands for the search of the geometry, which is that far off, so that the net learns to
        live with a section that is not unfolded to the pixel.
    cover_px
        Blacken the section this far beyond the dark band first (the hint `dark`), as the restorer does.
    """

    def __init__(
        self,
        interpolation: str | None = None,
        unfolding: str | None = None,
        flow_error: float = 0.04,
        cover_px: int = 4,
    ) -> None:
        super().__init__()
        if not (0 <= flow_error <= 0.5 and cover_px >= 0):
            raise ValueError(f"fusion needs 0 <= flow_error <= 0.5 and cover_px >= 0, got {flow_error} and {cover_px}")
        self.interpolation, self.unfolding = FrozenNet(interpolation), FrozenNet(unfolding)
        self.flow_error, self.cover_px = flow_error, cover_px

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return {"fusion": mean |net(unfolded, interpolated) - truth|}."""
        between = reference(self.interpolation, batch.frames)
        folded = self._covered(batch.frames[:, 1:2], batch.hints["dark"])
        if self.unfolding:
            flow = self.unfolding(torch.cat((folded, between), 1))
        else:
            flow = _off(batch.hints["flow"], self.flow_error)
        fused = net(torch.cat((warp(folded, flow), between), 1)).float()
        return {"fusion": (fused - batch.truth).abs().mean()}

    def _covered(self, folded: Tensor, dark: Tensor) -> Tensor:
        band = dark[:, None].to(folded.dtype)
        return folded * (1 - functional.max_pool2d(band, 2 * self.cover_px + 1, 1, self.cover_px))


def _off(flow: Tensor, error: float) -> Tensor:
    """Return a flow whose amplitude is wrong by a smooth share, drawn from torch's generator."""
    drawn = torch.randn(len(flow), 1, _KNOTS, _KNOTS, device=flow.device, dtype=flow.dtype).clamp(-2, 2)
    smooth = functional.interpolate(drawn, flow.shape[-2:], mode="bilinear", align_corners=True)
    return flow * (1 + error * smooth)
