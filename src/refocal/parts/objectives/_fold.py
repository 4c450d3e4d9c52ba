"""What the objectives for folds share: the reference that a trained net gives."""

from torch import Tensor

from refocal.parts.objectives._frozen_net import FrozenNet


def reference(interpolation: FrozenNet, frames: Tensor) -> Tensor:
    """Return the flat reference of (batch, 3, y, x) frames: interpolated, or the mean of the neighbours."""
    neighbours = frames[:, ::2]
    return interpolation(neighbours) if interpolation else neighbours.mean(1, keepdim=True)
