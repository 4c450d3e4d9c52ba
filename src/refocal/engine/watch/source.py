"""A microscope as a source that never ends.

The scanner finds complete files; reading proves them. A file that does not prove itself comes again a little later, and
later, and then is unreadable. None of this blocks a reader: `read` raises `LaterError`, the loop passes over the block,
and the source gives it again when its time has come. While the share is gone, nothing counts against a file.
"""

import heapq
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, NoReturn

from refocal.core.blocks import Block, Box
from refocal.core.errors import LaterError, TileError, UnreadableError
from refocal.core.layout import TileLocation
from refocal.core.values import Contrast, Counts, Frames, ImageInfo
from refocal.engine.tiles.contrasts import Contrasts
from refocal.engine.tiles.open_files import OpenFiles
from refocal.engine.tiles.tiles import Tile
from refocal.engine.watch.completeness import count_pages, is_gone, prove, state_of, waits
from refocal.engine.watch.scanner import Found, Scanner
from refocal.engine.watch.state import WatchState, file_of, version
from refocal.eventlog.log import split_key

_NOWHERE = Box((0, 0), (0, 0))
_AGAIN = 0.2
_LOOK_AGAIN = 1.0


@dataclass(slots=True)
class _InFlight:
    """A tile in progress."""

    found: Found
    attempts: int = 0
    looked: bool = False
    """A row of one value was seen once."""
    info: ImageInfo | None = None
    """What the file said of itself when it was read."""


