"""What every restorer promises: input untouched, size and dtype kept, deterministic, a batch equals its singles."""

from typing import ClassVar

import numpy as np

from refocal.core.values import Contrast, Frames
from refocal.testing._part import PartContract

SIZES = [(1, 1), (1, 7), (5, 2), (33, 64), (48, 37)]


class RestorerContract(PartContract):
    """Override `options` where the restorer needs any, e.g. a model."""

    family: ClassVar[str] = "restorers"

    def test_it_keeps_size_and_dtype_and_leaves_the_input_alone(self, kind: str) -> None:
        restorer = self.make(kind)
        assert restorer.reach.halo >= 0
        for shape in SIZES:
            for dtype in ("uint8", "uint16", "float32"):
                given = frames(shape, dtype)
                before = given.counts.copy()
                given.counts.flags.writeable = False
                (restored,) = restorer([given])
                assert restored.counts.shape == shape
                assert restored.counts.dtype == given.counts.dtype
                assert restored.contrast == given.contrast
                assert np.isfinite(restored.counts).all()
                assert np.array_equal(given.counts, before)
                assert not np.shares_memory(restored.counts, given.counts)

    def test_it_is_deterministic_and_a_batch_equals_its_singles(self, kind: str) -> None:
        restorer = self.make(kind)
        batch = [frames((40, 52), "uint16", seed) for seed in range(3)]
        together = restorer(batch)
        for given, got in zip(batch, together, strict=True):
            assert np.array_equal(got.counts, restorer([given])[0].counts)
        assert restorer([]) == []


def frames(shape: tuple[int, int], dtype: str, seed: int = 0) -> Frames:
    """Return noise over the full range of a dtype."""
    unit = np.random.default_rng(seed).random((1, *shape))
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    return Frames((unit * top).astype(dtype), contrast=Contrast.of(dtype))
