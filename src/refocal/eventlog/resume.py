"""What a run that goes on must know of its log, read in one pass that keeps sixteen bytes of each line.

Of a tile's line only the place in the file is kept, under a hash of its key; the line itself is read when the tile's
turn comes. Whatever the place turns out to hold is looked at then, so two keys of one hash, a damaged line or a log
that was replaced meanwhile cost the tile to be done once more, and nothing else.
"""

import re
import threading
from array import array
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Self

import numpy as np

from refocal.core.plain_files import open_plain
from refocal.eventlog.current import TO_RETAKE
from refocal.eventlog.fields import Event
from refocal.eventlog.log import SETTLED, Damage, Retakes, lines, parsed

# How `Log` begins the line of a tile; lines that begin otherwise are parsed whole.
_TILE = re.compile(
    rb'\{"time": "[-+:.T0-9]{1,40}", "job_sha256": "[0-9a-f]{64}", "event": "tile", "key": "([ !#-\[\]-~]+)"'
)
_BAD = tuple(f'"{decision}"'.encode() for decision in sorted(TO_RETAKE))
_HASH = (1 << 64) - 1


class Settled(Mapping[str, Event]):
    """The tile events, by key, that a run of a job may rely on, as `done` returns them; read when they are asked for.

    Parameters
    ----------
    file
        The log, opened; None where there is none. It is closed with this.
    job_sha256
        The hash of the job.
    hashes, offsets
        Of the key of each tile's line, and where the line begins; in the order of the log.
    """

    def __init__(self, file: BinaryIO | None, job_sha256: str, hashes: "array[int]", offsets: "array[int]") -> None:
        self._job_sha256, self._lock = job_sha256, threading.Lock()
        self._file = file
        found = np.frombuffer(hashes, np.uint64) if hashes else np.zeros(0, np.uint64)
        order = np.argsort(found, kind="stable")
        ordered = found[order]
        last = np.append(ordered[1:] != ordered[:-1], True)[: len(ordered)]
        self._hashes = ordered[last]
        self._offsets = np.array(offsets, np.uint64)[order[last]]

    def __getitem__(self, key: str) -> Event:
        place = np.searchsorted(self._hashes, np.uint64(_hash(key.encode("utf-8", "surrogatepass"))))
        if place < len(self._hashes):
            event = self._event(int(self._offsets[place]))
            if event is not None and event["key"] == key:
                return event
        raise KeyError(key)

    def __iter__(self) -> Iterator[str]:
        for offset in np.sort(self._offsets):
            if (event := self._event(int(offset))) is not None:
                yield event["key"]

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _event(self, offset: int) -> Event | None:
        """Return the event of the line that begins here, if the job may rely on it."""
        if self._file is None:
            return None
        with self._lock:
            self._file.seek(offset)
            event = parsed(self._file.readline())
        good = event is not None and event["event"] == "tile" and event.get("decision") in SETTLED
        return event if good and event is not None and event.get("job_sha256") == self._job_sha256 else None

    def close(self) -> None:
        """Close the log; nothing is found any more."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Earlier:
    """A log as the next run of a job meets it.

    Parameters
    ----------
    path
        The log; it need not be there.
    job_sha256
        The hash of the job.
    """

    def __init__(self, path: Path, job_sha256: str) -> None:
        self.last_job: Mapping[str, Any] | None = None
        """The event that began the run that wrote to the log last."""
        self.aside: list[Event] = []
        """What runs of the same job logged of other things than tiles."""
        self.retakes = Retakes()
        hashes, offsets, damage = array("Q"), array("Q"), Damage(path)
        file = None
        with suppress(FileNotFoundError):
            file = open_plain(path)
        for number, offset, line in lines(path, file) if file else ():
            # What takes a tile off the list of retakes is read whole: a damaged line must not.
            if (key := _quick_key(line)) is not None and key.decode() not in self.retakes:
                pass
            elif (event := parsed(line)) is None:
                damage.add(number, line)
                continue
            elif event["event"] == "tile":
                key = event["key"].encode("utf-8", "surrogatepass")
                self.retakes.add(event)
            else:
                if event["event"] == "job" and event.get("job"):
                    self.last_job = event
                if event.get("job_sha256") == job_sha256:
                    self.aside.append(event)
                continue
            hashes.append(_hash(key))
            offsets.append(offset)
        damage.warn()
        self.settled = Settled(file, job_sha256, hashes, offsets)
        """The tiles that need not be done again; to be closed."""


def _quick_key(line: bytes) -> bytes | None:
    """Return the key of a tile that need not be taken again, None where the line has to be parsed to know."""
    begun = _TILE.match(line)
    if begun is None or not line.endswith(b"}\n") or b"\0" in line or any(bad in line for bad in _BAD):
        return None
    return begun[1]


def _hash(key: bytes) -> int:
    return hash(key) & _HASH
