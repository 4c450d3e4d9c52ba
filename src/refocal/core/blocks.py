"""Boxes and blocks: write boxes tile a shape exactly, read boxes grow by the halo and stop at the border."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product


@dataclass(frozen=True, slots=True)
class Box:
    """Half-open box `start <= index < stop` along each axis."""

    start: tuple[int, ...]
    stop: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Edge lengths."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, ...]:
        """Index of the box in an array."""
        return tuple(slice(a, b) for a, b in zip(self.start, self.stop, strict=True))

    def grow(self, halo: tuple[int, ...], shape: tuple[int, ...]) -> "Box":
        """Return the box grown by `halo` on both sides and clipped to an array of `shape`."""
        return Box(
            tuple(max(0, a - h) for a, h in zip(self.start, halo, strict=True)),
            tuple(min(n, b + h) for b, h, n in zip(self.stop, halo, shape, strict=True)),
        )

    def inside(self, outer: "Box") -> tuple[slice, ...]:
        """Return the index of this box in an array that holds `outer`."""
        return tuple(slice(a - o, b - o) for a, b, o in zip(self.start, self.stop, outer.start, strict=True))


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of work: `key` names it in the log, `write` is what it owns, `read` what it needs."""

    key: str
    write: Box
    read: Box


def plan(shape: tuple[int, ...], size: tuple[int, ...], halo: tuple[int, ...], name: str = "") -> Iterator[Block]:
    """Cut an array of `shape` into blocks of `size`, in C order.

    Write boxes tile the array exactly, each index in one box; the last one of an axis may be smaller.

    Parameters
    ----------
    shape, size, halo
        One number per axis, pixels. Sizes at least 1, halos at least 0.
    name
        Prefix of the keys.

    Raises
    ------
    ValueError
        If the numbers of axes differ or a size is below 1 or a halo below 0.
    """
    if not len(shape) == len(size) == len(halo):
        raise ValueError(f"plan needs one size and halo per axis, got shape {shape}, size {size}, halo {halo}")
    if min(size, default=1) < 1 or min(halo, default=0) < 0:
        raise ValueError(f"plan needs sizes of at least 1 and halos of at least 0, got {size} and {halo}")
    for start in product(*(range(0, n, s) for n, s in zip(shape, size, strict=True))):
        write = Box(start, tuple(min(a + s, n) for a, s, n in zip(start, size, shape, strict=True)))
        yield Block(name + "@" + ",".join(map(str, start)), write, write.grow(halo, shape))
