"""Losses of DeepDeblur and SRN: the results of all scales are compared with the truth at their size."""

from typing import Literal

from torch import Tensor, nn

from refocal.core.errors import BadOptionError
from refocal.parts.objectives._batch import Batch

__all__ = ["MultiScale"]


class MultiScale(nn.Module):
    """The sum over scales of the mean difference, for nets with `levels` and `forward(image, scales=True)`.

    Parameters
    ----------
    distance
        `l2` (both papers) or `l1` (the PyTorch code of DeepDeblur).
    """

    def __init__(self, distance: Literal["l1", "l2"] = "l2") -> None:
        super().__init__()
        if distance not in ("l1", "l2"):
            raise ValueError(f"distance must be l1 or l2, got {distance!r}")
        self.distance = distance

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        """Return one loss per scale, {"1/4": ..., "1/2": ..., "1/1": ...}.

        Raises
        ------
        BadOptionError
            If the net has one scale only.
        """
        if not hasattr(net, "levels"):
            raise BadOptionError(f"objective 'multi_scale' needs a net with scales, such as srn; got {_name(net)}")
        results, truths = net(batch.frames, scales=True), net.levels(batch.truth)  # type: ignore[operator]
        named = {}
        for got, want in zip(results, truths, strict=True):
            error = got.float() - want
            scale = f"1/{batch.truth.shape[2] // want.shape[2]}"
            named[scale] = (error.abs() if self.distance == "l1" else error.square()).mean()
        return named


def _name(net: nn.Module) -> str:
    return type(getattr(net, "module", net)).__name__
