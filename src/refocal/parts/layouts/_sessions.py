"""What the logs of one SBEMimage session say about the newest tiles of each folder."""

import ast
import re
from collections.abc import Iterator, Mapping
from typing import Any

# Slices of a folder that are remembered, 200 bytes each; older ones have been final for days.
NEWEST = 1024

_NUMBER = r"(-?\d{1,15}(?:\.\d{1,9})?)"
_COUNT = r"(\d{1,9})"
_ACCEPTED = re.compile(rf"([^;]+\.tiff?);{_NUMBER};{_NUMBER};{_NUMBER};{_COUNT}", re.ASCII | re.IGNORECASE)
_SLICE = re.compile(r"(.*_s)(\d{5})(\D*)", re.ASCII | re.DOTALL)
_FIELDS = {
    key: re.compile(rf"'{key}': {value}", re.ASCII)
    for key, value in (("filename", "(?:'([^']+)'|\"([^\"]+)\")"), ("glob_x", _NUMBER), ("glob_y", _NUMBER))
}
_DONE = re.compile(r"'completed_slice': (\d{1,9})(?!\d)", re.ASCII)
_GRID = re.compile(r"tiles/g(\d{4})(?:/|$)", re.ASCII)


class Session:
    """One pair of `imagelist` and `metadata` files; both name accepted tiles, and either is enough."""

    def __init__(self) -> None:
        self._folders: dict[str, _Folder] = {}
        self._pixel_nm: dict[int, float] = {}
        self._learned = 0
        self.slices_done: set[int] = set()

    def clear(self) -> None:
        """Forget nothing: what was accepted stays accepted, and two files teach one session."""

    def learn(self, line: str) -> None:
        """Take in one line of either file."""
        self._learned += 1
        kind, sign, rest = line.partition(": ")
        if sign and kind == "TILE":
            self._learn_tile(rest)
        elif sign and kind == "SESSION":
            self._learn_session(rest)
        elif sign and kind == "SLICE COMPLETE":
            if done := _DONE.search(rest):
                self.slices_done.add(int(done[1]))
        elif found := _ACCEPTED.fullmatch(line.strip()):
            self._accept(found[1], float(found[2]), float(found[3]))

    def accepted(self, folder: str) -> Mapping[str, tuple[float, float]]:
        """Return the newest tiles of a folder and their positions, nanometres."""
        return self._folders[folder].newest() if folder in self._folders else {}

    def slice(self, number: int) -> Iterator[str]:
        """Yield the accepted tiles of a slice that are remembered, relative to the stack."""
        for folder, tiles in self._folders.items():
            if (name := tiles.name(number)) is not None:
                yield f"{folder}/{name}"

    def version(self, folder: str | None) -> int:
        """Return a number that grows whenever more is known about a folder, or about the stack."""
        if folder is None:
            return self._learned
        return self._folders[folder].version if folder in self._folders else 0

    def pixel_nm(self, folder: str) -> float | None:
        """Return the pixel size of the grid that a folder belongs to; not known for arrays."""
        grid = _GRID.match(folder)
        return self._pixel_nm.get(int(grid[1])) if grid else None

    def _learn_tile(self, fields: str) -> None:
        found = {key: pattern.search(fields) for key, pattern in _FIELDS.items()}
        name, x, y = found["filename"], found["glob_x"], found["glob_y"]
        if name and x and y:
            self._accept(name[1] or name[2], float(x[1]), float(y[1]))

    def _learn_session(self, fields: str) -> None:
        try:
            session: Any = ast.literal_eval(fields.strip())
            pairs = zip(session["grids"], session["pixel_sizes"], strict=False)
            self._pixel_nm |= {int(grid): float(size) for grid, size in pairs if 0 < float(size) < 1e6}
        except (ValueError, SyntaxError, TypeError, KeyError, RecursionError, MemoryError, OverflowError):
            return

    def _accept(self, name: str, x_nm: float, y_nm: float) -> None:
        folder, _, file = name.replace("\\\\", "/").replace("\\", "/").rpartition("/")
        if found := _SLICE.fullmatch(file):
            self._folders.setdefault(folder, _Folder()).put(found[1], int(found[2]), found[3], x_nm, y_nm)


class _Folder:
    """Tiles of one folder by slice: names differ in the slice only, as long as the stack keeps its name."""

    def __init__(self) -> None:
        self._named: tuple[str, str] = ("", "")
        self._places: dict[int, tuple[float, float]] = {}
        self.version = 0

    def put(self, before: str, number: int, after: str, x_nm: float, y_nm: float) -> None:
        if self._named != (before, after):
            self._named, self._places = (before, after), {}
        if self._places.get(number) != (x_nm, y_nm):
            self._places[number] = x_nm, y_nm
            self.version += 1
            if len(self._places) > NEWEST:
                del self._places[next(iter(self._places))]

    def name(self, number: int) -> str | None:
        return f"{self._named[0]}{number:05d}{self._named[1]}" if number in self._places else None

    def newest(self) -> dict[str, tuple[float, float]]:
        before, after = self._named
        return {f"{before}{number:05d}{after}": place for number, place in self._places.items()}
