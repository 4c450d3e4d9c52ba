"""What mistakes cost, and the thresholds that follow.

A restored tile is bad where its error is `bad_db` larger than that of the same tissue in focus, restored (3 dB: twice
the power). Taking again is worth it where P(bad after restoring) x cost of a bad tile > cost of a retake. P comes from
the errors that the regressor made on tiles it had not seen, so this is a threshold on the predicted loss, and as well
on its lower bound. Where more tiles than the budget of a section would be retaken, the threshold is lowered until
the budget is kept.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from refocal.core import registry
from refocal.core.errors import TileError, UsageError
from refocal.engine.tiles.tiles import TileSource, estimate_contrast
from refocal.eventlog.current import Current, latest
from refocal.eventlog.fields import Event, number
from refocal.imaging.focus_features import Vector
from refocal.models.calibration import Bounded, Costs, Regressor, Thresholds

PAPER = "11.5 % soft (the 8 to 15 % of multi-beam acquisitions), softer than good by a half-normal blur of 1.5 px"
_SOFT_SHARE, _SOFT_PX = 0.115, 1.5
_WIDTH_PX = 0.3
RETAKES_BEARABLE = 0.02
"""Above this share of tiles a run is interrupted for retakes at least once a day."""


@dataclass(frozen=True, slots=True)
class Prices:
    """What is asked of the cost model."""

    retake: float = 1.0
    bad: float = 10.0
    budget: float = 1.0
    bad_db: float = 3.0
    """Loss against restored good tiles from which on a restored tile is bad."""


@dataclass(frozen=True, slots=True)
class HeldOutSamples:
    """The samples at native noise as the gate would see them in tiles that it was not fitted to."""

    sigma_px: Vector
    blur: Sequence[Bounded]
    relative: Sequence[Bounded]
    truth: Vector
    """What `relative` really was, dB."""


@dataclass(frozen=True, slots=True)
class BlurDistribution:
    """The blurs beyond native, px, of the tiles to come, and where that is known from."""

    sigma_px: Vector
    words: str


def paper_mix() -> BlurDistribution:
    """Return the blurs that the literature reports: 8 to 15 % soft tiles."""
    soft = _SOFT_PX * np.array([_half_normal(q) for q in (np.arange(115) + 0.5) / 115])
    return BlurDistribution(np.concatenate([np.zeros(885), soft]), PAPER)


def _half_normal(q: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf(0.5 + q / 2))


def costs(
    held_out: HeldOutSamples,
    mix: BlurDistribution,
    prices: Prices,
    limits: Thresholds,
    *,
    limited: bool,
    overrides: int,
) -> Costs:
    """Return the record of the costs with the shares to be expected under the thresholds."""
    rates, bad = expected(held_out, mix, limits, prices)
    return Costs(
        retake=prices.retake, bad=prices.bad, budget=prices.budget, bad_db=prices.bad_db, rates=rates,
        bad_share=bad, mix=mix.words, limited=limited, overrides=overrides,
    )  # fmt: skip


def thresholds(
    held_out: HeldOutSamples, relative: Regressor, mix: BlurDistribution, prices: Prices, start: Thresholds
) -> tuple[Thresholds, bool]:
    """Return the thresholds that the costs choose, and whether the budget had to lower the one for retakes."""
    limits = start.model_copy(update={"least_db": _worthwhile(relative, prices)})
    if expected(held_out, mix, limits, prices)[0]["retake"] <= prices.budget:
        return limits, False
    for level in sorted({q.low for q in held_out.relative if q.low < limits.least_db}, reverse=True):
        lower = limits.model_copy(update={"least_db": level})
        if expected(held_out, mix, lower, prices)[0]["retake"] <= prices.budget:
            return lower, True
    lowest = min((q.low for q in held_out.relative), default=limits.least_db)
    return limits.model_copy(update={"least_db": min(limits.least_db, lowest)}), True


def _worthwhile(relative: Regressor, prices: Prices) -> float:
    """Return the lower bound of the relative quality below which a retake costs less than the risk of a bad tile."""
    share = prices.retake / prices.bad
    if share >= 1:
        return relative.limits[0] - 1000.0
    means = np.linspace(relative.limits[0] - 1, relative.limits[1] + 1, 400)
    risky = [float(m) for m in means if relative.below(float(m), -prices.bad_db) > share]
    return relative.around(max(risky, default=relative.limits[0] - 1)).low


def expected(
    held_out: HeldOutSamples, mix: BlurDistribution, limits: Thresholds, prices: Prices
) -> tuple[dict[str, float], float]:
    """Return the expected share of each verdict over a mix, and that of tiles restored but bad.

    For each blur of the mix the samples of about that blur (Gaussian window of 0.3 px) vote.
    """
    verdicts = np.array([limits.verdict(b, q) for b, q in zip(held_out.blur, held_out.relative, strict=True)])
    blurs, counts = np.unique(np.round(mix.sigma_px, 2), return_counts=True)
    share = (counts / counts.sum()) @ _votes(held_out.sigma_px, blurs)
    rates = {name: float(share[verdicts == name].sum()) for name in ("keep", "restore", "retake")}
    return rates, float(share[(verdicts == "restore") & (held_out.truth < -prices.bad_db)].sum())


def _votes(known: Vector, blurs: Vector) -> Vector:
    """Return the weight of each sample (columns, blur `known`) for each blur (rows); rows add up to one."""
    weights = np.exp(-(((blurs[:, None] - known[None]) / _WIDTH_PX) ** 2) / 2)
    # Beyond the softest sample the softest ones speak, and for tiles as good as the good ones these alone.
    weights[blurs > known.max()] = known >= known.max() - _WIDTH_PX
    if (known == 0).any():
        weights[blurs == 0] = known == 0
    votes: Vector = weights / weights.sum(1, keepdims=True)
    return votes


@dataclass(frozen=True, slots=True)
class OperatorVerdict:
    """A person's verdict about a tile, and what the gate had measured; blur beyond native."""

    verdict: str
    sigma_px: float


