"""Text files that another program is still writing: read what is new, complete lines first, and never raise.

The writer may be in the middle of a line, on a share that answers intermittently, in an unexpected encoding (cp1252,
UTF-16), with space allocated ahead (zeros). Zero bytes are dropped, which also makes the ASCII of UTF-16 readable; a
line that is not UTF-8 is taken as cp1252.
"""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Generic, Protocol, TypeVar

_PIECE = 1 << 20
_LONGEST_LINE = 1 << 16
_MARK = 64

T = TypeVar("T")


class Reader(Protocol):
    """Learns a file line by line; learning a line twice must change nothing."""

    def clear(self) -> None:
        """Forget everything: the file was replaced."""
        ...

    def learn(self, line: str) -> None:
        """Take in one line, without its end."""
        ...


class Tail:
    """Follows one growing text file; costs one `stat` when nothing changed, and reads only what is new.

    Parameters
    ----------
    path
        The file, which need not exist.
    torn
        Also teach the last line while it has no end. Only for readers that recognise a whole line by itself.
    """

    def __init__(self, path: Path, *, torn: bool = False) -> None:
        self._path, self._torn = path, torn
        self._state = (-1, -1)
        self._offset, self._mark = 0, b""

    def follow(self, reader: Reader) -> bool:
        """Teach the reader what is new, and say whether there was anything; a file that cannot be read waits."""
        try:
            found = os.stat(self._path)
            state = (found.st_size, found.st_mtime_ns)
            if state == self._state:
                return False
            for line in self._news(reader):
                reader.learn(line)
        except OSError:
            return False
        self._state = state
        return True

    def _news(self, reader: Reader) -> Iterator[str]:
        with open(self._path, "rb", buffering=0) as file:
            if self._offset:
                file.seek(self._offset - len(self._mark))
                if file.read(len(self._mark)) != self._mark:
                    self._offset, self._mark = 0, b""
                    reader.clear()
            file.seek(self._offset)
            rest = b""
            while piece := file.read(_PIECE):
                whole, newline, rest = (rest + piece).rpartition(b"\n")
                if newline:
                    self._offset += len(whole) + 1
                    self._mark = (whole + newline)[-_MARK:]
                    yield from (text(line) for line in whole.split(b"\n") if len(line) <= _LONGEST_LINE)
                rest = rest if len(rest) <= _LONGEST_LINE else b""
            if self._torn and rest:
                yield text(rest)


def text(line: bytes) -> str:
    """Decode a line of a log, whatever wrote it."""
    line = line.replace(b"\0", b"").strip(b"\r\n").removeprefix(b"\xef\xbb\xbf").removeprefix(b"\xff\xfe")
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("cp1252", errors="replace")


class Recent(Generic[T]):
    """The most recently used values by key; others are forgotten and made again when needed."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, T] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key, made now if it is not there."""
        if key not in self._values:
            self._values[key] = make()
            if len(self._values) > self._most:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        return self._values[key]

    def __len__(self) -> int:
        return len(self._values)
