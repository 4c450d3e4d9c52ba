"""One row of the table `tiles`, in memory."""

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any


@dataclass(slots=True)
class Row:
    """A tile as its latest line in the log and the latest verdict of an operator leave it."""

    id: int
    key: str
    section: int
    tile: str | None
    page: int
    beam: int | None
    field: int | None
    taken: str
    override: str | None
    time: float | None = None
    decision: int = 0
    shown: int = 0
    """The decision after the operator's verdict."""
    sigma_px: float | None = None
    anisotropy: float | None = None
    noise: float | None = None
    x_nm: float | None = None
    y_nm: float | None = None
    w_nm: float | None = None
    """None where x and y are column and row."""
    h_nm: float | None = None
    size: int | None = None
    mtime_ns: int | None = None
    line: int = 0
    """Where the tile's latest line begins in the log, bytes."""
    rev: int = 0
    """Where the line begins that changed the row last."""
    current: int = 1
    """0 where the same place was imaged again since."""


COLUMNS = tuple(field.name for field in fields(Row))
_get = attrgetter(*COLUMNS)


def values(row: Row) -> tuple[Any, ...]:
    """Return the values of a row in the order of `COLUMNS`."""
    found: tuple[Any, ...] = _get(row)
    return found
