"""Variation of information between a segmentation and the truth; lower is better."""

from collections.abc import Sequence

from refocal.core.values import Labels
from refocal.parts.metrics._contingency import Zero
from refocal.parts.metrics._information import split_and_merge

__all__ = ["voi"]


def voi(
    got: Labels,
    truth: Labels,
    *,
    ignore_truth: Sequence[int] = (0,),
    border_px: float | None = None,
    zero: Zero = "label",
    base: float = 2.0,
) -> float:
    """Return the sum of split and merge errors: H(S|G) + H(G|S).

    Label images are (y, x) or (section, y, x); in bits for `base` 2 (Meila 2007; CREMI). The options are explained in
    `_contingency`; the defaults are those of CREMI. Raises `BadOptionError` if these are no labels of
    one shape.
    """
    return sum(split_and_merge(got, truth, ignore_truth, border_px, zero, base))
