r"""SBEMimage: slices of a block, or sections of an array, imaged tile by tile in grids.

    stack/
      tiles/g0000/t0065/stack_g0000_t0065_s00314.ome.tif           grid, tile, slice (older versions: .tif)
      tiles/a0001/r0002/t0003/stack_a0001_r0002_t0003_s00000.ome.tif    array, section in it, tile
      tiles/rejected/, overviews/, workspace/                      not tiles
      meta/logs/imagelist_<time>.txt    tiles\g0000\t0065\stack_....ome.tif;x;y;z;slice, in nm
      meta/logs/metadata_<time>.txt     SESSION: {...}, TILE: {...}, SLICE COMPLETE: {...}

A tile folder is never closed: every slice adds a file to each. A tile is grabbed as `grab.tif`, written again under its
name, inspected, and perhaps deleted and grabbed again under the same name. So it is complete only when a log names it,
which happens once it is accepted. The logs are one pair for each session; only the newest pair grows.
"""

import os
import re
from collections import Counter
from functools import partial
from pathlib import Path

from refocal.core.layout import FolderStatus, TileLocation
from refocal.parts.layouts._names import is_aside, split
from refocal.parts.layouts._sessions import NEWEST, Session
from refocal.parts.layouts._tail import Recent, Tail

__all__ = ["SbemImage"]

_GRID_TILE = re.compile(
    r".+?_g(?P<grid>\d{4})_t(?P<tile>\d{4})_s(?P<slice>\d{5})(?:\.ome)?\.tiff?", re.ASCII | re.IGNORECASE | re.DOTALL
)
_ARRAY_TILE = re.compile(
    r".+?_a(?P<array>\d{4})_r(?P<roi>\d{4})_t(?P<tile>\d{4})_s(?P<slice>\d{5})(?:\.ome)?\.tiff?",
    re.ASCII | re.IGNORECASE | re.DOTALL,
)
_FOLDERS = re.compile(r"tiles(?:/g\d{4}(?:/t\d{4})?|/a\d{4}(?:/r\d{4}(?:/t\d{4})?)?)?", re.ASCII)
_LOG = re.compile(r"(imagelist|metadata)_(?!ov)(.+)\.txt", re.DOTALL)
_NOT_TILES = frozenset(("overviews", "workspace", "meta", "rejected"))
_DEEPEST = 8
_STACKS, _ANSWERS = 16, 128
_MOVING = 8  # slices at the end whose tiles are counted again whenever the logs grow


class SbemImage:
    """Stacks of SBEMimage; used by one thread."""

    def __init__(self) -> None:
        self._stacks: Recent[_Stack] = Recent(_STACKS)
        self._answers: Recent[_Answer] = Recent(_ANSWERS)

    def matches(self, root: Path) -> bool:
        """Recognise a stack by its folders, or a folder of stacks."""
        here = _listed(Path(root))
        if "tiles" in here:
            below = {f"tiles/{name}" for name in _listed(Path(root) / "tiles")}
            return any(_FOLDERS.fullmatch(name) for name in below) or "logs" in _listed(Path(root) / "meta")
        return any({"tiles", "meta"} <= _listed(Path(root) / name) for name in sorted(here)[:200])

    def descends(self, folder: str) -> bool:
        """Descend to the tile folders of grids and arrays only."""
        parts = split(folder)
        if len(parts) > _DEEPEST or any(is_aside(part) for part in parts):
            return False
        if "tiles" in parts:
            return bool(_FOLDERS.fullmatch("/".join(parts[parts.index("tiles") :])))
        return _NOT_TILES.isdisjoint(parts)

    def place(self, name: str) -> TileLocation | None:
        """Return the slice as section, and grid and tile; in arrays, the array's region and slice as section."""
        *folders, file = split(name) or [""]
        if is_aside(file) or not self.descends("/".join(folders)):
            return None
        stack = ".".join(folders[: folders.index("tiles")]) + "." if "tiles" in folders[1:] else ""
        if found := _ARRAY_TILE.fullmatch(file):
            roi = int(found["roi"])
            section = f"{stack}a{found['array']}.r{found['roi']}.s{found['slice']}"
            return TileLocation(section, f"t{found['tile']}", region=roi, grid=roi)
        if found := _GRID_TILE.fullmatch(file):
            return TileLocation(
                f"{stack}s{found['slice']}", f"g{found['grid']}.t{found['tile']}", grid=int(found["grid"])
            )
        return None

    def known(self, root: Path, folder: str) -> FolderStatus:
        """Return which of the newest tiles of a folder are accepted, and where they are, nanometres.

        Raises
        ------
        OSError
            If the folder itself cannot be reached.
        """
        root = Path(root)
        os.stat(root / folder)
        parts = split(folder)
        if "tiles" not in parts:
            return self._over(root, folder)
        depth = parts.index("tiles")
        stack = self._stack(root.joinpath(*parts[:depth]))
        inner = "/".join(parts[depth:])
        answer = self._answers.get((root, folder), _Answer)
        if answer.version != (version := stack.version(inner)):
            places = stack.accepted(inner)
            answer.known = FolderStatus(frozenset(places), False, places, stack.pixel_nm(inner))
            answer.version = version
        return answer.known

    def _over(self, root: Path, folder: str) -> FolderStatus:
        """Return which sections of a stack are over, the cut surface and all, as its logs say."""
        stack = self._stack(root / folder)
        answer = self._answers.get((root, folder), _Answer)
        if answer.version != (version := stack.version(None)):
            done, over = stack.slices_done(), Counter[str]()
            for number in done:
                if number not in answer.slices or number in done[-_MOVING:]:
                    places = (self.place(f"{folder}/{name}") for name in stack.slice(number))
                    answer.slices[number] = Counter(place.section for place in places if place)
                over += answer.slices[number]
            answer.slices = {number: answer.slices[number] for number in done}
            answer.known, answer.version = FolderStatus(over=over), version
        return answer.known

    def _stack(self, base: Path) -> "_Stack":
        stack = self._stacks.get(base, partial(_Stack, base))
        stack.follow()
        return stack


