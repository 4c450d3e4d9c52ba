"""What the numbers of a TIFF mean: 0 may be white, a palette may turn them over, bits may be packed.

Images are read as a viewer shows them, 0 is black, and are written back as their source says.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from refocal.core.values import Counts

MINISWHITE, MINISBLACK, PALETTE = 0, 1, 3


@dataclass(frozen=True, slots=True)
class Tones:
    """How stored numbers become counts, and back."""

    dtype: np.dtype[Any]
    """Of the counts."""
    turned: int = 0
    """The bits that are turned over where 0 is white."""
    table: Counts | None = None
    """Count of each stored 8-bit number."""

    @classmethod
    def of(cls, path: Path, page: Any, warnings: list[str]) -> Self:
        """Return those of a page, and warn where they are not plain."""
        dtype = page.dtype.newbyteorder("=")
        bits = page.bitspersample
        if dtype == np.uint8 and bits < 8:
            warnings.append(f"{bits}-bit grey was stretched to 8 bits")
            numbers = np.minimum(np.arange(256), 2**bits - 1) * (255 / (2**bits - 1))
            table = np.rint(numbers).astype(np.uint8)
            return cls(dtype, table=_turned(table, page.photometric == MINISWHITE))
        if dtype.kind == "u" and bits < 8 * dtype.itemsize:
            warnings.append(f"{bits}-bit counts are written as {8 * dtype.itemsize} bits")
        if page.photometric == MINISWHITE:
            if dtype.kind in "ui":
                return cls(dtype, turned=-1 if dtype.kind == "i" else 2**bits - 1)
            warnings.append("0 is said to be white, which floating-point counts have no other end for: taken as black")
        if page.photometric == PALETTE and page.colormap is not None and dtype == np.uint8:
            return cls(dtype, table=_grey_palette(page.colormap, warnings))
        return cls(dtype)

    def positive(self, stored: Counts) -> Counts:
        """Return the counts of stored numbers."""
        if self.table is not None:
            looked_up: Counts = self.table[stored]
            return looked_up
        return stored ^ stored.dtype.type(self.turned) if self.turned else stored

    def stored(self, counts: Counts) -> Counts:
        """Return the numbers to be stored for counts, in a file that keeps the source's photometric and palette."""
        if self.table is not None and self.reversible:
            back = np.empty(256, np.uint8)
            back[self.table] = np.arange(256)
            looked_up: Counts = back[counts]
            return looked_up
        return counts ^ counts.dtype.type(self.turned) if self.turned else counts

    @property
    def reversible(self) -> bool:
        """Whether each count has one stored number."""
        return self.table is None or len(np.unique(self.table)) == 256


def _turned(table: Counts, inverted: bool) -> Counts:
    return np.invert(table) if inverted else table


def _grey_palette(colours: Any, warnings: list[str]) -> Counts | None:
    """Return the grey of each index; None for the plain ramp, and for colours, whose indices are the counts."""
    colours = np.asarray(colours)
    if not (colours == colours[:1]).all():
        warnings.append("is shown in false colours; their indices are taken as the counts")
        return None
    table = (colours[0] >> 8).astype(np.uint8)
    return None if (table == np.arange(256)).all() else table
