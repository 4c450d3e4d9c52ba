"""The log of a run: resume state, dashboard feed and audit trail in one append-only file of JSON lines.

Each run begins with a line `event: "job"` that holds the resolved job and its SHA-256; each block that is settled adds
one line `event: "tile"`, stamped with the hash of its run. Nothing is ever rewritten: for a key the latest line counts.

A line is one `write` on a file opened for appending, so shards may share a log on a local file system (on NFS, where
appending is not atomic, give each shard its own). A process that is killed loses nothing that was written; a power cut
loses at most the last second, because the file is synced that often, and blocks without a line are simply done again.
A torn last line is not JSON: readers skip it, and the next run ends it with a newline before it adds its own (as
does a run that opens the file while another is in the midst of a line, which leaves a blank line that readers skip).
"""

import csv
import hashlib
import io
import json
import math
import os
import re
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from itertools import count
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from refocal.core.atomic import writing
from refocal.core.errors import UsageError, WriteError
from refocal.core.file_locks import claim
from refocal.core.natural_order import natural
from refocal.core.plain_files import open_plain
from refocal.eventlog.current import TO_RETAKE, latest
from refocal.eventlog.fields import Event as Event

LOG = "log.jsonl"
"""Name of the log in its output folder."""

_RETAKE_COLUMNS = ("path", "page", "verdict", "reason", "sigma_px", "sigma_nm", "noise")
SETTLED = frozenset({"restored", "kept", "retake", "no_content"})
"""Decisions after which a tile need not be done again under the same job."""

_LONGEST = 1 << 26  # bytes of a line: the first one of a run names all its inputs
_DEEPEST = 64
_NOT_TEXT = re.compile("[\ud800-\udc7f\udd00-\udfff]")  # the rest of the surrogates stands for bytes of file names

_NONE = type(None)
_FIELDS: Mapping[str, tuple[type, ...]] = {
    "event": (str,), "key": (str, _NONE), "decision": (str, _NONE), "section": (str, _NONE), "job": (dict, _NONE),
    "size": (int, _NONE), "mtime_ns": (int, _NONE), "low": (int, float, _NONE), "high": (int, float, _NONE),
}  # fmt: skip
_NEEDED = {"tile": ("key",), "contrast": ("low", "high")}


class DamagedLogWarning(UserWarning):
    """A log holds lines that cannot be read as events."""


