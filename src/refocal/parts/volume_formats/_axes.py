"""Arrays whose axes stand in any order, seen as (z, y, x)."""

from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UnsupportedError
from refocal.core.values import Counts

ZYX = "zyx"


def checked(axes: str, shape: tuple[int, ...], url: str) -> str:
    """Return the axes if they can be seen as (z, y, x).

    Raises
    ------
    UnsupportedError
        If y or x is missing or twice there, or another axis than z has more than one entry.
    """
    if len(axes) != len(shape) or "y" not in axes or "x" not in axes or len(set(axes)) != len(axes):
        raise UnsupportedError(f"{url}: has the axes {axes!r} and shape {shape}; expected z, y, x, each once")
    for name, size in zip(axes, shape, strict=True):
        if name not in ZYX and size > 1:
            raise UnsupportedError(f"{url}: has {size} entries along {name!r}; expected one: pick it out first")
    return axes


def triple(axes: str, values: Any, absent: Any) -> tuple[Any, Any, Any]:
    """Pick the (z, y, x) of values that stand in the order of the axes."""
    z, y, x = (values[axes.index(name)] if name in axes else absent for name in ZYX)
    return z, y, x


def spread(axes: str, zyx: tuple[Any, Any, Any], other: Any) -> list[Any]:
    """Put (z, y, x) values into the order of the axes; the undoing of `triple`."""
    return [zyx[ZYX.index(name)] if name in ZYX else other for name in axes]


def index(axes: str, box: Box) -> tuple[slice, ...]:
    """Return the index of a (z, y, x) box in the array."""
    z, y, x = box.slices
    return tuple(spread(axes, (z, y, x), slice(0, 1)))


def to_zyx(axes: str, counts: Counts, box: Box) -> Counts:
    """Turn what was read at `index` into (z, y, x)."""
    kept = [name for name in axes if name in ZYX]
    inner = counts.reshape([n for name, n in zip(axes, counts.shape, strict=True) if name in ZYX])
    turned = inner.transpose([kept.index(name) for name in ZYX if name in kept])
    return np.ascontiguousarray(turned.reshape(box.shape))


def from_zyx(axes: str, counts: Counts) -> Counts:
    """Turn (z, y, x) counts into the order of the axes; the undoing of `to_zyx`."""
    kept = [name for name in axes if name in ZYX]
    inner = counts if "z" in kept else counts[0]
    order = [name for name in ZYX if name in kept]
    turned = inner.transpose([order.index(name) for name in kept])
    shape = iter(turned.shape)
    return turned.reshape([next(shape) if name in ZYX else 1 for name in axes])
