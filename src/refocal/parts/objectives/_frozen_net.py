"""Trained nets that objectives ask while another net learns."""

from pathlib import Path

import torch
from torch import Tensor, nn

from refocal.models import header, torch_weights


class FrozenNet:
    """A trained net that does not learn and is not saved with what does; None is a stand-in without weights."""

    def __init__(self, model: str | None) -> None:
        self._net: nn.Module | None = None
        if model is not None:
            self._net = torch_weights.load(header.find(Path(model))).requires_grad_(False)

    def __bool__(self) -> bool:
        """Say whether there is a net."""
        return self._net is not None

    def __call__(self, images: Tensor) -> Tensor:
        """Return the net's answer."""
        assert self._net is not None
        with torch.no_grad():
            answer: Tensor = self._net.to(images.device).eval()(images).float()
        return answer