class Log:
    """Appends events to a log file; a context manager. Several threads may append.

    Parameters
    ----------
    path
        The file, made where it is absent. Its folder must exist.
    now
        Tells the time that is written into the events.
    alone
        Refuse a log that another process writes to: True for the only writer, False where other shards write too. None
        asks nobody.
    sync_seconds
        The file is synced when an event comes at least this long after the last sync, and on closing.

    Raises
    ------
    UsageError
        If the file cannot be opened for appending, or another process writes to it that was to be the only one.
    """

    def __init__(
        self,
        path: Path,
        *,
        alone: bool | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sync_seconds: float = 1.0,
    ) -> None:
        self.path = Path(path)
        self._now = now
        self._sync_seconds = sync_seconds
        self._synced = time.monotonic()
        self._job_sha256: str | None = None
        self._lock = threading.Lock()
        try:
            self._file = self.path.open("a+b", buffering=0)
            self._torn = _torn(self._file)
        except OSError as error:
            raise UsageError(f"cannot write the log {self.path}: {error.strerror}; choose another output") from error
        if alone is not None and not claim(self._file.fileno(), alone=alone):
            self._file.close()
            raise UsageError(f"another run writes to {self.path.parent}; wait for it, or choose another output")
        self.written = 0
        """Bytes appended so far."""

    def start(self, job: Mapping[str, Any], **facts: Any) -> str:
        """Append the event that begins a run and return the job's SHA-256; `facts` are logged but not hashed."""
        self._job_sha256 = job_sha256(job)
        self.append({"event": "job", **facts, "job": job})
        return self._job_sha256

    def append(self, event: Event) -> Event:
        """Write one event as one line, with the time and the hash of the running job; return it with these.

        Raises
        ------
        WriteError
            If the line cannot be written whole (full disk).
        """
        stamped = {"time": self._now().isoformat(timespec="milliseconds"), "job_sha256": self._job_sha256, **event}
        line = json.dumps(_plain(stamped), allow_nan=False).encode() + b"\n"
        with self._lock:
            self._write(line)
        if time.monotonic() - self._synced >= self._sync_seconds:
            with suppress(OSError):  # the line is written: a caller who tried again would double it
                self.sync()
            self.refuse_gone()
        return stamped

    def refuse_gone(self) -> None:
        """Raise `WriteError` if the log was removed or replaced: nobody would ever read what goes on in it."""
        try:
            there = os.stat(self.path).st_ino == os.fstat(self._file.fileno()).st_ino
        except OSError:
            there = False
        if not there:
            raise WriteError(f"{self.path} was removed or replaced during the run; run again with an output that stays")

    def _write(self, line: bytes) -> None:
        if self._torn:
            line = b"\n" + line
        try:
            taken = self._file.write(line)
        except OSError as error:
            raise WriteError(f"cannot append to the log {self.path}: {error.strerror}") from error
        self.written += taken
        missing = len(line) - taken
        self._torn = missing > 0
        if missing > 1:  # without its newline alone the line counts, and must not come again
            raise WriteError(f"cannot append to the log {self.path}: no space left; free some and run again")

    def sync(self) -> None:
        """Wait until everything appended is on the disk.

        Raises
        ------
        OSError
            If the disk does not take it; the next event tries again.
        """
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()

    def close(self) -> None:
        """Sync and close the file."""
        self.sync()
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def job_sha256(job: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a job's canonical JSON (sorted keys)."""
    return hashlib.sha256(json.dumps(_plain(job), sort_keys=True, allow_nan=False).encode()).hexdigest()


def lines(path: Path, file: BinaryIO | None = None) -> Iterator[tuple[int, int, bytes]]:
    """Yield number (from 1), offset and bytes of each line that ends with a newline; no file, no lines.

    What is longer than any line of ours comes as an empty line: it is never held in memory. A last line without a
    newline is one that is being written or that was torn, and is passed over unless it is whole. A `file` that was
    opened already stays open.
    """
    if file is None:
        with suppress(FileNotFoundError), open_plain(path) as opened:
            yield from lines(path, opened)
        return
    offset = 0
    for number in count(1):
        line = file.readline(_LONGEST)
        start, offset = offset, offset + len(line)
        if not line:
            return
        if len(line) == _LONGEST and not line.endswith(b"\n"):
            while (more := file.readline(_LONGEST)) and not more.endswith(b"\n"):
                offset += len(more)
            offset, line = offset + len(more), b"{\n"
        if line.endswith(b"\n") or parsed(line) is not None:
            yield number, start, line


def parsed(line: bytes) -> dict[str, Any] | None:
    """Return the event of a line; None where it is damaged, or not one of ours."""
    try:
        event = json.loads(line.decode())
        if line.count(b"[") + line.count(b"{") > _DEEPEST and _depth(event) > _DEEPEST:
            return None
        if b"\\u" in line and _NOT_TEXT.search(json.dumps(event, ensure_ascii=False)):
            return None
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and _is_ours(event) else None


class Damage:
    """Counts the lines of a log that cannot be used; says so in one warning.

    Parameters
    ----------
    path
        The log.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lines, self._first = Path(path), 0, 0

    def add(self, number: int, line: bytes) -> None:
        """Count a line, unless it is blank."""
        if line.strip():
            self._lines, self._first = self._lines + 1, self._first or number

    def warn(self) -> None:
        """Warn of what was counted, if anything was."""
        if self._lines:
            lines = "1 line" if self._lines == 1 else f"{self._lines:,} lines"
            text = (
                f"{lines} of {self._path.name} damaged or not refocal's, passed over; the first is line {self._first}"
            )
            warnings.warn(text, DamagedLogWarning, stacklevel=3)


def read_log(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a log in the order of writing; no file, no events.

    Damaged and foreign lines are passed over; in the end a `DamagedLogWarning` tells how many they were.
    """
    damage = Damage(path)
    for number, _, line in lines(path):
        event = parsed(line)
        if event is None:
            damage.add(number, line)
        else:
            yield event
    damage.warn()


def of_last_job(events: Sequence[Event]) -> list[Event]:
    """Return the events of the job that wrote to a log last, those of its earlier runs too."""
    last = next((event.get("job_sha256") for event in reversed(events) if event["event"] == "job"), None)
    return [event for event in events if event.get("job_sha256") == last]


def done(events: Iterable[Event], job_sha256: str) -> dict[str, Event]:
    """Return the tile events of a log, by key, that a run of this job may rely on.

    Those are the latest events of their keys, if they were written under the same job and did not fail: a tile that was
    done again under another job since is not trusted, because its output is the other job's.
    """
    return {
        key: event
        for key, event in latest(events).items()
        if event.get("job_sha256") == job_sha256 and event.get("decision") in SETTLED
    }


def split_key(key: str) -> tuple[str, int]:
    """Return the path and the page that a block's key names: "a/b.tif#7" is page 7 of "a/b.tif"."""
    match = re.fullmatch(r"(.+)#(\d{1,18})", key, re.DOTALL)
    return (match[1], int(match[2])) if match else (key, 0)


class Retakes:
    """The tiles that must be imaged again, or could not be read; holds little of each event.

    The latest event of each key counts, so a tile that was retaken and is good now is no longer listed.

    Parameters
    ----------
    events
        The first of them.
    """

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self._rows: dict[str, tuple[Any, ...]] = {}
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take the next event of the log."""
        if event["event"] != "tile":
            return
        if event.get("decision") not in TO_RETAKE:
            self.forget(event["key"])
            return
        said = event.get("warnings")
        why = [event.get("reason") or event.get("error"), *(said if isinstance(said, list) else ())]
        row = {**event, "reason": "; warning: ".join(str(text) for text in why if text) or None}
        self._rows[event["key"]] = tuple(_plain(row.get(name)) for name in _RETAKE_COLUMNS)

    def __contains__(self, key: object) -> bool:
        """Say whether a key is on the list."""
        return key in self._rows

    def forget(self, key: str) -> None:
        """Take a key off the list, if it is on it."""
        self._rows.pop(key, None)

    def table(self) -> str:
        """Return them as CSV with a header line, in natural order of their keys."""
        text = io.StringIO()
        table = csv.writer(text, lineterminator="\n")
        table.writerow(_RETAKE_COLUMNS)
        table.writerows(self._rows[key] for key in sorted(self._rows, key=natural))
        return text.getvalue()


def retake_table(events: Iterable[Event]) -> str:
    """Return the `Retakes` among events as CSV."""
    return Retakes(events).table()


def write_retakes(table: str, csv_path: Path) -> None:
    """Write a retake table; shards that share an output may all do so.

    Raises
    ------
    WriteError
        If the table cannot be written.
    """
    with writing(Path(csv_path)) as part:
        part.write_text(table, encoding="utf-8", errors="surrogateescape")


def _is_ours(event: Event) -> bool:
    """Say whether a line holds what its kind must hold; programs of others may append to a log too."""
    if any(not isinstance(event.get(name), kinds) for name, kinds in _FIELDS.items()):
        return False
    return all(event.get(name) is not None for name in ("event", *_NEEDED.get(event["event"], ())))


def _depth(value: Any) -> int:
    """Return how many lists and objects of a document lie in each other at most."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [item for outer in level for item in (outer.values() if isinstance(outer, dict) else outer)]
    return depth


def _torn(file: FileIO) -> bool:
    if not file.seek(0, os.SEEK_END):
        return False
    file.seek(-1, os.SEEK_END)
    return file.read(1) != b"\n"


def _plain(value: Any) -> Any:
    """Return a value as JSON can hold it; numbers that are not finite become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, str | int | bool) else str(value)
