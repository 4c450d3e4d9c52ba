"""Finds new tiles in a tree that a microscope writes to, by polling: remote shares send no events.

A poll costs what is new, not what is there. The newest folder on each level, folders that changed lately and the
folders above them are looked at in every poll; the others the more rarely the longer they are quiet, and only a bounded
number of them in one poll. A folder is listed when its time of change is new (or was when it was last listed), and
once in a while to see files that were replaced. What the layout calls closed is listed once more and never again.

A file is a tile when it is complete, which is believed in this order: the layout says so; a done-file lies beside it;
a later tile of the same stream is there; its head, length and last row agree (`proof.says_whole`); size and time of
change were the same in three polls and for a while. Where the layout names complete files, it is waited for.

Clocks are not believed: ages are measured with a monotonic clock from when something was first seen, and the times of
files are only compared for being equal.
"""

import heapq
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from refocal.core.layout import FolderStatus, Layout, TileLocation
from refocal.core.natural_order import natural
from refocal.engine.watch.completeness import says_whole
from refocal.engine.watch.folder import Folder, Pending
from refocal.engine.watch.state import WatchState, version

_LATELY = 30.0
_GRAIN = 2.0  # seconds; FAT stores times of this resolution
_SLOWEST, _SLOWEST_CHECK, _FASTEST_CHECK = 300.0, 600.0, 5.0
_BUDGET, _SECONDS = 2000, 0.1  # entries of quiet folders that are touched in one poll, and time for it
_OLD, _REFUSED = 3600.0, 10.0
_BREATH = 0.1
_POLLS = 3
_PATIENCE = 10  # times as long as `settle`, where the layout usually says what is complete
_DONE_FILES = (".done", ".ok", ".complete", "^keep")

Notice = Callable[[str, str, bool], None]
"""Called with a kind (`share_gone`, `no_access`), a line about it, and whether it is so or over."""


@dataclass(frozen=True, slots=True)
class Found:
    """A complete file."""

    name: str
    """Relative posix path."""
    state: tuple[int, int]
    """Size and time of change, ns."""
    place: TileLocation
    since: float
    """When it was first seen as it is, on the monotonic clock."""
    stage_nm: tuple[float, float] | None = None
    pixel_nm: float | None = None


