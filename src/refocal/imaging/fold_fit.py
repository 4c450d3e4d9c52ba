"""How far a fold pulled the section together, estimated from its flat neighbours: the classical unfolding."""

from collections.abc import Sequence

import cv2
import numpy as np

from refocal.core.values import Pixels
from refocal.imaging import fold_geometry
from refocal.imaging.fold_detection import DarkLine
from refocal.imaging.fold_geometry import Fold, Reals

_WORK_PX = 320
_SHIFTS = (0.5, 3.0, 6.0, 10.0, 14.0, 19.0, 25.0, 32.0, 40.0, 50.0, 62.0, 75.0)
_DECAYS = (0.003, 0.012, 0.03, 0.08)
_WORTH = 0.01
"""Correlation that pulling apart must gain; below it lies what noise gains."""


def pulled(line: DarkLine, folded: Pixels, flat: Sequence[Pixels]) -> Fold:
    """Return the fold along a line whose unfolding makes the section most like its flat neighbours.

    Widths and decay come from a search for the highest correlation next to the fold, on images of about 320 px. It is
    the mean over the neighbours: what lies between them by a net, or their mean, is softer, and the flow farther off.
    """
    scale = max(1, -(-max(folded.shape) // _WORK_PX))
    seen, *wanted = (_small(image, scale) for image in (folded, *flat))
    points = tuple(((x + 0.5) / scale - 0.5, (y + 0.5) / scale - 0.5) for x, y in line.points)
    half = line.half_px / scale

    s, normal = fold_geometry.distance(points, *fold_geometry.pixels(seen.shape))

    def score(shift: float, decay: float) -> float:
        fold = Fold(points, half, half + shift / scale, min(decay, 0.5))
        return _likeness(-np.sign(s) * fold_geometry.pulled_in(fold, np.abs(s)) * normal, np.abs(s), fold, seen, wanted)

    none = score(0.5, _DECAYS[0])
    best, shift, decay = max((score(s, d), s, d) for s in _SHIFTS[1:] for d in _DECAYS)
    for step in (0.25, 0.12, 0.06, 0.03, 0.015):
        around = [(shift * f, decay * g) for f in (1 - step, 1, 1 + step) for g in (1 - 2 * step, 1, 1 + 2 * step)]
        best, shift, decay = max((score(s, d), s, d) for s, d in around)
    if best < none + _WORTH:
        shift, decay = 0.5, _DECAYS[-1]
    return Fold(line.points, line.half_px, line.half_px + shift, min(decay, 0.5))


def _likeness(flow: Reals, d: Reals, fold: Fold, seen: Pixels, wanted: Sequence[Pixels]) -> float:
    """Return the mean correlation of the unfolded section with its neighbours, next to the lost band."""
    y, x = np.indices(seen.shape, np.float32) + flow
    inside = (y >= 0) & (y < seen.shape[0]) & (x >= 0) & (x < seen.shape[1])
    kept = inside & (d > fold.lost_px + 2) & (d < fold.lost_px + 120)
    if kept.sum() < 64:
        return -1.0
    unfolded = _normal(sampled(seen, flow)[kept])
    return float(np.mean([(unfolded * _normal(neighbour[kept])).mean() for neighbour in wanted]))


def _normal(values: Pixels) -> Pixels:
    centred: Pixels = (values - values.mean()) / max(float(values.std()), 1e-6)
    return centred


def sampled(image: Pixels, flow: Reals, cubic: bool = False) -> Pixels:
    """Return (y, x) pixels at p + flow(p), flow (2, y, x); the border is replicated."""
    y, x = fold_geometry.pixels(image.shape)
    mapped: Pixels = cv2.remap(
        image, (x + flow[1]).astype(np.float32), (y + flow[0]).astype(np.float32),
        cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return mapped


def _small(image: Pixels, scale: int) -> Pixels:
    height, width = (n // scale for n in image.shape)
    small = cv2.resize(image[: height * scale, : width * scale], (width, height), interpolation=cv2.INTER_AREA)
    blurred: Pixels = cv2.GaussianBlur(small, (0, 0), 1.2)
    return blurred
