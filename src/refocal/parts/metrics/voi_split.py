"""The part of the variation of information that splits cause; lower is better."""

from collections.abc import Sequence

from refocal.core.values import Labels
from refocal.parts.metrics._contingency import Zero
from refocal.parts.metrics._information import split_and_merge

__all__ = ["voi_split"]


def voi_split(
    got: Labels,
    truth: Labels,
    *,
    ignore_truth: Sequence[int] = (0,),
    border_px: float | None = None,
    zero: Zero = "label",
    base: float = 2.0,
) -> float:
    """Return H(S|G), what is left to know of the segment when the cell is known: 0 if no cell is split.

    Labels, options and errors are those of `voi`.
    """
    return split_and_merge(got, truth, ignore_truth, border_px, zero, base)[0]
