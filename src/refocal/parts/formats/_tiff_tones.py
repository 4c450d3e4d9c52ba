"""What the numbers of a TIFF mean: 0 may be white, a palette may turn them over, bits may be packed.

Images are read as a viewer shows them, 0 is black, and are written back as their source says.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from refocal.core.errors import UnsupportedError
from refocal.core.values import Counts

MINISWHITE, MINISBLACK, RGB, PALETTE, YCBCR = 0, 1, 2, 3, 6
_KNOWN = (MINISWHITE, MINISBLACK, RGB, PALETTE, YCBCR)


@dataclass(frozen=True, slots=True)
class Tones:
    """How stored numbers become counts, and back."""

    dtype: np.dtype[Any]
    """Of the counts."""
    turned: int = 0
    """The bits that are turned over where 0 is white."""
    table: Counts | None = None
    """Count of each stored number."""
    packed: bool = False
    """Whether the counts are written with more bits than the source has: 0 is black there."""

    @classmethod
    def of(cls, path: Path, page: Any, warnings: list[str]) -> Self:
        """Return those of a page, and warn where they are not plain."""
        if page.photometric not in _KNOWN:
            name = getattr(page.photometric, "name", str(page.photometric)).lower()
            raise UnsupportedError(f"{path}: its pixels are {name}; expected grey: convert it first")
        dtype = page.dtype.newbyteorder("=")
        bits = page.bitspersample
        if page.photometric == PALETTE and page.colormap is not None and dtype.kind == "u":
            return cls(dtype, table=_grey_palette(path, page.colormap, dtype, warnings))
        if dtype == np.uint8 and bits < 8:
            warnings.append(f"{bits}-bit grey was stretched to 8 bits")
            numbers = np.minimum(np.arange(256), 2**bits - 1) * (255 / (2**bits - 1))
            table = np.rint(numbers).astype(np.uint8)
            return cls(dtype, table=_turned(table, page.photometric == MINISWHITE))
        if packed := dtype.kind == "u" and bits < 8 * dtype.itemsize:
            warnings.append(f"{bits}-bit counts are written as {8 * dtype.itemsize} bits")
        if page.photometric == MINISWHITE:
            if dtype.kind in "ui":
                return cls(dtype, turned=-1 if dtype.kind == "i" else 2**bits - 1, packed=packed)
            warnings.append("0 is said to be white, which floating-point counts have no other end for: taken as black")
        return cls(dtype)

    def positive(self, stored: Counts) -> Counts:
        """Return the counts of stored numbers."""
        if self.table is not None:
            looked_up: Counts = self.table[stored]
            return looked_up
        return stored ^ stored.dtype.type(self.turned) if self.turned else stored

    def counts_of(self, numbers: tuple[float, ...]) -> tuple[float, ...]:
        """Return the counts of stored numbers that a tag gives; one that no pixel can hold stays as it is."""
        known = self.dtype.kind in "ui" and all(n in range(2 ** (8 * self.dtype.itemsize)) for n in numbers)
        limit = len(self.table) if self.table is not None else math.inf
        if not known or not all(n < limit for n in numbers):
            return numbers
        return tuple(float(n) for n in self.positive(np.array(numbers, self.dtype)))

    def stored(self, counts: Counts) -> Counts:
        """Return the numbers to be stored for counts, in a file that keeps the source's photometric and palette."""
        if not self.reversible or counts.dtype != self.dtype:
            return counts
        if self.table is not None:
            back = np.empty_like(self.table)
            back[self.table] = np.arange(len(back), dtype=back.dtype)
            looked_up: Counts = back[counts]
            return looked_up
        return counts ^ counts.dtype.type(self.turned) if self.turned else counts

    @property
    def reversible(self) -> bool:
        """Whether each count has one stored number, and a written copy keeps the source's meaning of it."""
        if self.table is None:
            return not self.packed
        return bool(len(self.table) == 2 ** (8 * self.dtype.itemsize) == len(np.unique(self.table)))


def _turned(table: Counts, inverted: bool) -> Counts:
    return np.invert(table) if inverted else table


def _grey_palette(path: Path, colours: Any, dtype: np.dtype[Any], warnings: list[str]) -> Counts | None:
    """Return the grey of each index; None for the plain ramp, and for colours, whose indices are the counts."""
    colours = np.asarray(colours)
    full = 2 ** (8 * dtype.itemsize)
    if not (colours == colours[:1]).all():
        if colours.shape[1] < full:
            raise UnsupportedError(f"{path}: has a palette of colours; expected grey: convert it first")
        warnings.append("is shown in false colours; their indices are taken as the counts")
        return None
    table = (colours[0] >> 8 if dtype == np.uint8 else colours[0]).astype(dtype)
    if len(table) < full:
        warnings.append(f"a palette of {len(table)} greys was applied")
    return None if np.array_equal(table, np.arange(full)) else table
