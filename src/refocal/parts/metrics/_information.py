"""Conditional entropies of two partitions of the same pixels."""

import math
from collections.abc import Sequence

import numpy as np

from refocal.core.errors import BadOptionError
from refocal.core.values import Labels
from refocal.parts.metrics._contingency import Sizes, Zero, contingency


def split_and_merge(
    got: Labels, truth: Labels, ignore_truth: Sequence[int], border_px: float | None, zero: Zero, base: float
) -> tuple[float, float]:
    """Return H(segments | cells) and H(cells | segments) in units of log `base`."""
    if not base > 1:
        raise BadOptionError(f"the base of a logarithm is above 1, got {base}")
    table = contingency(got, truth, ignore_truth, border_px, zero)
    both, cells, segments = (_entropy(s, table.total) for s in (table.both, table.cells, table.segments))
    # Rounding may leave -1e-16 where a partition refines the other.
    return max(0.0, both - cells) / math.log(base), max(0.0, both - segments) / math.log(base)


def _entropy(sizes: Sizes, total: float) -> float:
    share = sizes / total
    return -float((share * np.log(share)).sum())
