"""Calibrate the gate to one microscope and one specimen.

    good tiles -> series of blur and noise on them -> the real restorer -> features, blur, noise, quality
               -> small regressors with bounds -> costs -> thresholds -> calibration.json

Everything is a function of the tiles, the restorer and the seed. `refocal.parts.gates.calibrated` uses the document.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.atomic import writing
from refocal.core.errors import UsageError
from refocal.core.values import LearnedRestorer, Restorer
from refocal.core.version import __version__
from refocal.microscope.calibrate.blur_series import BlurSeries, Sample
from refocal.microscope.calibrate.costs import (
    BlurDistribution,
    HeldOutSamples,
    OperatorVerdict,
    Prices,
    costs,
    paper_mix,
    shift,
    thresholds,
)
from refocal.microscope.calibrate.fit import Fitted, fit, fit_range, quantile, spearman
from refocal.microscope.calibrate.reference_tiles import ReferenceTile
from refocal.models.calibration import Bounded, Calibration, GoodTile, Range, Thresholds, sealed

__all__ = ["Calibrated", "calibrate", "write"]

SERIES, PRICES = BlurSeries(), Prices()
_KEEP_PX = 0.8
_KEPT = 0.95
"""Share of the good tiles that the default of keep_px keeps."""
Step = Callable[[int, int], None]
"""Called with the samples done and their number."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """A calibration and the samples it was made from, for tables and pictures."""

    calibration: Calibration
    samples: Sequence[Sample]
    scores: dict[str, float]
    """How well unseen tiles are predicted: mean absolute errors and rank correlations."""


def calibrate(
    goods: Sequence[ReferenceTile],
    restorer: Restorer,
    *,
    name: str,
    date: str,
    series: BlurSeries = SERIES,
    prices: Prices = PRICES,
    mix: Callable[[float], BlurDistribution] | None = None,
    persons: Callable[[float], list[OperatorVerdict]] | None = None,
    step: Step | None = None,
) -> Calibrated:
    """Learn from good tiles what blur, noise and restored quality look like, and where the thresholds belong.

    Parameters
    ----------
    goods
        See `good_tiles`.
    restorer
        The one that will restore; it is run on every sample.
    name, date
        Of the restorer and the day, for the record.
    mix, persons
        The blurs to come, and the verdicts of persons, from the native blur; without them the literature's mix and no
        verdicts.
    step
        Called after each sample.

    Raises
    ------
    UsageError
        If too few samples have content.
    """
    samples = _samples(goods, restorer, series, step)
    learned = _learn(samples)
    native_px = float(np.median([g.sigma_px or 0.0 for g in goods]))
    held_out = _held_out(samples, learned)
    start = Thresholds(
        keep_px=_keep_px(samples, learned, series), least_db=-prices.bad_db, softest_px=series.softest_px
    )
    tiles_to_come = (mix or (lambda _: paper_mix()))(native_px)
    limits, limited = thresholds(held_out, learned.relative.regressor, tiles_to_come, prices, start)
    said = persons(native_px) if persons else []
    limits = shift(limits, said, learned.blur.regressor, held_out)
    record = costs(held_out, tiles_to_come, prices, limits, limited=limited, overrides=len(said))
    facts = {
        "date": date, "restorer": name, "model_sha256": _model_sha256(restorer), "native_px": native_px,
        "thresholds": limits, "costs": record,
    }  # fmt: skip
    made = _document(goods, learned, series, len(samples), facts)
    return Calibrated(sealed(made), samples, learned.scores)


def _samples(goods: Sequence[ReferenceTile], restorer: Restorer, series: BlurSeries, step: Step | None) -> list[Sample]:
    """Return the samples of all tiles."""
    samples: list[Sample] = []
    for i, good in enumerate(goods):
        for done, sample in enumerate(series.samples(i, good, restorer), 1):
            samples.append(sample)
            if step:
                step(i * series.each + done, len(goods) * series.each)
    if len({s.tile for s in samples}) < 3 or len(samples) < 4 * len(goods):
        raise UsageError("the tiles have too little content to calibrate with: give tiles that are full of tissue")
    return samples


def _document(
    goods: Sequence[ReferenceTile], learned: "_Learned", series: BlurSeries, samples: int, facts: Mapping[str, Any]
) -> Calibration:
    """Return the document; `facts` are those that others decided."""
    return Calibration(
        refocal=__version__,
        seed=series.seed,
        pixel_nm=next((g.pixel_nm for g in goods if g.pixel_nm is not None), None),
        crop_px=series.crop_px,
        samples=samples,
        native_noise=float(np.median([g.noise for g in goods])),
        range=learned.known,
        blur=learned.blur.regressor,
        noise=learned.noise.regressor,
        quality=learned.quality.regressor,
        ssim=learned.ssim.regressor,
        relative=learned.relative.regressor,
        tiles=[GoodTile(name=g.name, sha256=g.sha256, sigma_px=g.sigma_px) for g in goods],
        **facts,
    )


@dataclass(frozen=True, slots=True)
class _Learned:
    known: Range
    scores: dict[str, float]
    blur: Fitted
    noise: Fitted
    quality: Fitted
    ssim: Fitted
    relative: Fitted


def _learn(samples: Sequence[Sample]) -> _Learned:
    raw = np.array([s.features for s in samples])
    tiles = np.array([s.tile for s in samples])
    known = fit_range(raw, tiles)
    blur = np.array([s.sigma_px for s in samples])
    noise = np.log([max(s.noise, 1e-4) for s in samples])
    psnr, ssim, relative = (np.array([getattr(s, what) for s in samples]) for what in ("psnr", "ssim", "relative"))
    fits = [fit(known, raw, truth, tiles) for truth in (blur, noise, psnr, ssim, relative)]
    scores = {
        "blur_mae_px": float(np.abs(fits[0].unseen - blur).mean()),
        "blur_rank": spearman(fits[0].unseen, blur),
        "noise_error": float(np.abs(np.expm1(fits[1].unseen - noise)).mean()),
        "quality_mae_db": float(np.abs(fits[2].unseen - psnr).mean()),
        "quality_rank": spearman(fits[2].unseen, psnr),
        "ssim_mae": float(np.abs(fits[3].unseen - ssim).mean()),
        "relative_mae_db": float(np.abs(fits[4].unseen - relative).mean()),
        "relative_rank": spearman(fits[4].unseen, relative),
    }
    return _Learned(known, scores, *fits)


def _bounds(fitted: Fitted) -> list[Bounded]:
    return [fitted.regressor.around(float(mean)) for mean in fitted.unseen]


def _held_out(samples: Sequence[Sample], learned: _Learned) -> HeldOutSamples:
    """Return what the gate would make of the samples at native noise, in tiles that it was not fitted to."""
    native = np.array([s.native for s in samples])
    blur, relative = (
        [b for b, n in zip(_bounds(f), native, strict=True) if n] for f in (learned.blur, learned.relative)
    )
    sigma, truth = (np.array([getattr(s, what) for s in samples])[native] for what in ("sigma_px", "relative"))
    return HeldOutSamples(sigma, blur, relative, truth)


def _keep_px(samples: Sequence[Sample], learned: _Learned, series: BlurSeries) -> float:
    """Return the upper bound of blur below which 95 % of the good tiles themselves lie, at least 0.8 px."""
    sharp = np.array([s.native and s.sigma_px == 0 for s in samples])
    upper = np.array([b.high for b in _bounds(learned.blur)])[sharp]
    own = quantile(upper, np.array([s.tile for s in samples])[sharp], _KEPT) if sharp.any() else 0.0
    return min(max(_KEEP_PX, own + 1e-3), series.softest_px / 2)


def _model_sha256(restorer: Restorer) -> str | None:
    return restorer.model_sha256 if isinstance(restorer, LearnedRestorer) else None


def write(made: Calibration, path: Path) -> None:
    """Write a calibration, whole or not at all.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    with writing(path) as part:
        part.write_text(made.model_dump_json(indent=1) + "\n", encoding="utf-8")
