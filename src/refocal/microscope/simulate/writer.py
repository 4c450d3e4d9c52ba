"""Writes what a microscope writes, in its pace, and keeps the truth about it elsewhere."""

import json
import os
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from refocal.core.errors import UsageError
from refocal.microscope.simulate.encode import Encoded
from refocal.microscope.simulate.image_pool import Variant
from refocal.microscope.simulate.plan import Shares

_AT_ONCE = 3
"""Slow files that are open at once; beyond that the first of them is finished."""


@dataclass
class _Slow:
    file: IO[bytes]
    rest: memoryview
    truth: dict[str, Any]


class Recorder:
    """Writes tiles and side-cars below a folder; every tile gets a line of truth when it is complete.

    Parameters
    ----------
    root
        The acquisition.
    truth
        JSON-lines file outside of it. A line has `name`, `quality`, `sigma_px`, `noise`, `bytes` and `complete`, the
        wall-clock time in seconds when the file was whole (null for one that never will be), and the identity of the
        tile. Lines with `event` instead tell when a section or batch was over.
    tiles_per_second
        0 does not wait.
    shares
        Of slow and torn files.
    """

    def __init__(self, root: Path, truth: IO[str], tiles_per_second: float, shares: Shares) -> None:
        self._root, self._truth = root, truth
        self._rate, self._shares = tiles_per_second, shares
        self._began: float | None = None
        self._slow: deque[_Slow] = deque()
        self.tiles = 0
        self.bytes = 0
        self.late_s = 0.0

    def tile(self, name: str, variant: Variant, rng: np.random.Generator, **identity: Any) -> None:
        """Write one tile when its time has come: at once, slowly, or never whole.

        The tile's number is stamped on its first eight pixels, so that no two files are the same (but for PNG).
        """
        self._wait()
        self.tiles += 1
        lot = rng.random()
        torn, slow = lot < self._shares.torn, lot < self._shares.torn + self._shares.slow
        head, body = _stamped(variant.file, self.tiles)
        truth = {
            "name": name,
            "quality": variant.quality,
            "sigma_px": variant.sigma_px,
            "noise": variant.noise,
            "bytes": len(variant.file.data),
            **identity,
            "torn": torn,
        }
        file = self._create(name)
        file.write(head)
        if slow:
            half = len(body) // 2
            file.write(body[:half])
            self._slow.append(_Slow(file, body[len(body) if torn else half :], truth))
        else:
            file.write(body)
            self._finish(file, truth)
        while len(self._slow) > _AT_ONCE:
            self._finish_first()

    def settle(self) -> None:
        """Finish the slow files: the microscope goes on to the next field."""
        while self._slow:
            self._finish_first()

    def beside(self, name: str, data: bytes) -> None:
        """Write a file that is no tile (thumbnail, overview, side-car)."""
        with self._create(name) as file:
            file.write(data)

    def append(self, name: str, text: str) -> None:
        """Add text to a log; the encoding is that of a western Windows."""
        path = self._root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "ab") as file:
            file.write(text.encode("cp1252", errors="replace"))

    def remove(self, name: str) -> None:
        """Delete a file."""
        (self._root / name).unlink()

    def event(self, event: str, **what: Any) -> None:
        """Add an event to the truth, now."""
        self._tell({"event": event, "time": time.time(), **what})

    def _wait(self) -> None:
        now = time.perf_counter()
        if self._began is None:
            self._began = now
        if self._rate:
            due = self._began + self.tiles / self._rate
            self.late_s = max(self.late_s, now - due)
            if due > now:
                time.sleep(due - now)

    def _finish_first(self) -> None:
        first = self._slow.popleft()
        first.file.write(first.rest)
        self._finish(first.file, first.truth)

    def _finish(self, file: IO[bytes], truth: dict[str, Any]) -> None:
        self.bytes += file.tell()
        file.close()
        self._tell(truth | {"complete": None if truth["torn"] else time.time()})

    def _tell(self, truth: dict[str, Any]) -> None:
        self._truth.write(json.dumps(truth) + "\n")
        self._truth.flush()

    def _create(self, name: str) -> IO[bytes]:
        path = self._root / name
        try:
            return open(path, "wb", buffering=0)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            return open(path, "wb", buffering=0)


def _stamped(file: Encoded, number: int) -> tuple[bytes, memoryview]:
    """Return a file in two pieces, with a number on its first eight pixels; packed pixels stay as they are."""
    if file.pixels is None:
        return b"", memoryview(file.data)
    return file.data[: file.pixels] + number.to_bytes(8, "little"), memoryview(file.data)[file.pixels + 8 :]


def check_empty(root: Path) -> None:
    """Refuse a folder that has something in it.

    Raises
    ------
    UsageError
        Because an acquisition is never written over anything.
    """
    if root.exists() and (not root.is_dir() or any(os.scandir(root))):
        raise UsageError(f"{root}: is there already; a replay needs a new or empty folder")
