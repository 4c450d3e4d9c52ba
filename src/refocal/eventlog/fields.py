"""Read one field of an event, whatever a foreign or damaged line may hold there."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath
from typing import Any

from refocal.eventlog.index.schema import DECISIONS, MILLION
from refocal.eventlog.log import split_key

_LARGEST = 1e15
_GRID = re.compile(r"(?:^|[^a-z])r(?:ow)?[-_]?(\d{1,6})[^0-9a-z]*c(?:ol(?:umn)?)?[-_]?(\d{1,6})", re.IGNORECASE)
_NUMBERS = {name: number for number, name in enumerate(DECISIONS)}


def printable(value: object) -> str:
    """Return text that UTF-8 can hold; the bytes of a file name that it cannot are written as escapes."""
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def number(value: object) -> float | None:
    """Return a finite number of sensible size, else None."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) and abs(found) <= _LARGEST else None


def whole_number(value: object) -> int | None:
    """Return an integer that a database can hold, else None."""
    if isinstance(value, bool) or not isinstance(value, int) or not -(2**62) < value < 2**62:
        return None
    return value


def millionths(value: float | None) -> int:
    """Return a number in whole millionths, 0 for None; clipped, so that sums of many cannot overflow."""
    return 0 if value is None else round(max(-MILLION, min(MILLION, value)) * MILLION)


def seconds(value: object) -> float | None:
    """Return an ISO time as seconds since 1970; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is None:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def decision(event: Mapping[str, Any]) -> int:
    """Return the number of a tile event's decision."""
    said = event.get("decision")
    return _NUMBERS.get(said, _NUMBERS["failed"]) if isinstance(said, str) else _NUMBERS["failed"]


def section(event: Mapping[str, Any], key: str) -> str:
    """Return the section of a tile: what the event says, else the stack, else the folder."""
    if isinstance(said := event.get("section"), str) and said:
        return printable(said)
    path, page = split_key(key)
    if page or path != key:
        return path
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def position(event: Mapping[str, Any], key: str) -> tuple[float | None, float | None, float | None, float | None]:
    """Return x, y, width and height: nanometres on the stage, else column and row by the name and no sizes."""
    x, y = number(event.get("stage_x_nm")), number(event.get("stage_y_nm"))
    pixel = number(event.get("pixel_nm")) or 1.0
    if x is not None and y is not None:
        width, height = number(event.get("width")) or 1.0, number(event.get("height")) or 1.0
        return x, y, width * pixel, height * pixel
    found = _GRID.search(key)
    return (float(found[2]), float(found[1]), None, None) if found else (None, None, None, None)
