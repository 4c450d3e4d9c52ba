"""Tiles that were graded and are still to be restored, as a source; what an operator says about tiles goes this way.

The queue is in the log: a tile whose latest line says `queued` is in it. Here are only its order and a few numbers.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from refocal.core.blocks import Block, Box
from refocal.core.errors import LaterError, UnreadableError
from refocal.core.layout import Layout
from refocal.core.natural_order import natural
from refocal.core.values import Frames, Gate, Grade, ImageInfo, Verdict
from refocal.engine.tiles.reading import ContrastOf, read_page
from refocal.engine.tiles.tiles import Tile
from refocal.engine.watch.completeness import state_of, waits
from refocal.engine.watch.source import place_facts, tile_of
from refocal.engine.watch.state import is_live, version
from refocal.eventlog.log import Event, split_key
from refocal.parts.formats import open_image

Order = Literal["newest", "oldest"]

_NOWHERE = Box((0, 0), (0, 0))
_KEPT = ("stage_x_nm", "stage_y_nm", "latency_s")


@dataclass(slots=True)
class _Queued:
    state: tuple[int, int]
    kept: tuple[float | None, ...]
    pixel_nm: float | None = None
    """As it was graded: the layout may know what the file does not tell."""
    forced: Verdict | None = None
    """The verdict of an operator, which beats the gate's."""
    reason: str = ""
    info: ImageInfo | None = None
    """What the file said of itself when it was read."""