class _Answer:
    """What was last said about a tile folder, and after how much reading."""

    def __init__(self) -> None:
        self.version: object = None
        self.known = FolderStatus()
        self.slices: dict[int, Counter[str]] = {}


class _Stack:
    """The logs of one stack; those of older sessions are read once."""

    def __init__(self, base: Path) -> None:
        self._logs = base / "meta" / "logs"
        self._listing: tuple[int, list[str]] = (-1, [])
        self._sessions: dict[str, tuple[list[Tail], Session]] = {}

    def follow(self) -> list[Session]:
        """Read what is new, and return the sessions, oldest first."""
        times = self._times()
        newest = times[-2:]
        for time in times:
            new = time not in self._sessions
            if new:
                tails = [Tail(self._logs / f"{kind}_{time}.txt") for kind in ("imagelist", "metadata")]
                self._sessions[time] = tails, Session()
            if new or time in newest:
                tails, session = self._sessions[time]
                for tail in tails:
                    tail.follow(session)
        return [self._sessions[time][1] for time in sorted(self._sessions)]

    def version(self, folder: str | None) -> tuple[int, ...]:
        """Return what changes whenever more is known about a folder, or about the stack."""
        return tuple(session.version(folder) for _, session in self._sessions.values())

    def accepted(self, folder: str) -> dict[str, tuple[float, float]]:
        """Return the newest tiles of a folder and their positions, nanometres."""
        found: dict[str, tuple[float, float]] = {}
        for time in sorted(self._sessions):
            found.update(self._sessions[time][1].accepted(folder))
        return found

    def slices_done(self) -> tuple[int, ...]:
        """Return the newest slices that are over."""
        done = {number for _, session in self._sessions.values() for number in session.slices_done}
        return tuple(sorted(done)[-NEWEST:])

    def slice(self, number: int) -> set[str]:
        """Return the accepted tiles of a slice, relative to the stack."""
        return {name for _, session in self._sessions.values() for name in session.slice(number)}

    def pixel_nm(self, folder: str) -> float | None:
        """Return the pixel size of a folder's grid in the newest session that tells it."""
        sizes = [session.pixel_nm(folder) for _, session in (self._sessions[t] for t in sorted(self._sessions))]
        return next((size for size in reversed(sizes) if size), None)

    def _times(self) -> list[str]:
        try:
            changed = os.stat(self._logs).st_mtime_ns
            if changed != self._listing[0]:
                found = (_LOG.fullmatch(name) for name in os.listdir(self._logs))
                self._listing = changed, sorted({log[2] for log in found if log})
        except OSError:
            pass
        return self._listing[1]


def _listed(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
