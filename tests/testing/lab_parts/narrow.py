"""A net of two convolutions."""

from typing import Any, ClassVar

import torch
from torch import nn

from refocal.core.values import Reach


class Narrow(nn.Module):
    """Adds to an image what two convolutions find."""

    small_options: ClassVar[dict[str, Any]] = {"width": 2}
    inputs = 1
    outputs = 1
    frames = 1

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.reach = Reach(halo=2)
        self.seen = nn.Conv2d(1, width, 3, padding=1)
        self.change = nn.Conv2d(width, 1, 3, padding=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image + self.change(torch.tanh(self.seen(image)))
