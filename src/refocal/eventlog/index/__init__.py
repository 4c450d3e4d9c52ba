"""An index of a log, so that questions about a million tiles take milliseconds.

The log is the one truth: the index (SQLite, in `OUT/.refocal/history.sqlite`) is derived from it, can be deleted at any
time, and is rebuilt when the log was replaced or cut. `update` reads only what was appended since the last time;
several processes may do so, in turns, while any number of readers use it.
"""

import hashlib
import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Self

from refocal.core.errors import UsageError
from refocal.eventlog.index import schema
from refocal.eventlog.index.ingest import Ingest
from refocal.eventlog.index.queries import Readings

__all__ = ["History", "Progress", "Readings"]

_CHUNK = 4 << 20
_PROOF = 512


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the index is."""

    offset: int
    """Bytes of the log that are in the index."""
    size: int
    """Bytes of the log."""
    changed: bool
    """Whether this update took anything in."""
    more: bool
    """Whether another update would take more in now."""


class History:
    """The index of one log, opened for writing; a context manager.

    Parameters
    ----------
    log
        The log; it may be absent yet.
    index
        Where the index is kept; by default beside the log.

    Raises
    ------
    UsageError
        If the index cannot be kept there.
    """

    def __init__(self, log: Path, index: Path | None = None) -> None:
        self.log = Path(log)
        self.index = Path(index) if index else self.log.parent / ".refocal" / "history.sqlite"
        self._base = schema.connect(self.index, write=True)

    def update(self, most_bytes: int = _CHUNK) -> Progress:
        """Take in at most `most_bytes` new bytes of the log, in one transaction.

        Where another process is updating, nothing is done and `more` is true.

        Raises
        ------
        UsageError
            If the log cannot be read or the index cannot be written (full disk).
        """
        if not self.index.exists():  # anybody may delete it, also while it is in use
            self._base.close()
            self._base = schema.connect(self.index, write=True)
        try:
            self._base.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise UsageError(f"cannot bring the index {self.index} up to date: {error}") from error
            return Progress(0, 0, changed=False, more=True)
        try:
            done = self._take(most_bytes)
            self._base.execute("COMMIT")
        except BaseException as error:
            if self._base.in_transaction:
                self._base.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error | OSError):
                raise UsageError(f"cannot bring the index {self.index} up to date: {error}") from error
            raise
        return done

    def catch_up(self) -> Progress:
        """Update until nothing is left."""
        while (done := self.update()).more:
            pass
        return done

    def readings(self) -> Readings:
        """Return a reader with a connection of its own."""
        return Readings(self.log, schema.connect(self.index, write=False))

    def close(self) -> None:
        """Close the index."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, most_bytes: int) -> Progress:
        meta = dict(self._base.execute("SELECT name, value FROM meta").fetchall())
        try:
            file = self.log.open("rb")
        except FileNotFoundError:
            if meta["offset"]:
                schema.clear(self._base)
            return Progress(0, 0, changed=bool(meta["offset"]), more=False)
        with file:
            size = os.fstat(file.fileno()).st_size
            before = int(meta["offset"])
            replaced = bool(before) and (size < before or _proof(file, before) != meta.get("proof"))
            if replaced:
                schema.clear(self._base)
            start = 0 if replaced else before
            end = self._ingest(file, start, most_bytes)
            if end > start:
                values = [("offset", end), ("proof", _proof(file, end))]
                self._base.executemany("INSERT OR REPLACE INTO meta VALUES (?, ?)", values)
        full = end - start >= most_bytes // 2
        return Progress(end, size, changed=replaced or end > start, more=full and end < size)

    def _ingest(self, file: BinaryIO, start: int, most_bytes: int) -> int:
        """Take in complete lines from `start` on and return where they end; a torn last line waits for its end."""
        file.seek(start)
        chunk = file.read(most_bytes)
        end = chunk.rfind(b"\n") + 1
        if not end:
            # No line of refocal is that long: it is passed over in parts.
            return start + len(chunk) if len(chunk) == most_bytes else start
        ingest, at = Ingest(self._base), start
        for line in chunk[:end].split(b"\n")[:-1]:
            ingest.add(line, at)
            at += len(line) + 1
        ingest.write()
        return start + end


def _proof(file: BinaryIO, offset: int) -> str:
    """Return a hash of the log's first bytes and of those before `offset`: another file has others."""
    file.seek(0)
    head = file.read(min(_PROOF, offset))
    file.seek(max(0, offset - _PROOF))
    return hashlib.sha256(head + file.read(min(_PROOF, offset))).hexdigest()
