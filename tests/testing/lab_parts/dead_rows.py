"""A detector that loses rows."""

from dataclasses import dataclass, replace

import numpy as np

from refocal.core.values import Example


@dataclass(frozen=True, slots=True)
class DeadRows:
    """Every row is black with a probability."""

    probability: float = 0.2

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        counts = example.frames.counts.copy()
        counts[:, rng.random(counts.shape[1]) < self.probability] = 0
        return replace(example, frames=replace(example.frames, counts=counts))
