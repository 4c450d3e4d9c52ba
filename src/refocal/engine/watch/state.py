"""What the log says, in memory: a few dozen bytes a tile, so that a million tiles fit beside a microscope.

The log is the truth. Everything here is made from its lines, the same way when a watch starts (all lines, once) and
while it runs (each line after it was written). Only the tiles in progress are known here alone: they have no line
yet, so after a kill they are simply found again.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from refocal.eventlog.current import TO_RETAKE, imaging, is_newer
from refocal.eventlog.log import Event, retake_table, split_key

_DECISIONS = ("", "restored", "kept", "retake", "no_content", "unreadable", "failed", "queued")
_CODES = {name: code for code, name in enumerate(_DECISIONS)}
_CODE_BITS, _SIZE_BITS = 4, 52
_RECENT = 4096
_ROW = ("event", "key", "path", "page", "decision", "verdict", "reason", "sigma_px", "sigma_nm", "noise", "section")


def version(size: int, mtime_ns: int) -> int:
    """Return one number for the state of a file."""
    return mtime_ns << _SIZE_BITS | size


def is_live(event: Event) -> bool:
    """Say whether an event is what a watch decided about a version of a tile."""
    state = event.get("size"), event.get("mtime_ns")
    return event["event"] == "tile" and None not in state and event.get("decision") in _CODES


@dataclass(slots=True)
class Section:
    """A section as far as it has come."""

    state: str = "open"
    counts: Counter[str] = field(default_factory=Counter)
    """Tiles per decision; the latest one of each tile."""
    taken: str = ""
    """The latest time of acquisition."""
    parent: str = ""
    """Folder of the imaging that counts ("." for the root); a section that is imaged again lies in another one. Empty
    where a section has no folders below its own."""

    @property
    def tiles(self) -> int:
        """Tiles that are decided."""
        return sum(count for decision, count in self.counts.items() if decision)


class WatchState:
    """Which version of each tile has been decided, and how; safe for several threads."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """Tiles per latest decision."""
        self.sections: dict[str, Section] = {}
        self.recent: OrderedDict[str, Event] = OrderedDict()
        """The latest tile events by key."""
        self.changed = threading.Condition(threading.RLock())
        """Notified after each tile event."""
        self._folders: dict[str, dict[str, int]] = {}
        self._in_progress: dict[str, dict[str, int]] = {}
        self._queued: dict[str, int] = {}
        self._retakes: dict[str, Event] = {}
        self._retakes_changed = True

    def read(self, events: Iterable[Event]) -> Iterator[Event]:
        """Learn the lines of a log, and pass them on; tiles that failed are forgotten, so that they are tried again."""
        for event in events:
            if event["event"] == "section" and event.get("section") in self.sections:
                self.sections[event["section"]].state = str(event.get("state", "open"))
            elif is_live(event):
                self.add(event)
                if event["decision"] == "failed":
                    self._forget_failure(event)
            yield event
        self.recent.clear()

    def _forget_failure(self, event: Event) -> None:
        folder, name = _split(event["key"])
        self._folders.get(folder, {}).pop(name, None)
        self.counts["failed"] -= 1
        section = self.sections.get(event.get("section") or "")
        if section is not None and section.parent == imaging(event["key"], event):
            section.counts["failed"] -= 1

    def recall(self, event: Event) -> None:
        """Learn again how a tile was decided that was forgotten with its folder: it will be decided again."""
        folder, name = _split(event["key"])
        with self.changed:
            known = version(event["size"], event["mtime_ns"]) << _CODE_BITS | _CODES[event["decision"]]
            self._folders.setdefault(folder, {}).setdefault(name, known)

    def add(self, event: Event) -> list[Event]:
        """Learn one tile event; return the section events that follow from it."""
        key, decision = event["key"], event["decision"]
        state = version(event["size"], event["mtime_ns"])
        folder, name = _split(key)
        with self.changed:
            before = self._queued.pop(key, None)
            packed = self._folders.get(folder, {}).get(name)
            was = "queued" if before is not None else _DECISIONS[packed % (1 << _CODE_BITS)] if packed else ""
            self._folders.setdefault(folder, {})[name] = state << _CODE_BITS | _CODES[decision]
            if decision == "queued":
                self._queued[key] = state
            if self._in_progress.get(folder, {}).get(name) == state:
                self._release(folder, name)
            self.counts[was] -= bool(was)
            self.counts[decision] += 1
            follow = self._section(event, was)
            self.recent[key] = event
            self.recent.move_to_end(key)
            if len(self.recent) > _RECENT:
                self.recent.popitem(last=False)
            self.changed.notify_all()
        return follow

    def version(self, key: str) -> int | None:
        """Return the version of a tile that is in progress or decided, None where neither is known (any more)."""
        folder, name = _split(key)
        with self.changed:
            if (held := self._in_progress.get(folder, {}).get(name)) is not None:
                return held
            packed = self._folders.get(folder, {}).get(name)
            return None if packed is None else packed >> _CODE_BITS

    def note(self, key: str, state: int) -> None:
        """Take note of a version of a stack, whose pages are tiles of their own; nothing is decided about it."""
        folder, name = _split(key)
        with self.changed:
            self._release(folder, name)
            self._folders.setdefault(folder, {})[name] = state << _CODE_BITS

    def begin(self, key: str, state: int) -> None:
        """Begin to work on a version of a tile."""
        folder, name = _split(key)
        with self.changed:
            self._in_progress.setdefault(folder, {})[name] = state

    def drop(self, key: str, state: int) -> None:
        """Give up a version of a tile undecided; nothing happens if work on another one has begun since."""
        folder, name = _split(key)
        with self.changed:
            if self._in_progress.get(folder, {}).get(name) == state:
                self._release(folder, name)

    def in_progress(self, folder: str) -> bool:
        """Say whether a tile of a folder is in progress."""
        return folder in self._in_progress

    def decisions(self, folder: str) -> Mapping[str, int]:
        """Return the decided versions in a folder by file name; do not change it."""
        return self._folders.get(folder, {})

    def forget(self, folder: str) -> None:
        """Forget the tiles of a folder that will never be looked at again; counts, sections and retakes stay."""
        with self.changed:
            self._folders.pop(folder, None)

    def end_section(self, name: str, folder: str) -> Event | None:
        """Return the event that says that a section is complete now that a folder is closed.

        None if it is not, because it has more folders, or if that was said before.
        """
        with self.changed:
            section = self.sections.get(name)
            if section is None or section.state == "complete":
                return None
            if folder and section.parent and section.parent != folder and not section.parent.startswith(f"{folder}/"):
                return None
            section.state = "complete"
            return _section_event(name, section)

    def end_full_section(self, name: str, tiles: int) -> Event | None:
        """Return the event that says that a section of `tiles` tiles is complete; None if it is not, or was before."""
        with self.changed:
            section = self.sections.get(name)
            if section is None or section.state == "complete" or section.tiles < tiles:
                return None
            section.state = "complete"
            return _section_event(name, section)

    def retakes(self) -> str | None:
        """Return the retake list as CSV, None if it has not changed since the last call."""
        with self.changed:
            if not self._retakes_changed:
                return None
            self._retakes_changed = False
            return retake_table(self._retakes.values())

    def retry_retakes(self) -> None:
        """Have `retakes` return the list again, changed or not."""
        with self.changed:
            self._retakes_changed = True

    def _release(self, folder: str, name: str) -> None:
        held = self._in_progress.get(folder, {})
        held.pop(name, None)
        if not held:
            self._in_progress.pop(folder, None)

    def _section(self, event: Event, was: str) -> list[Event]:
        key, decision, name = event["key"], event["decision"], event.get("section")
        self._retakes_changed |= self._retakes.pop(key, None) is not None
        follow: list[Event] = []
        if name is not None:
            section = self.sections.get(name)
            taken, parent = event.get("taken") or "", imaging(key, event)
            if section is not None and parent != section.parent and not is_newer(taken, section.taken):
                return []  # an older imaging of a section that was imaged again
            if section is not None and parent != section.parent and taken != section.taken:
                follow.append({**_section_event(name, section), "state": "superseded"})
                self._supersede(name)
                section = None
            if section is None:
                section = self.sections[name] = Section(parent=parent)
                was = ""
                follow.append(_section_event(name, section))
            section.taken = max(section.taken, taken)
            section.counts[was] -= bool(was)
            section.counts[decision] += 1
        if decision in TO_RETAKE:
            self._retakes[key] = {column: event.get(column) for column in _ROW}
            self._retakes_changed = True
        return follow

    def _supersede(self, name: str) -> None:
        for key in [key for key, event in self._retakes.items() if event["section"] == name]:
            del self._retakes[key]
            self._retakes_changed = True


def _section_event(name: str, section: Section) -> Mapping[str, Any]:
    counts = {decision: count for decision, count in section.counts.items() if decision and count}
    return {
        "event": "section",
        "section": name,
        "state": section.state,
        "tiles": section.tiles,
        "counts": counts,
    }


def _split(key: str) -> tuple[str, str]:
    """Split a key into folder and file name, with the page if there is one."""
    folder, _, name = key.rpartition("/")
    return folder, name


def file_of(key: str) -> str:
    """Return the file's relative name of a key."""
    return split_key(key)[0]
