"""From samples to regressors with bounds.

A ridge on the 84 cubic terms. Its errors are taken from samples of tiles that were left out of the fit (cross-fitting
by tile), divided by a scale that grows with the prediction, and pooled so that each tile weighs the same. A bound at
level L is the quantile of these at L (G + 1) / G for G tiles: the tile to come counts as one more, at infinity
(hierarchical conformal prediction: Lee, Barber and Willett 2023). Below nine tiles that is the largest error there is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from refocal.imaging.focus_features import Vector
from refocal.models.calibration import LEVEL, Range, Regressor

_RIDGES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Tried strengths, in units of the number of samples / 1000."""
_FOLDS = 10
_QUANTILES = 41
_INSIDE = 0.995
_FARTHER = 1.15


@dataclass(frozen=True, slots=True)
class Fitted:
    """A regressor and what it says of samples whose tile it has not seen."""

    regressor: Regressor
    unseen: Vector


def fit_range(raw: Vector, tiles: Vector) -> Range:
    """Learn which features are known; `raw` is (sample, 6), `tiles` the tile of each sample."""
    mean, sd = raw.mean(0), np.maximum(raw.std(0), 1e-3)
    z = (raw - mean) / sd
    # A feature that hardly varies must not make every new tile an outlier: 5 % of its spread is added.
    inverse = np.linalg.inv(np.cov(z.T) + 0.05 * np.eye(z.shape[1]))
    distance = np.sqrt(np.einsum("ni,ij,nj->n", z, inverse, z))
    return Range(
        mean=mean.tolist(),
        sd=sd.tolist(),
        lowest=z.min(0).tolist(),
        highest=z.max(0).tolist(),
        inverse_covariance=inverse.tolist(),
        farthest=_FARTHER * quantile(distance, tiles, _INSIDE),
    )


def fit(known: Range, raw: Vector, truth: Vector, tiles: Vector) -> Fitted:
    """Fit one regressor; `truth` and `tiles` have one entry per row of `raw`."""
    terms = np.stack([known.terms(row) for row in raw])
    folds = tiles % min(_FOLDS, len(np.unique(tiles)))
    limits = float(truth.min()), float(truth.max())
    tried: list[tuple[float, float, Vector]] = []
    for ridge in _RIDGES:
        unseen: Vector = np.empty(len(truth))
        for fold in np.unique(folds):
            out = folds == fold
            unseen[out] = np.clip(terms[out] @ _solve(terms[~out], truth[~out], ridge), *limits)
        tried.append((float(((unseen - truth) ** 2).mean()), ridge, unseen))
    _, ridge, best = min(tried, key=lambda t: t[:2])
    spread = _spread(best, np.abs(truth - best))
    scale = np.maximum(spread[0], spread[1] + spread[2] * best)
    errors = (truth - best) / scale
    regressor = Regressor(
        coefficients=_solve(terms, truth, ridge).tolist(),
        spread=spread,
        low=min(0.0, -quantile(-errors, tiles, LEVEL, unseen_tile=True)),
        high=max(0.0, quantile(errors, tiles, LEVEL, unseen_tile=True)),
        errors=[quantile(errors, tiles, q) for q in np.linspace(0, 1, _QUANTILES)],
        limits=limits,
    )
    return Fitted(regressor, best)


def quantile(values: Vector, tiles: Vector, level: float, *, unseen_tile: bool = False) -> float:
    """Return a quantile of values in which each tile weighs the same; with `unseen_tile` one more lies at infinity."""
    names, index, counts = np.unique(tiles, return_inverse=True, return_counts=True)
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(1 / counts[index][order]) / len(names)
    wanted = level * (len(names) + 1) / len(names) if unseen_tile else level
    at = min(int(np.searchsorted(reached, wanted - 1e-9)), len(values) - 1)
    return float(values[order][at])


def _solve(terms: Vector, truth: Vector, ridge: float) -> Vector:
    """Return the ridge solution; the constant term is not held back."""
    penalty = np.full(terms.shape[1], ridge * len(terms) / 1000)
    penalty[0] = 0.0
    solution: Vector = np.asarray(
        np.linalg.solve(terms.T @ terms + np.diag(penalty + 1e-9), terms.T @ truth), np.float64
    )
    return solution


def _spread(predicted: Vector, error: Vector) -> tuple[float, float, float]:
    """Return the scale of errors over predictions: a line that never falls below a third of their mean."""
    mean = float(error.mean())
    slope, constant = np.polyfit(predicted, error, 1) if np.ptp(predicted) > 0 else (0.0, mean)
    return max(mean / 3, 1e-6), float(constant), float(slope)


def spearman(a: Sequence[float] | Vector, b: Sequence[float] | Vector) -> float:
    """Return the rank correlation of two sequences."""
    from scipy.stats import spearmanr

    return float(spearmanr(a, b).statistic)
