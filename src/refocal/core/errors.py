"""The error tree. Each message is one line: what was given, what was expected, what to do.

RefocalError
├── UsageError            the caller asked for something that cannot be done (exit code 2)
│   ├── UnknownPartError  no such net, model, gate ...; suggests the nearest name
│   ├── BadOptionError    an option that the part does not take, or a value out of range
│   ├── MissingExtraError an optional package is needed; names the extra
│   └── BadModelError     a model file of another version, damaged, or not a model
├── DivergedError         training diverged; the last good checkpoint is kept (exit code 1)
└── TileError             one tile cannot be done; the others are (exit code 1)
    ├── UnreadableError   damaged, truncated, empty or not an image
    ├── UnsupportedError  an intact image of a kind that cannot be restored (colour, NaN, too small ...)
    ├── WriteError        the output cannot be written
    └── LaterError        not now: the source or the sink brings the tile again
"""

import difflib
from collections.abc import Iterable


class RefocalError(Exception):
    """Root of every error that refocal raises on purpose."""


class UsageError(RefocalError):
    """The request itself is wrong; nothing was done."""


class UnknownPartError(UsageError):
    """A name that is not there."""


class BadOptionError(UsageError):
    """An option that does not exist or whose value cannot be used."""


class MissingExtraError(UsageError):
    """An optional package is not installed."""


class BadModelError(UsageError):
    """A model file that cannot be used."""


class DivergedError(RefocalError):
    """A loss or a weight is not finite any more."""


class TileError(RefocalError):
    """One tile failed."""


class UnreadableError(TileError):
    """A file that cannot be decoded."""


class UnsupportedError(TileError):
    """A readable image of a kind that cannot be processed."""


class WriteError(TileError):
    """An output that cannot be written."""


class LaterError(TileError):
    """A tile that cannot be done now and is not lost: a file still being written, a full disk."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the closest known name, or the list of known names."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f" Did you mean {close[0]!r}?" if close else f" Known: {', '.join(known) or 'none'}."


def quoted(value: object, most: int = 80) -> str:
    """Return what was given, as a message shows it: in one line, cut where it is long."""
    text = repr(value)
    return text if len(text) <= most else f"{text[:most]}..."


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """Return the error for an optional package that is not installed."""
    return MissingExtraError(f"{package} is not installed; it comes with: pip install 'refocal[{extra}]'")
