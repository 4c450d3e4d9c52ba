"""What a training step hands to an objective."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Batch:
    """A stack of examples of one size, in contrast units."""

    frames: Tensor
    """(batch, frame, y, x)."""
    truth: Tensor
    """(batch, 1, y, x)."""
    hints: Mapping[str, Tensor] = field(default_factory=dict)
