"""Read one field of an event, whatever a foreign or damaged line may hold there; what cannot be read is None."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

Event = Mapping[str, Any]
"""One line of a log."""

_LARGEST = 1e18  # bytes of a large file system
_GRID = re.compile(r"(?:^|[^a-z])r(?:ow)?[-_]?(\d{1,6})[^0-9a-z]*c(?:ol(?:umn)?)?[-_]?(\d{1,6})", re.IGNORECASE)
_SCAN_FAULT = re.compile(
    r"scan.?fault|rows? (?:are |is )?(?:shifted|constant|missing|repeated)|frozen|incomplete frame", re.IGNORECASE
)


def printable(value: object) -> str:
    """Return text that UTF-8 can hold; the bytes of a file name that it cannot are written as escapes."""
    text = value if isinstance(value, str) else str(value)
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def printed(text: str) -> str:
    """Return foreign text for a terminal: control characters, and marks that turn its direction, as escapes."""
    return text if text.isprintable() else "".join(map(_escaped, text))


def _escaped(char: str) -> str:
    if char.isprintable() or char == " ":
        return char
    return ascii(char)[1:-1]


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


def seconds(value: object) -> float | None:
    """Return an ISO time as seconds since 1970; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(value) if isinstance(value, str) else None
        if found is None:
            return None
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None


def stage_nm(event: Event) -> tuple[float, float] | None:
    """Return the position (x, y) of a tile on the stage."""
    x, y = number(event.get("stage_x_nm")), number(event.get("stage_y_nm"))
    return None if x is None or y is None else (x, y)


def grid_place(key: str) -> tuple[float, float] | None:
    """Return the column and row that a tile's name tells ("r003_c012")."""
    found = _GRID.search(key)
    return (float(found[2]), float(found[1])) if found else None


def scan_fault(event: Event) -> bool:
    """Say whether a tile shows a fault of the scan: by a field of its own, or by its reason or error."""
    words = f"{event.get('reason') or ''} {event.get('error') or ''}"
    return bool(event.get("scan_fault")) or bool(_SCAN_FAULT.search(words))
