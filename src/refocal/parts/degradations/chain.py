"""A chain of degradations, applied in order, each with its probability."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from refocal.core import registry
from refocal.core.values import Degradation, Example

__all__ = ["Chain"]


@dataclass(frozen=True, slots=True)
class Chain:
    """Apply `steps` in order; each is `{"kind": name, option: value, ...}`.

    A step may carry `probability` (default 1), or be a choice: `{"choice": [step, step, ...], "weights": [...]}`
    draws one of its steps. The physical order is object, geometry, probe, charging, shot noise, bandwidth,
    amplifier noise, rows, gain, rounding.
    """

    steps: Sequence[Mapping[str, Any]] = ()

    def __post_init__(self) -> None:
        """Make every step once, so that wrong ones are refused before any data is touched."""
        _made(json.dumps(self.steps))

    def __call__(self, example: Example, rng: np.random.Generator, /) -> Example:
        """Apply the steps."""
        for probability, parts, weights in _made(json.dumps(self.steps)):
            if probability < 1 and rng.random() >= probability:
                continue
            part = parts[0] if len(parts) == 1 else parts[int(rng.choice(len(parts), p=weights))]
            example = part(example, rng)
        return example


# Kept by their text: a field for them would stand in the way of the JSON round trip.
@lru_cache(maxsize=64)
def _made(steps: str) -> "tuple[tuple[float, tuple[Degradation, ...], tuple[float, ...]], ...]":
    return tuple(_make(dict(step)) for step in json.loads(steps))


def _make(step: dict[str, Any]) -> tuple[float, tuple[Degradation, ...], tuple[float, ...]]:
    probability = float(step.pop("probability", 1.0))
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be within 0..1, got {probability}")
    choices = step.pop("choice", None)
    if choices is None:
        return probability, (_part(step),), (1.0,)
    weights = np.asarray(step.pop("weights", [1.0] * len(choices)), float)
    if step or len(weights) != len(choices) or not len(choices) or weights.min() < 0 or not weights.sum():
        raise ValueError("a choice takes only its steps and one non-negative weight for each")
    return probability, tuple(_part(dict(c)) for c in choices), tuple(weights / weights.sum())


def _part(step: dict[str, Any]) -> Degradation:
    if "kind" not in step:
        raise ValueError(f"a step needs the key 'kind', got {sorted(step)}")
    kind = step.pop("kind")
    part: Degradation = registry.make("degradations", kind, **step)
    return part
