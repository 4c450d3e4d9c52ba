"""Grids that a net leaves: transposed convolutions and unfolded channels repeat every 2 to 16 px; lower is better.

1 where there is no grid, by periods of 2, 4, 8 and 16 px:

    strength(period) = mean over the frequencies of that period of (power there / power of the frequencies around)

A pattern of period P has power at whole multiples of 1 / P cycles per pixel, and nowhere else; tissue and noise have a
smooth spectrum there. Odena et al. 2016 describe the artefact; the measure is our own.
"""

import math

import numpy as np

from refocal.core.values import Pixels
from refocal.parts.metrics._pair import Field, pair

__all__ = ["grid_artefact"]

PERIODS = (2, 4, 8, 16)
SMALLEST_PX = 128
_LONGEST = PERIODS[-1]
# A Hann window widens a peak to +-1 bin.
_NEAR, _FAR = 3, 6
_FLOOR = 1e-14


def grid_artefact(got: Pixels, truth: Pixels) -> float:
    """Return the largest strength of a grid in the error `got - truth` of two (y, x) images in contrast units.

    About 1 for an error without a grid, 0 for equal images. Raises `BadOptionError` if the shapes differ or a side is
    below 128 px.
    """
    a, b = pair(got, truth, smallest=SMALLEST_PX)
    return max(_strengths(a - b).values())


def strengths(image: Pixels) -> dict[int, float]:
    """Return the strength of a grid in a (y, x) image for each of the periods 2, 4, 8 and 16 px.

    For flat outputs and errors; what is really periodic, such as a calibration grid, counts too. Raises
    `BadOptionError` if a side is below 128 px.
    """
    return _strengths(pair(image, image, smallest=SMALLEST_PX)[0])


def _strengths(image: Field) -> dict[int, float]:
    height, width = (n // _LONGEST * _LONGEST for n in image.shape)
    field = image[:height, :width]
    field = (field - field.mean()) * np.outer(_hann(height), _hann(width))
    power = np.abs(np.fft.fft2(field)) ** 2 / field.size
    if not power.max() > _FLOOR:
        return dict.fromkeys(PERIODS, 0.0)
    found: dict[int, list[float]] = {period: [] for period in PERIODS}
    for i in range(_LONGEST):
        for j in range(_LONGEST):
            # The longest waves are the shading of the specimen.
            if period := _period(i, j):
                at = i * height // _LONGEST, j * width // _LONGEST
                found[period].append(float(power[at]) / (_around(power, at) + _FLOOR))
    return {period: float(np.mean(ratios)) for period, ratios in found.items()}


def _period(i: int, j: int) -> int:
    """Return the period of the frequency (i, j) / 16 cycles per px; 0 for none."""
    return 0 if i == j == 0 else _LONGEST // math.gcd(i, j, _LONGEST)


def _around(power: Field, at: tuple[int, int]) -> float:
    """Return the mean power of the frequencies around one, along both axes, where edges of the image show as well."""
    away = np.concatenate([np.arange(-_FAR, -_NEAR + 1), np.arange(_NEAR, _FAR + 1)])
    rows, columns = (at[0] + away) % power.shape[0], (at[1] + away) % power.shape[1]
    block = power[np.ix_(rows, columns)]
    return float((block.mean() + power[rows, at[1]].mean() + power[at[0], columns].mean()) / 3)


def _hann(length: int) -> Field:
    window: Field = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    return window
