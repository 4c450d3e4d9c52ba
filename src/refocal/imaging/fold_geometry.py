"""Fold-line geometry: where a fold of the support film hides a section, and how it moves its surroundings.

A fold swallows the band |s| < lost_px of the flat section, s being the signed distance to its line, and shows the dark
band |s| <= dark_px in the image. What is left moves towards the line, by less and less with the distance. With
w1 = dark_px, w2 = lost_px and c = decay:

    unfolding, seen from the flat section    A_u(d) = max(0, (w2 - w1) - c (d - w2))              d >= w2
    folding, seen from the image             A_f(d) = max(0, (w2 - w1) - c / (1 + c) (d - w1))    d >  w1

    image(p) = flat(p + F(p)),     F = +sign(s) A_f(|s|) n          away from the line, on both sides
    flat(p) = image(p + U(p)),     U = -sign(s) A_u(|s|) n          towards the line

n is the unit normal. The two are exactly inverse outside the lost band, for every direction of the line, because no
slope is ever formed. Inside it U is -s (w2 - w1) / w2 n, which is continuous and stays in the dark band. (Huang et al.
2020, algorithm 1, with the sign of the sides, vertical lines and the anchor of the folding put right.)

A line has two or more points; the first and the last segment extend without end. On the concave side of a bend the
fields are exact up to the radius of the bend. Positions are pixels, displacements (2, ...) in the order (y, x); a field
is to be sampled backwards: the value at p comes from p + field(p).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Mask = NDArray[np.bool_]
Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold of the support film; lengths are pixels."""

    points: tuple[Point, ...]
    """Two or more points of the line, (x, y)."""
    dark_px: float
    """Half-width of the dark band in the image."""
    lost_px: float
    """Half-width of what is hidden of the flat section."""
    decay: float = 0.02
    """Loss of displacement per pixel of distance, above 0 and below 1."""

    def __post_init__(self) -> None:
        """Refuse fewer than two points, and folds that pull apart."""
        if len(self.points) < 2 or any(a == b for a, b in pairwise(self.points)):
            raise ValueError(f"a fold needs two or more different points, got {self.points}")
        if not 0 <= self.dark_px <= self.lost_px or not 0 < self.decay < 1:
            raise ValueError(
                "a fold needs 0 <= dark_px <= lost_px and 0 < decay < 1, "
                f"got {self.dark_px}, {self.lost_px} and {self.decay}"
            )

    @property
    def reach_px(self) -> float:
        """Distance from the line beyond which nothing of the flat section moves."""
        return self.lost_px + (self.lost_px - self.dark_px) / self.decay


def distance(points: Sequence[Point], y: NDArray[Any], x: NDArray[Any]) -> tuple[Reals, Reals]:
    """Return the signed distance of positions to a line, and the unit normals (2, ...) along which it grows.

    The normal of a line that runs along +x is +y.
    """
    corners = np.asarray(points, np.float64)
    last = len(corners) - 2
    best: Reals = np.full(np.broadcast(y, x).shape, np.inf)
    signed, normal = np.zeros_like(best), np.zeros((2, *best.shape))
    for i, (start, end) in enumerate(pairwise(corners)):
        along = (end - start) / np.hypot(*(end - start))
        dx, dy = x - start[0], y - start[1]
        t, s = dx * along[0] + dy * along[1], dy * along[0] - dx * along[1]
        ends = (-np.inf if i == 0 else 0.0, np.inf if i == last else float(np.hypot(*(end - start))))
        beyond = t - np.clip(t, *ends)
        away = np.hypot(s, beyond)
        nearer = away < best
        best[nearer] = away[nearer]
        side = np.where(s < 0, -1.0, 1.0)
        signed[nearer] = (side * away)[nearer]
        # Beyond a corner the nearest point is the corner itself.
        with np.errstate(invalid="ignore", divide="ignore"):
            across = np.where(away > 0, s / away, 1.0) * side, np.where(away > 0, beyond / away, 0.0) * side
        normal[0][nearer] = (across[0] * along[0] + across[1] * along[1])[nearer]
        normal[1][nearer] = (-across[0] * along[1] + across[1] * along[0])[nearer]
    return signed, normal


def folding(folds: Sequence[Fold], y: NDArray[Any], x: NDArray[Any]) -> Reals:
    """Return for positions in the image the displacement to where their content lies in the flat section.

    Inside the dark band, which shows nothing, the displacement falls smoothly to zero at the line. The folds were
    made in the order of the sequence.
    """
    place = _stacked(y, x)
    for fold in reversed(folds):
        s, normal = distance(fold.points, *place)
        d, shift = np.abs(s), fold.lost_px - fold.dark_px
        outside = np.maximum(0.0, shift - fold.decay / (1 + fold.decay) * (d - fold.dark_px))
        place += np.sign(s) * np.where(d > fold.dark_px, outside, _share(d, fold.dark_px) * shift) * normal
    return place - _stacked(y, x)


def unfolding(
    folds: Sequence[Fold], y: NDArray[Any], x: NDArray[Any], inside: Literal["linear", "centre"] = "linear"
) -> Reals:
    """Return for positions in the flat section the displacement to where their content lies in the image.

    `inside` says where the lost band is sampled from: `linear` is continuous, `centre` takes all of it from the line.
    Both are dark.
    """
    place = _stacked(y, x)
    for fold in folds:
        s, normal = distance(fold.points, *place)
        place -= np.sign(s) * pulled_in(fold, np.abs(s), inside) * normal
    return place - _stacked(y, x)


def pulled_in(fold: Fold, d: Reals, inside: Literal["linear", "centre"] = "linear") -> Reals:
    """Return how far towards the line lies in the image what is at distance d from it in the flat section."""
    shift = fold.lost_px - fold.dark_px
    outside = np.maximum(0.0, shift - fold.decay * (d - fold.lost_px))
    within = _share(d, fold.lost_px) * shift if inside == "linear" else d
    amplitude: Reals = np.where(d >= fold.lost_px, outside, within)
    return amplitude


def lost(folds: Sequence[Fold], y: NDArray[Any], x: NDArray[Any]) -> Mask:
    """Say which positions of the flat section are hidden in a fold."""
    place = _stacked(y, x)
    hidden: Mask = np.zeros(place.shape[1:], np.bool_)
    for fold in folds:
        hidden |= np.abs(distance(fold.points, *place)[0]) < fold.lost_px
        place += unfolding([fold], *place)
    return hidden


def dark(folds: Sequence[Fold], y: NDArray[Any], x: NDArray[Any]) -> Mask:
    """Say which positions of the image lie in a dark band."""
    place = _stacked(y, x)
    shown: Mask = np.zeros(place.shape[1:], np.bool_)
    for fold in reversed(folds):
        shown |= np.abs(distance(fold.points, *place)[0]) <= fold.dark_px
        place += folding([fold], *place)
    return shown


def pixels(shape: tuple[int, ...]) -> tuple[Reals, Reals]:
    """Return the positions (y, x) of the pixels of an image."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    return y, x


def _share(d: Reals, half_px: float) -> Reals:
    share: Reals = np.minimum(d, half_px) / (half_px or 1.0)
    return share


def _stacked(y: NDArray[Any], x: NDArray[Any]) -> Reals:
    return np.stack(np.broadcast_arrays(np.asarray(y, np.float64), np.asarray(x, np.float64)))
