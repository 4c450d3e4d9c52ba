"""The contrasts of a run: one for each number format and scale, so that none shows as seams and none spoils another."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np

from refocal.core.values import Contrast, Counts
from refocal.imaging.contrast import percentile_contrast

_APART = 50.0
"""Floating-point tiles whose largest counts differ by more than this factor are not of one scale."""
_SAMPLE_PIXELS = 1 << 16


@dataclass(frozen=True, slots=True)
class Contrasts:
    """Contrasts of the tiles that are not uint8.

    The counts of an integer format are of one scale. Those of floating-point formats are whatever a program made of
    them: 0 to 1 beside 0 to 65535.
    """

    known: tuple[tuple[str, Contrast], ...] = field(default=())
    """(dtype, contrast), the smaller scale first."""

    @classmethod
    def pooled(cls, samples: Iterable[Counts]) -> Self:
        """Return the contrasts of sampled pixels: one array for each tile, its no-data left out."""
        by_dtype: dict[str, list[Counts]] = {}
        for sample in samples:
            if sample.size:
                by_dtype.setdefault(sample.dtype.name, []).append(sample)
        groups = ((dtype, np.concatenate(group).astype(np.float64)) for dtype, group in _groups(by_dtype))
        found = [(dtype, percentile_contrast(counts)) for dtype, counts in groups]
        return cls(tuple(sorted(found, key=lambda item: (item[0], _reach(item[1])))))

    def of(self, counts: Counts) -> Contrast | None:
        """Return the contrast for a tile, None if no tile of its format and scale gave one."""
        alike = [contrast for dtype, contrast in self.known if dtype == counts.dtype.name]
        if not alike or counts.dtype.kind != "f":
            return alike[0] if alike else None
        largest = _largest(sampled(counts))
        nearest = min(alike, key=lambda contrast: _factor(_reach(contrast), largest))
        return nearest if largest == 0 or _factor(_reach(nearest), largest) <= _APART else None

    def adding(self, counts: Counts) -> Self:
        """Return these, and one more from the counts of a tile."""
        more = type(self).pooled([sampled(counts)])
        return type(self)((*self.known, *more.known))

    @property
    def said(self) -> str:
        """For people: what the contrasts are, empty where there is only one."""
        if len(self.known) < 2:
            return ""
        each = (f"{dtype} {contrast.low:g} to {contrast.high:g}" for dtype, contrast in self.known)
        return f"tiles differ in number format or scale, and each kind has a contrast of its own: {', '.join(each)}"

    @property
    def logged(self) -> list[Any] | None:
        """As the log says it: a pair where there is one contrast, else (dtype, low, high) of each; None for none."""
        if len(self.known) < 2:
            return next(([contrast.low, contrast.high] for _, contrast in self.known), None)
        return [[dtype, contrast.low, contrast.high] for dtype, contrast in self.known]


def sampled(counts: Counts) -> Counts:
    """Return some of the finite counts of an image, evenly spread."""
    some = counts.ravel()[:: max(1, counts.size // _SAMPLE_PIXELS)]
    return some[np.isfinite(some)] if some.dtype.kind == "f" else some


def _groups(by_dtype: dict[str, list[Counts]]) -> Iterable[tuple[str, Sequence[Counts]]]:
    for dtype, samples in by_dtype.items():
        if samples[0].dtype.kind != "f":
            yield dtype, samples
            continue
        ordered = sorted(samples, key=_largest)
        group = [ordered[0]]
        for sample in ordered[1:]:
            if _largest(group[-1]) > 0 and _factor(_largest(group[-1]), _largest(sample)) > _APART:
                yield dtype, group
                group = []
            group.append(sample)
        yield dtype, group


def _largest(counts: Counts) -> float:
    return float(np.percentile(np.abs(counts.astype(np.float64)), 99.9)) if counts.size else 0.0


def _reach(contrast: Contrast) -> float:
    return max(abs(contrast.low), abs(contrast.high))


def _factor(a: float, b: float) -> float:
    low, high = sorted((a, b))
    return high / low if low > 0 else float("inf")
