"""Degradation as a restorer, so that degrading tiles goes through the same loop, files and log as restoring them."""

import zlib
from collections.abc import Sequence

import numpy as np

from refocal.core.values import UNIT, Degradation, Example, Frames, Reach, Restored


class Degrader:
    """Applies a degradation to the target image; the same seed and pixels give the same result.

    Parameters
    ----------
    degradation
        Any part of the family `degradations`.
    seed
        Combined with a checksum of the pixels, so that order and batches do not matter.
    """

    def __init__(self, degradation: Degradation, seed: int = 0) -> None:
        self._degradation, self._seed = degradation, seed
        self.reach = Reach()

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Degrade the target image of each of the frames."""
        return [self._one(frames) for frames in batch]

    def _one(self, frames: Frames) -> Restored:
        unit = frames.contrast.unit(frames.image)
        rng = np.random.default_rng([self._seed, zlib.crc32(np.ascontiguousarray(frames.image).tobytes())])
        sharp = Frames(unit[None], contrast=UNIT, pixel_nm=frames.pixel_nm)
        seen = self._degradation(Example(sharp, unit), rng)
        counts = frames.contrast.counts(seen.frames.image, frames.image.dtype)
        return Restored(counts, contrast=frames.contrast)