class Scanner:
    """Polls a tree; used by one thread.

    Parameters
    ----------
    root
        The tree.
    layout
        Tells tiles and folders apart.
    ledger
        What is decided or in progress already.
    settle
        Seconds for which size and time of a file must stay the same, where nothing better says that it is complete.
    notice
        Is told what goes wrong.
    closed
        Called with a folder that is closed and whose tiles are all decided, and the names of the sections in it.
    over
        Called with sections that the microscope has finished, and how many tiles each has, again and again.
    """

    def __init__(
        self,
        root: Path,
        layout: Layout,
        ledger: WatchState,
        *,
        settle: float = 3.0,
        notice: Notice = lambda kind, line, active: None,
        closed: Callable[[str, Iterable[str]], None] = lambda folder, sections: None,
        over: Callable[[Mapping[str, int]], None] = lambda sections: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.root = Path(root)
        self.touched = 0
        """Entries and states that were asked of the file system so far."""
        self.gone = False
        self.pending = 0
        """Files that are there and not believed to be complete."""
        self.swept = False
        """Whether no folder waits to be listed for the first time."""
        self._layout, self._ledger, self._settle = layout, ledger, settle
        self._notice, self._closed, self._over, self._clock = notice, closed, over, clock
        self._folders: dict[str, Folder] = {}
        self._lately: dict[str, None] = {}
        self._quiet: list[tuple[float, str]] = []
        self._streams: dict[tuple[object, ...], str] = {}
        self._had_entries = False
        self._breath = self._away = 0.0

    def poll(self) -> Iterator[Found | None]:
        """Look once, and yield the tiles that are complete and new, or new versions, as they are found.

        In a long look also None, every tenth of a second, for a caller who has other things to do.
        """
        now = self._breath = self._clock()
        if not self._reached():
            return
        if "" not in self._folders:
            self._folders[""] = Folder("", now)
        hot, visited = self._hot(), set[str]()
        while hot:
            for name in hot:
                visited.add(name)
                if folder := self._folders.get(name):
                    yield from self._visit(folder, now)
            hot = [name for name in self._lately if name not in visited]
        self.pending = sum(len(self._folders[name].pending) for name in self._lately)
        limit = self.touched + _BUDGET
        while self._quiet and self._quiet[0][0] <= now and self.touched < limit and self._clock() - now < _SECONDS:
            folder = self._folders.get(heapq.heappop(self._quiet)[1])
            if folder and folder.asleep:
                folder.asleep = False
                yield from self._visit(folder, now)
        self.swept = not self._quiet or self._quiet[0][0] > now

    def place(self, name: str) -> TileLocation | None:
        """Return where a file belongs, or None if it is not a tile."""
        return self._layout.place(name)

    def take(self, name: str) -> Found | None:
        """Take a file of which somebody says that it is complete; None if it is decided, or not there."""
        place, state = self._layout.place(name), self._state(name)
        if place is None or state is None or self._ledger.version(name) == version(*state):
            return None
        if folder := self._folders.get(name.rpartition("/")[0]):
            folder.pending.pop(name.rpartition("/")[2], None)
        self._ledger.begin(name, version(*state))
        return Found(name, state, place, self._clock())

    def reconsider(self, name: str) -> None:
        """Look at a file again that has changed since it was found."""
        above, _, last = name.rpartition("/")
        if (folder := self._folders.get(above)) and (place := self._layout.place(name)):
            self._meet(folder, last, place, self._clock())

    def _reached(self) -> bool:
        """Say whether the root is there; an empty one that was not empty is a share that is not mounted."""
        self.touched += 1
        try:
            with os.scandir(self.root) as entries:
                there = next(entries, None) is not None
            gone = self._had_entries and not there
            why = "is empty now: the share may not be mounted"
            self._had_entries |= there
        except OSError as error:
            gone, why = True, f"cannot be listed: {error.strerror}"
        if gone != self.gone:
            self.gone = gone
            self._notice("share_gone", f"{self.root} {why if gone else 'is back'}", gone)
        return not gone

    def _hot(self) -> list[str]:
        """Return the newest folder of each level, those that changed lately, and those above them, deepest last."""
        names = dict.fromkeys(("", *self._lately))
        newest = self._folders[""].newest
        while newest and newest in self._folders:
            names[newest] = None
            newest = self._folders[newest].newest
        for name in list(names):
            while name:
                name = name.rpartition("/")[0]
                names[name] = None
        return sorted(names, key=lambda name: name.count("/") + bool(name))

    def _breathe(self) -> Iterator[None]:
        """Let the caller do other things if it is time; what those take is not counted as time spent on listing."""
        before = self._clock()
        if before - self._breath >= _BREATH:
            yield None
            self._breath = self._clock()
            self._away += self._breath - before

    def _visit(self, folder: Folder, now: float) -> Iterator[Found | None]:
        try:
            self.touched += 1
            mtime_ns = os.stat(self.root / folder.name).st_mtime_ns
            folder.known = self._layout.known(self.root, folder.name)
            folder.closing |= folder.known.closed
            if folder.known.over:
                self._over(folder.known.over)
            if mtime_ns != folder.mtime_ns:
                if folder.mtime_ns >= 0:
                    folder.changed = now
                folder.mtime_ns = mtime_ns
                self._note_newest(folder.name, mtime_ns)
            if now >= folder.wait and (folder.listed < folder.changed + _GRAIN or now >= folder.check):
                yield from self._list(folder, now, check=now >= folder.check)
            self._access(folder, None)
        except OSError as error:
            folder.missing = isinstance(error, FileNotFoundError)
            if folder.missing:
                folder.pending.clear()
            else:
                self._access(folder, error)
        else:
            folder.missing = False
        yield from self._complete(folder, now)
        self._settle_down(folder, now)

    def _note_newest(self, name: str, mtime_ns: int) -> None:
        while name:
            above = name.rpartition("/")[0]
            parent = self._folders.get(above)
            if parent is None:
                return
            other = self._folders.get(parent.newest)
            if other is None or mtime_ns >= other.mtime_ns:
                parent.newest = name
            name = above

    def _list(self, folder: Folder, now: float, *, check: bool) -> Iterator[None]:
        decided = self._ledger.decisions(folder.name)
        prefix = f"{folder.name}/" if folder.name else ""
        start, seen, below = self._clock() - self._away, set[str](), list[str]()
        with os.scandir(self.root / folder.name) as entries:
            for entry in entries:
                yield from self._breathe()
                self.touched += 1
                name = entry.name
                seen.add(name)
                if not check and name in decided:
                    continue
                if entry.is_dir(follow_symlinks=False):
                    below.append(prefix + name)
                elif name.endswith(_DONE_FILES):
                    folder.markers.add(next(name.removesuffix(end) for end in _DONE_FILES if name.endswith(end)))
                elif name not in folder.pending and (place := self._layout.place(prefix + name)):
                    self._meet(folder, name, place, now)
        # A folder is listed in any order; who follows a stream needs the frames as they were taken.
        pending = sorted(folder.pending.keys() & seen, key=natural)
        folder.pending = {name: folder.pending[name] for name in pending}
        self._enter(folder, below, now)
        folder.listed = now
        if check:
            folder.check = now + min(max(_FASTEST_CHECK, (now - folder.changed) / 4), _SLOWEST_CHECK)
        folder.wait = now + 10 * (self._clock() - self._away - start)

    def _enter(self, folder: Folder, names: list[str], now: float) -> None:
        """Take note of folders; of many that were there before the first look, only the last one is urgent."""
        names = [name for name in names if name.rpartition("/")[2] not in folder.finished]
        for name in names:
            if name in self._folders and self._folders[name].missing:
                self._lately[name] = None
        names = [name for name in names if name not in self._folders and self._layout.descends(name)]
        first = folder.listed < 0
        for i, name in enumerate(sorted(names, key=natural, reverse=True)):
            folder.children.add(name)
            self._folders[name] = Folder(name, now, closing=folder.closing)
            if not first or i == 0:
                self._lately[name] = None
            else:
                self._folders[name].changed = now - _OLD
                self._sleep(self._folders[name], now + i * 1e-6)

    def _sleep(self, folder: Folder, due: float) -> None:
        if not folder.asleep:
            folder.asleep = True
            heapq.heappush(self._quiet, (due, folder.name))

    def _meet(self, folder: Folder, name: str, place: TileLocation, now: float) -> None:
        """Take note of a file that is not decided, or not in its present version."""
        key = f"{folder.name}/{name}" if folder.name else name
        folder.sections.add(place.section)
        state = self._state(key)
        if state is None or self._ledger.version(key) == version(*state):
            return
        folder.pending[name] = Pending(place, state, now)
        if place.taken:
            stream = (place.region, place.grid, place.beam)
            self._streams[stream] = max(self._streams.get(stream, ""), place.taken)
        elif not folder.latest or natural(name) > natural(folder.latest):
            folder.latest = name
        self._lately[folder.name] = None

    def _state(self, key: str) -> tuple[int, int] | None:
        self.touched += 1
        try:
            found = os.stat(self.root / key)
        except OSError:
            return None
        return found.st_size, found.st_mtime_ns

    def _complete(self, folder: Folder, now: float) -> Iterator[Found | None]:
        """Look at the pending files again, and take those that are complete."""
        for name, pending in list(folder.pending.items()):
            yield from self._breathe()
            if folder.pending.get(name) is not pending:  # taken, or reconsidered, since the last yield
                continue
            key = f"{folder.name}/{name}" if folder.name else name
            state = self._state(key)
            if state is None or state != pending.state:
                if state is None:
                    del folder.pending[name]
                else:
                    folder.pending[name] = Pending(pending.place, state, now)
                continue
            pending.polls += now > pending.since
            if self._is_complete(folder, name, pending, now):
                del folder.pending[name]
                self._ledger.begin(key, version(*state))
                stage = folder.known.stage_nm.get(name)
                yield Found(key, state, pending.place, pending.since, stage, folder.known.pixel_nm)

    def _is_complete(self, folder: Folder, name: str, pending: Pending, now: float) -> bool:
        if name in folder.known.complete or name in folder.markers:
            return True
        age, settled = now - pending.since, pending.polls >= _POLLS
        if folder.known.complete and pending.place.beam is None:
            return settled and age >= self._settle * _PATIENCE
        place = pending.place
        if place.taken:
            later = self._streams.get((place.region, place.grid, place.beam), "") > place.taken
        else:
            later = bool(folder.latest) and natural(name) < natural(folder.latest)
        if pending.state[0] and (later or pending.polls > 1) and says_whole(self.root / folder.name / name):
            return True
        return settled and age >= self._settle

    def _settle_down(self, folder: Folder, now: float) -> None:
        """Close a folder, or decide when it is looked at next."""
        if folder.closing:
            for child in folder.children:
                if child in self._folders and not self._folders[child].closing:
                    self._folders[child].closing = True
                    self._lately[child] = None
            if self._try_to_finish(folder, now):
                return
        quiet = now - folder.changed
        awake = folder.pending or folder.closing or quiet < _LATELY or folder.listed < folder.changed + _GRAIN
        if awake and not folder.missing and not folder.refused:
            self._lately[folder.name] = None
            return
        self._lately.pop(folder.name, None)
        folder.known = FolderStatus()  # it may hold positions of thousands of tiles
        if folder.name:
            self._sleep(folder, now + (_REFUSED if folder.refused else min(quiet / 60, _SLOWEST)))

    def _try_to_finish(self, folder: Folder, now: float) -> bool:
        deleted = folder.missing and now >= folder.changed + _LATELY
        listed = folder.listed >= folder.changed + _GRAIN
        if not (listed or deleted) or folder.pending or folder.children or self._ledger.in_progress(folder.name):
            return False
        if folder.name:
            del self._folders[folder.name]
            self._lately.pop(folder.name, None)
            parent = self._folders[folder.name.rpartition("/")[0]]
            parent.children.discard(folder.name)
            parent.finished.add(folder.name.rpartition("/")[2])
            parent.sections |= folder.sections
        self._closed(folder.name, sorted(folder.sections))
        self._ledger.forget(folder.name)
        return bool(folder.name)

    def _access(self, folder: Folder, error: OSError | None) -> None:
        refused = error is not None
        if refused != folder.refused:
            folder.refused = refused
            why = f"cannot be read: {error.strerror}" if error else "can be read again"
            self._notice("no_access", f"{self.root / folder.name} {why}", refused)
