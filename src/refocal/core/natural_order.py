"""The order in which people list names: numbers by value, case ignored, folder by folder."""

import math
import re
from collections.abc import Iterator
from typing import Any

_MOST_DIGITS = 4000  # Python reads no longer ones


def natural(name: str) -> tuple[Any, ...]:
    """Return a sort key of a name or a relative posix path: "S2" before "S10", "a" before "B".

    Names that differ in case or in leading zeros alone are ordered exactly as they are written, so the order never
    depends on that in which they are found.
    """
    return tuple(tuple(_numbered(part)) for part in name.split("/")), name


def _numbered(text: str) -> Iterator[str | float]:
    for i, part in enumerate(re.split(r"(\d+)", text.casefold())):
        yield part if not i % 2 else int(part) if len(part) < _MOST_DIGITS else math.inf
