"""One contrast for each section, wherever in it a block lies: a contrast for each block would show as seams."""

from functools import lru_cache
from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.values import Contrast, Counts
from refocal.core.volume import Volume
from refocal.imaging.contrast import percentile_contrast
from refocal.imaging.no_data import no_data_values, valid

_SAMPLES = 16
_EDGE_PX = 256


class SectionContrast:
    """Contrasts of the sections of a volume, the same on every machine.

    That of uint8 is 0 to 255. Others are the given one, or the 0.1 and 99.9 percentiles of patches that are spread over
    the section; voxels of 0 that fill a patch are not there and do not count.
    """

    def __init__(self, volume: Volume, given: Contrast | None = None) -> None:
        self._volume = volume
        self._fixed = Contrast.of(np.uint8) if volume.info.dtype == np.uint8 else given
        self._of_slab = lru_cache(maxsize=8)(self._measure)
        self._eight_bit = volume.info.dtype.itemsize == 1

    def of(self, z: int) -> Contrast:
        """Return the contrast of section `z`."""
        return self._fixed or self._section(z)[0]

    def no_data(self, z: int) -> tuple[float, ...]:
        """Return the counts of section `z` that mean no data."""
        return () if self._eight_bit else self._section(z)[1]

    def _section(self, z: int) -> tuple[Contrast, tuple[float, ...]]:
        depth = self._volume.info.chunk[0]
        return self._of_slab(z // depth)[z % depth]

    def _measure(self, slab: int) -> list[tuple[Contrast, tuple[float, ...]]]:
        depth, height, width = self._volume.info.chunk[0], *self._volume.info.shape[1:]
        first, last = slab * depth, min((slab + 1) * depth, self._volume.info.shape[0])
        side = round(_SAMPLES**0.5)
        patches = []
        for y in _spread(height, side):
            for x in _spread(width, side):
                box = Box((first, y, x), (last, min(y + _EDGE_PX, height), min(x + _EDGE_PX, width)))
                patches.append(self._volume.read(box).reshape(last - first, -1))
        return [_contrast([patch[z] for patch in patches]) for z in range(last - first)]


def _contrast(patches: list[Counts]) -> tuple[Contrast, tuple[float, ...]]:
    there: list[Any] = [patch[np.isfinite(patch)] for patch in patches if patch.any()]
    if not there:
        return Contrast(), ()
    counts = np.concatenate(there)
    codes = no_data_values(counts)
    measured = counts[valid(counts, codes)] if codes else counts
    return percentile_contrast(measured.astype(np.float64)), codes


def _spread(length: int, count: int) -> list[int]:
    last = max(0, length - _EDGE_PX)
    return sorted({round(a) for a in np.linspace(0, last, count)})
