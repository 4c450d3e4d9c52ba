"""Adapted Rand error of a segmentation; lower is better."""

from collections.abc import Sequence

from refocal.core.values import Labels
from refocal.parts.metrics._contingency import Zero, contingency

__all__ = ["arand"]


def arand(
    got: Labels,
    truth: Labels,
    *,
    ignore_truth: Sequence[int] = (0,),
    border_px: float | None = None,
    zero: Zero = "singletons",
) -> float:
    """Return 1 - 2 P R / (P + R) of two label images, (y, x) or (section, y, x): 0 is perfect, 1 the worst.

    Precision P = sum n_gs^2 / sum b_s^2 falls with merges, recall R = sum n_gs^2 / sum a_g^2 with splits, where n_gs is
    the number of pixels in cell g and segment s, and a_g, b_s are the sizes (Arganda-Carreras et al. 2015; CREMI).
    Pairs of a pixel with itself count. The options are explained in `_contingency`; the defaults are
    those of CREMI, with singletons counted as one pixel each. Raises `BadOptionError` if these are no labels of one
    shape.
    """
    table = contingency(got, truth, ignore_truth, border_px, zero)
    both, cells, segments = (float((sizes**2).sum()) for sizes in (table.both, table.cells, table.segments))
    return 1 - 2 * both / (cells + segments)