class LiveSource:
    """Yields the tiles of a tree as they are finished, until it is told to stop.

    Parameters
    ----------
    scanner
        Finds them.
    ledger
        Knows what is decided.
    stop
        Ends the iteration.
    contrast
        For tiles that are not uint8; None takes that of the first tile of each number format and scale.
    found_contrast
        Told the number format and the contrast that was taken.
    poll
        Seconds from one poll to the next.
    """

    def __init__(
        self,
        scanner: Scanner,
        ledger: WatchState,
        stop: threading.Event,
        *,
        contrast: Contrast | None = None,
        found_contrast: Callable[[str, Contrast], None] = lambda dtype, contrast: None,
        poll: float = 0.15,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.contrast, self.contrasts = contrast, Contrasts()
        self.seen = 0
        """Tiles found so far."""
        self.graded, self.bytes = 0, 0
        """Tiles decided so far, and the sizes of their files."""
        self._scanner, self._ledger, self._stop, self._poll, self._clock = scanner, ledger, stop, poll, clock
        self._found_contrast, self._contrast_lock = found_contrast, threading.Lock()
        self._hands: dict[str, _InFlight] = {}
        self._opened = OpenFiles()
        self._later: list[tuple[float, int, Found | str]] = []
        self._offers: SimpleQueue[str] = SimpleQueue()
        self._count = 0
        self._lock = threading.Lock()
        self._wake = threading.Event()

    def __iter__(self) -> Iterator[Block]:
        """Yield blocks, waiting between polls."""
        while not self._stop.is_set():
            start = self._clock()
            yield from self._offered()
            for found in self._scanner.poll():
                if self._stop.is_set():
                    return
                if found:
                    yield from self._blocks(found)
                yield from self._offered()
                yield from self._due()
            yield from self._due()
            self._sleep(start + self._poll)

    def offer(self, name: str) -> None:
        """Have a file graded now that its writer says is complete."""
        self._offers.put(name)
        self._wake.set()

    def tile(self, block: Block, /) -> Tile:
        """Return the file and page of a block."""
        hand = self._hands[block.key]
        return tile_of(self._scanner.root, block.key, hand.found.state, hand.info)

    def read(self, block: Block, /) -> Frames:
        """Read and prove one block.

        Raises
        ------
        LaterError
            If it is not to be decided yet.
        UnreadableError, UnsupportedError
            If it is damaged for good, or of a kind that cannot be restored.
        """
        hand = self._hands[block.key]
        tile = self.tile(block)
        try:
            frames, hand.info = prove(
                tile.path, tile.page, hand.found.state, self.contrast_for, self._opened, patient=hand.looked
            )
        except LaterError:
            hand.looked = True
            self._put_off(block.key, _LOOK_AGAIN)
            raise
        except OSError as error:
            self._retry(block.key, hand, UnreadableError(f"{tile.path}: {error.strerror}"), error)
        except UnreadableError as error:
            self._retry(block.key, hand, error, error)
        if frames.pixel_nm is None:
            frames = replace(frames, pixel_nm=hand.found.pixel_nm)
        return frames

    def facts(self, key: str) -> Mapping[str, Any]:
        """Return what the event of a tile in progress says beyond its grade, and release it."""
        with self._lock:
            found = self._hands.pop(key).found
        size, mtime_ns = found.state
        self.graded, self.bytes = self.graded + 1, self.bytes + size
        stage = dict(zip(("stage_x_nm", "stage_y_nm"), found.stage_nm or (None, None), strict=True))
        latency_s = round(self._clock() - found.since, 4)
        return {**place_facts(found.place), **stage, "size": size, "mtime_ns": mtime_ns, "latency_s": latency_s}

    def lag(self) -> tuple[int, float]:
        """Return how many complete tiles are not graded yet, and for how many seconds the oldest of them waits."""
        with self._lock:
            hands = [hand.found.since for hand in self._hands.values()]
            hands += [what.since for _, _, what in self._later if isinstance(what, Found)]
        return len(hands), max(0.0, self._clock() - min(hands)) if hands else 0.0

    def wake(self) -> None:
        """Do not wait for the next poll."""
        self._wake.set()

    def _offered(self) -> Iterator[Block]:
        with suppress(Empty):
            while True:
                if found := self._scanner.take(self._offers.get_nowait()):
                    yield from self._blocks(found)

    def _blocks(self, found: Found) -> Iterator[Block]:
        """Start on a file; a stack is one block for each page that is not decided in this version."""
        with self._lock:
            busy = found.name in self._hands or any(key.startswith(f"{found.name}#") for key in self._hands)
        if busy:  # an older version of it is being graded right now
            self._put_off(found, _AGAIN)
            return
        try:
            pages = count_pages(self._scanner.root / found.name, self._opened)
        except TileError:
            pages = 1  # reading it will tell
        self.seen += 1
        if pages == 1:
            yield self._take(found.name, found)
            return
        state = version(*found.state)
        keys = [key for key in (f"{found.name}#{page}" for page in range(pages)) if self._ledger.version(key) != state]
        for key in keys:
            self._ledger.begin(key, state)
        self._ledger.note(found.name, state)
        for key in keys:
            yield self._take(key, found)

    def _take(self, key: str, found: Found) -> Block:
        with self._lock:
            self._hands[key] = _InFlight(found)
        return Block(key, _NOWHERE, _NOWHERE)

    def _due(self) -> Iterator[Block]:
        """Yield what was put off until now."""
        while True:
            with self._lock:
                if not self._later or self._later[0][0] > self._clock():
                    return
                what = heapq.heappop(self._later)[2]
            if isinstance(what, Found):
                yield from self._blocks(what)
            elif self._is_as_it_was(what):
                yield Block(what, _NOWHERE, _NOWHERE)

    def _is_as_it_was(self, key: str) -> bool:
        """Say whether a file is still the one in progress; if not, it is the scanner's again."""
        name = file_of(key)
        try:
            if state_of(self._scanner.root / name) == self._hands[key].found.state:
                return True
        except OSError:
            return True  # reading it will tell
        self._put_down(key)
        self._scanner.reconsider(name)
        return False

    def _retry(self, key: str, hand: _InFlight, final: UnreadableError, error: BaseException) -> NoReturn:
        """Have a file that cannot be read come again, or say that it never will.

        Raises
        ------
        LaterError, UnreadableError
            Always one of them.
        """
        gone = is_gone(error)
        delays = waits(error)[: 3 if gone else None]  # what is gone may be about to be written again
        if self._scanner.gone or not self._scanner.root.is_dir():
            self._put_off(key, 1.0)
        elif hand.attempts < len(delays):
            hand.attempts += 1
            self._put_off(key, delays[hand.attempts - 1])
        elif gone:
            self._put_down(key)
        else:
            raise final
        raise LaterError(str(final)) from error

    def _put_down(self, key: str) -> None:
        with self._lock:
            hand = self._hands.pop(key)
        self._ledger.drop(key, version(*hand.found.state))

    def _put_off(self, what: Found | str, delay: float) -> None:
        with self._lock:
            self._count += 1
            heapq.heappush(self._later, (self._clock() + delay, self._count, what))
        self._wake.set()

    def _sleep(self, until: float) -> None:
        with self._lock:
            until = min(until, self._later[0][0]) if self._later else until
        if self._wake.wait(max(0.0, until - self._clock())):
            self._wake.clear()

    def learn(self, event: Mapping[str, Any]) -> None:
        """Take the contrast that an earlier watch found; one without a number format holds for all of them."""
        found = Contrast(event["low"], event["high"])
        if not isinstance(event.get("dtype"), str):
            self.contrast = self.contrast or found
        else:
            self.contrasts = Contrasts((*self.contrasts.known, (event["dtype"], found)))

    def contrast_for(self, _: Path, counts: Counts) -> Contrast | None:
        """Return the contrast of a tile that is not uint8, taken from it if it is the first of its format and scale."""
        with self._contrast_lock:
            if self.contrast:
                return self.contrast
            if self.contrasts.of(counts) is None:
                self.contrasts = self.contrasts.adding(counts)
                self._found_contrast(*self.contrasts.known[-1])
            return self.contrasts.of(counts)


def tile_of(root: Path, key: str, state: tuple[int, int], info: ImageInfo | None = None) -> Tile:
    """Return the file and page that a key below a root names."""
    name, page = split_key(key)
    return Tile(root / name, name, page, stacked=name != key, version=f"{state[0]}-{state[1]}", info=info)


def place_facts(place: TileLocation) -> Mapping[str, Any]:
    """Return what an event says about where a tile belongs."""
    return asdict(place)
