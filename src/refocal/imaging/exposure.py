"""One exposure of a camera in transmission: the path of the stage, the counting of electrons, the scintillator.

A path is (2, time) positions x, y in px of what the camera sees, relative to where it should be.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from refocal.core.values import Pixels

Path = NDArray[np.float64]
_REACH = 16


def path(length_px: float, angle_deg: float, bend_deg: float, walk_px: float, rng: np.random.Generator) -> Path:
    """Return an arc plus a random walk, whose end has a standard deviation of `walk_px` along each axis; centred."""
    steps = 64 + 8 * int(np.ceil(length_px))
    middle = np.linspace(-0.5, 0.5, steps)
    heading = np.deg2rad(angle_deg + bend_deg * middle)
    speed = np.stack([np.cos(heading), np.sin(heading)]) * length_px
    way = np.cumsum(speed + walk_px * rng.standard_normal((2, steps)) * np.sqrt(steps), axis=1) / steps
    centred: Path = way - way.mean(1, keepdims=True)
    return centred


def kernels(paths: list[Path]) -> NDArray[np.float64]:
    """Return the (frame, y, x) histograms of the paths, each position split between its four neighbours."""
    r = int(np.floor(max(np.abs(p).max() for p in paths))) + 1
    made = np.zeros((len(paths), 2 * r + 1, 2 * r + 1))
    for way, kernel in zip(paths, made, strict=True):
        low = np.floor(way).astype(int)
        rest = way - low
        for dy, dx in ((0, 0), (0, 1), (1, 0), (1, 1)):
            weight = np.abs(1 - dx - rest[0]) * np.abs(1 - dy - rest[1])
            np.add.at(kernel, (low[1] + dy + r, low[0] + dx + r), weight / way.shape[1])
    return made


def counted(image: Pixels, electrons: float, nyquist: float, read: float, rng: np.random.Generator) -> Pixels:
    """Return what a camera counts of a (y, x) image: Poisson, spread by the scintillator, plus read-out noise.

    Parameters
    ----------
    image
        Contrast units; negative ones count nothing.
    electrons
        Per pixel at contrast 1.
    nyquist
        Modulation transfer at half a cycle per pixel, of a Lorentzian; it smooths signal and shot noise alike.
    read
        Standard deviation of the read-out noise, electrons.
    """
    seen: NDArray[Any] = rng.poisson(np.maximum(image, 0) * electrons).astype(np.float32)
    if nyquist < 1:
        # The Lorentzian reaches a few pixels only.
        circle = np.pad(
            seen,
            [(_REACH, fft.next_fast_len(n + 2 * _REACH, real=True) - n - _REACH) for n in seen.shape],
            mode="symmetric",
        )
        y, x = np.fft.fftfreq(circle.shape[0])[:, None], np.fft.rfftfreq(circle.shape[1])[None]
        transfer = 1 / (1 + (y * y + x * x) * 4 * (1 / nyquist - 1))
        whole = fft.irfft2(fft.rfft2(circle) * transfer.astype(np.float32), circle.shape)
        seen = whole[_REACH : seen.shape[0] + _REACH, _REACH : seen.shape[1] + _REACH]
    seen = seen + read * rng.standard_normal(seen.shape, np.float32)
    counts: Pixels = (seen / electrons).astype(np.float32)
    return counts


def moved_back(image: Pixels, offset_px: NDArray[np.floating]) -> Pixels:
    """Return image(p + offset), offset (x, y) within a pixel, by cubic convolution as registration resamples."""
    for axis, offset in ((1, offset_px[0]), (0, offset_px[1])):
        step = int(np.floor(offset))
        taps = np.zeros(2 * (abs(step) + 2) + 1)
        centre = abs(step) + 2
        taps[centre + step - 1 : centre + step + 3] = _keys(float(offset) - step)
        image = ndimage.correlate1d(image, taps, axis, mode="mirror")
    return image


def _keys(t: float) -> NDArray[np.float64]:
    """Return the weights of the pixels -1, 0, 1, 2 at 0 <= t < 1 of cubic convolution with a = -3/4 (as OpenCV's)."""
    a = -0.75
    outer = [a * (d**3 - 5 * d**2 + 8 * d - 4) for d in (1 + t, 2 - t)]
    inner = [(a + 2) * d**3 - (a + 3) * d**2 + 1 for d in (t, 1 - t)]
    return np.array([outer[0], *inner, outer[1]])