def observed(events: Iterable[Event], native_px: float, words: str) -> BlurDistribution:
    """Return the blurs beyond native of the latest tile events of a log.

    Raises
    ------
    UsageError
        If none has a blur.
    """
    seen = list(events)
    kinds = _kinds(seen)
    blurs = [sigma for event in latest(seen).values() if (sigma := _beyond(event, kinds, native_px)) is not None]
    if not blurs:
        raise UsageError(f"{words}: holds no graded tile; give the log of a run, or a folder of tiles")
    return BlurDistribution(np.array(blurs), f"{len(blurs)} tiles of {words}")


def graded(inputs: Sequence[Path], native_px: float, words: str) -> BlurDistribution:
    """Return the blurs beyond native of the tiles in files and folders.

    Raises
    ------
    UsageError
        If there are no images, or none has a blur.
    """
    source = TileSource(inputs)
    source.contrast = estimate_contrast(source)
    gate = registry.make("gates", "sharpness", native_px=native_px)
    blurs = []
    for block in source:
        try:
            blurs.append(gate(source.read(block)).sigma_px)
        except TileError:
            continue
    known = [sigma for sigma in blurs if sigma is not None]
    if not known:
        raise UsageError(f"{words}: holds no tile whose blur can be measured; give tiles as they come")
    return BlurDistribution(np.array(known), f"{len(known)} tiles of {words}")


def operator_verdicts(events: Iterable[Event], native_px: float) -> list[OperatorVerdict]:
    """Return what operators said in the overrides of a log, the latest for each tile that has a blur.

    Verdicts on a file that has been rewritten since are left out: it was another image.
    """
    seen = list(events)
    kinds, current = _kinds(seen), Current(seen)
    found = []
    for key, verdict in current.verdicts.items():
        sigma = _beyond(current.tiles[key], kinds, native_px)
        if sigma is not None:
            found.append(OperatorVerdict(verdict, sigma))
    return found


def _kinds(events: Iterable[Event]) -> dict[str, str]:
    """Return the kind of gate of each job in a log."""
    jobs = [e for e in events if e["event"] == "job" and isinstance(e.get("job"), dict)]
    return {str(e.get("job_sha256")): str((e["job"].get("gate") or {}).get("kind")) for e in jobs}


def _beyond(event: Event, kinds: dict[str, str], native_px: float) -> float | None:
    """Return the blur of a tile event beyond native: the gate `sharpness` counts all of it."""
    sigma = number(event.get("sigma_px"))
    if sigma is None or kinds.get(str(event.get("job_sha256"))) == "calibrated":
        return sigma
    return math.sqrt(max(0.0, sigma**2 - native_px**2))


def shift(limits: Thresholds, said: Sequence[OperatorVerdict], blur: Regressor, held_out: HeldOutSamples) -> Thresholds:
    """Move thresholds to where they contradict the fewest verdicts; ties stay nearest to where they were.

    `keep_px` divides "keep" from the others by the upper bound of blur, between half and twice its value; `least_db`
    divides "retake" from the others by the lower bound of relative quality that samples of such a blur have, within
    3 dB.
    """
    blurs = [(blur.around(s.sigma_px).high, s.verdict == "keep") for s in said]
    keep = _divide(blurs, limits.keep_px, limits.keep_px / 2, min(2 * limits.keep_px, 0.99 * limits.softest_px))
    lows = np.array([bound.low for bound in held_out.relative])
    near = _votes(held_out.sigma_px, np.array([s.sigma_px for s in said])) if said else np.zeros((0, len(lows)))
    levels = [(float(low), s.verdict == "retake") for low, s in zip(near @ lows, said, strict=True)]
    least = _divide(levels, limits.least_db, limits.least_db - 3, limits.least_db + 3)
    return limits.model_copy(update={"keep_px": keep, "least_db": least})


def _divide(points: Sequence[tuple[float, bool]], start: float, low: float, high: float) -> float:
    """Return the value that has the most True points below it and False ones above, in low..high."""
    edges = sorted({value for value, _ in points})
    middles = [start, *((a + b) / 2 for a, b in pairwise(edges))]
    middles += [edges[0] - 1e-3, edges[-1] + 1e-3] if edges else []

    def wrong(at: float) -> tuple[int, float]:
        return sum((value < at) != below for value, below in points), abs(at - start)

    return min((m for m in middles if low <= m <= high and math.isfinite(m)), key=wrong)
