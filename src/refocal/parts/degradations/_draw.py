"""Parameters that are a number or a range, and the one way to put new pixels into an example."""

from dataclasses import replace
from typing import Any

import numpy as np

from refocal.core.values import Example, Frames, Pixels

Range = float | tuple[float, float] | list[float]


def draw(value: Range, rng: np.random.Generator, log: bool = False) -> float:
    """Return the number itself, or a draw from a range, uniform or (`log`) log-uniform."""
    if isinstance(value, int | float):
        return float(value)
    low, high = value
    if log:
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))
    return float(rng.uniform(low, high))


def check_range(name: str, value: Range, low: float = 0.0, high: float = np.inf) -> None:
    """Refuse numbers and ranges outside low..high, and reversed ranges.

    Raises
    ------
    ValueError
        With the name, the value and the allowed range.
    """
    ends = [float(value)] if isinstance(value, int | float) else [float(v) for v in value]
    if len(ends) not in (1, 2) or sorted(ends) != ends or not (low <= ends[0] and ends[-1] <= high):
        raise ValueError(f"{name} must be a number or a rising range [low, high] within {low:g}..{high:g}, got {value}")


def with_pixels(example: Example, pixels: Pixels, **hints: Any) -> Example:
    """Return the example with other (frame, y, x) pixels and additional hints; the truth stays."""
    old = example.frames
    frames = Frames(pixels.astype(np.float32, copy=False), old.target, old.contrast, old.valid, old.pixel_nm)
    return replace(example, frames=frames, hints={**example.hints, **hints})