class RestoreQueue:
    """An endless source of queued tiles, and the gate for them: the gate of the watch, unless an operator has spoken.

    Parameters
    ----------
    root, layout
        Where tiles lie, and which section they belong to.
    gate
        Grades them (again: a grade is cheap, and a queue of grades is not).
    contrast
        See `refocal.engine.tiles.reading.read_tile`.
    stop
        Ends the iteration.
    order
        The newest section first or the oldest; what an operator asks for comes before.
    restores
        False yields only what an operator wants kept or retaken.
    gone
        Says whether the share is away, which an empty mount point may be; nothing counts against a tile then.
    """

    def __init__(
        self,
        root: Path,
        layout: Layout,
        gate: Gate,
        contrast: ContrastOf,
        stop: threading.Event,
        *,
        order: Order = "newest",
        restores: bool = True,
        gone: Callable[[], bool] = lambda: False,
    ) -> None:
        self._root, self._layout, self._gate, self._contrast, self._stop = root, layout, gate, contrast, stop
        self._pick = max if order == "newest" else min
        self._restores, self._gone = restores, gone
        self._ready = threading.Condition()
        self._sections: dict[str, dict[str, _Queued]] = {}
        self._ages: dict[str, tuple[Any, ...]] = {}
        self._urgent: dict[str, _Queued] = {}
        self._hands: dict[str, _Queued] = {}
        self._forced: dict[int, _Queued] = {}

    def __len__(self) -> int:
        """Count the tiles that wait or are being worked on."""
        with self._ready:
            return sum(map(len, self._sections.values())) + len(self._urgent) + len(self._hands)

    def learn(self, event: Event) -> None:
        """Take note of a line of the log: a queued tile waits, any other decision takes it off the queue."""
        if not is_live(event):
            return
        key, section = event["key"], event.get("section") or ""
        with self._ready:
            waiting = self._urgent.get(key) or self._sections.get(section, {}).get(key)
            if waiting and waiting.forced and waiting.state == _state(event) and not event.get("override"):
                return  # what was in progress when the operator decided: the verdict still waits
            self._remove(key, section)
            if event["decision"] != "queued":
                return
            queued = _queued(event)
            if event.get("override"):
                queued.forced, queued.reason = event["override"], event.get("reason") or ""
            self._sections.setdefault(section, {})[key] = queued
            age = (event.get("taken") or "", natural(section))
            self._ages[section] = max(age, self._ages.get(section, age))
            self._ready.notify_all()

    def force(self, event: Event, verdict: Verdict, reason: str) -> None:
        """Have a tile, given by its latest event, decided as an operator says."""
        queued = _queued(event)
        queued.forced, queued.reason = verdict, reason
        with self._ready:
            self._remove(event["key"], event.get("section") or "")
            self._urgent[event["key"]] = queued
            self._ready.notify_all()

    def wake(self) -> None:
        """Look whether the stop was given."""
        with self._ready:
            self._ready.notify_all()

    def __iter__(self) -> Iterator[Block]:
        """Yield queued tiles, waiting while there are none."""
        while not self._stop.is_set():
            if self._away():
                self._stop.wait(1.0)
                continue
            with self._ready:
                key = self._next()
                if key is None:
                    self._ready.wait(1.0)
                    continue
            yield Block(key, _NOWHERE, _NOWHERE)

    def tile(self, block: Block, /) -> Tile:
        """Return the file and page of a block."""
        queued = self._hands[block.key]
        return tile_of(self._root, block.key, queued.state, queued.info)

    def read(self, block: Block, /) -> Frames:
        """Read a tile that was read and proven before.

        Raises
        ------
        LaterError
            If it has changed since, is not there, or the watch was stopped.
        UnreadableError
            If it was damaged since.
        """
        queued = self._hands[block.key]
        path, page = self._root / split_key(block.key)[0], split_key(block.key)[1]
        delays: tuple[float, ...] = ()
        attempt = 0
        while not self._stop.is_set():
            try:
                if state_of(path) != queued.state:
                    break
                with open_image(path) as image:
                    frames, queued.info = read_page(image, path, page, self._contrast, growing=True), image.info
                if frames.pixel_nm is None:
                    frames = replace(frames, pixel_nm=queued.pixel_nm)
                if queued.forced:
                    self._forced[id(frames)] = queued
                return frames
            except (UnreadableError, OSError) as error:
                delays = waits(error)
                if attempt == len(delays):
                    if isinstance(error, UnreadableError):
                        raise
                    break
                self._stop.wait(delays[attempt])
                attempt += not self._away()
        self._put_down(block.key)
        raise LaterError(f"{path}: is not the file any more that was graded, or not now")

    def __call__(self, frames: Frames, /) -> Grade:
        """Grade a tile that `read` returned."""
        queued = self._forced.pop(id(frames), None)
        grade = self._gate(frames)
        if queued is None or queued.forced is None:
            return grade
        return replace(grade, verdict=queued.forced, reason=queued.reason)

    def state(self, key: str) -> int:
        """Return the version of a tile in progress."""
        return version(*self._hands[key].state)

    def facts(self, key: str) -> Mapping[str, Any]:
        """Return what the event of a tile in progress says beyond its grade, and release it."""
        with self._ready:
            queued = self._hands.pop(key)
        place = self._layout.place(split_key(key)[0])
        facts = {**(place_facts(place) if place else {}), **dict(zip(_KEPT, queued.kept, strict=True))}
        size, mtime_ns = queued.state
        override = {"override": queued.forced} if queued.forced else {}
        return {**facts, "size": size, "mtime_ns": mtime_ns, **override}

    def _away(self) -> bool:
        return not self._root.is_dir() or self._gone()

    def _next(self) -> str | None:
        """Take the next tile; one whose last version is still in progress waits."""
        queue: Mapping[str, _Queued] = self._urgent
        if not queue and self._restores and self._sections:
            section = self._pick(self._sections, key=self._ages.__getitem__)
            queue = self._sections[section]
        for key in queue:
            if key not in self._hands:
                queued = queue[key]
                self._remove(key, section if queue is not self._urgent else "")
                self._hands[key] = queued
                return key
        return None

    def _remove(self, key: str, section: str) -> None:
        self._urgent.pop(key, None)
        tiles = self._sections.get(section, {})
        tiles.pop(key, None)
        if not tiles:
            self._sections.pop(section, None)
            self._ages.pop(section, None)

    def _put_down(self, key: str) -> None:
        with self._ready:
            self._hands.pop(key)


def _state(event: Event) -> tuple[int, int]:
    return event["size"], event["mtime_ns"]


def _queued(event: Event) -> _Queued:
    return _Queued(_state(event), tuple(event.get(name) for name in _KEPT), event.get("pixel_nm"))
