"""A loss between absolute and squared error."""

from torch import Tensor, nn


class Cubed(nn.Module):
    """Mean of the absolute error to the power of three halves."""

    def forward(self, net: nn.Module, batch) -> dict[str, Tensor]:
        return {"cubed": ((net(batch.frames) - batch.truth).abs() + 1e-6).pow(1.5).mean()}
