"""Beside the running microscope: two runs of the loop over one log.

    grading    new files -> [proof, gate] -> kept, retake, no_content; what is to be restored is `queued`
    restoring  queued tiles -> [gate, restorer, check] -> restored; in a thread of lower priority

Grading never waits for restoring. Every decision is in the log before anyone hears of it, and the log is all that a
watch needs to go on: kill it at any moment and start it again.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from refocal.core import registry
from refocal.core.errors import TileError, UsageError
from refocal.core.layout import Layout
from refocal.core.values import Contrast, Restorer
from refocal.engine.job import LOG, Job, Prepared, prepare
from refocal.engine.loop import Check
from refocal.engine.tiles.tiles import SCRATCH, check_output
from refocal.engine.watch import loops
from refocal.engine.watch.answer import Answer
from refocal.engine.watch.completeness import count_pages
from refocal.engine.watch.event_writer import EventWriter, ReserveFile
from refocal.engine.watch.housekeeping import Housekeeping, Observer, alert
from refocal.engine.watch.lock import WatchLock
from refocal.engine.watch.overrides import Overrides, last_event
from refocal.engine.watch.restore_queue import RestoreQueue
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.settings import Settings
from refocal.engine.watch.sink import DiskSpace
from refocal.engine.watch.source import LiveSource
from refocal.engine.watch.state import WatchState, is_live, version
from refocal.eventlog.log import Event, Log, read_log
from refocal.parts import layouts

_DEFAULT = Settings()


class Watch:
    """A running watch; a context manager. It runs until it is stopped, or idle for as long as the settings say.

    Parameters
    ----------
    root
        The folder that the microscope writes to; only ever read.
    out
        Receives the same relative names, `log.jsonl` and `retake.csv`.
    job
        What is done with each tile.
    settings
        See `Settings`.
    restorer
        Stands in for the job's own.
    check
        Stands in for the job's own, and looks at each restored tile; see `refocal.engine.loop.run`.
    observers
        Are shown every event, in the order of the log, in a thread of their own; the alerts they return are logged.
    on_event
        Called with every event after it was logged, in the same thread.

    Raises
    ------
    UsageError
        For anything that is wrong with the request as a whole, before any tile is touched.
    """

    def __init__(
        self,
        root: Path | str,
        out: Path | str,
        job: Job,
        settings: Settings = _DEFAULT,
        *,
        restorer: Restorer | None = None,
        check: Check | None = None,
        observers: Sequence[Observer] = (),
        on_event: Callable[[Event], None] = lambda event: None,
    ) -> None:
        self.root, self.out, self.job, self.settings = Path(root), Path(out), job, settings
        if not self.root.is_dir():
            raise UsageError(f"{self.root}: no such folder")
        self.layout = layouts.recognise(self.root) if settings.layout == "auto" else settings.layout
        """The kind of the layout."""
        self._layout: Layout = registry.make("layouts", self.layout)
        check_output([self.root], self.out, job.carry)
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._closing, self._closed = threading.Lock(), False
        self._only = WatchLock(self.out / SCRATCH / "watch.lock")
        try:
            self._make_sources()
            pending, offset = self._read_log(observers)
            self._threads: list[threading.Thread] = []
            prepared = self._prepare(restorer, check)
            self._make_housekeeping(prepared, observers, on_event, offset)
            for override in pending:
                self._overrides.act(override)
        except BaseException:
            self._stop.set()
            self._only.close()
            raise
        self._go(self._grade, prepared)
        self._go(self._housekeeping.run)
        self._ready.set()

    def _make_sources(self) -> None:
        self._state = WatchState()
        self._space = DiskSpace(self.out, self.settings.reserve_bytes, self._stop, self._notice)
        self._scanner = Scanner(
            self.root,
            self._layout,
            self._state,
            settle=self.settings.settle,
            notice=self._notice,
            closed=self._close,
            over=self._end,
        )
        self._source = LiveSource(
            self._scanner, self._state, self._stop, poll=self.settings.poll,
            contrast=Contrast(*self.job.contrast) if self.job.contrast else None,
            found_contrast=lambda dtype, found: self._writer.write(
                {"event": "contrast", "dtype": dtype, **asdict(found)}
            ),
        )  # fmt: skip
        self._queue = RestoreQueue(
            self.root, self._layout, self.job.gate.make("gates"), self._source.contrast_for, self._stop,
            order=self.settings.order, restores=self.settings.restores, gone=lambda: self._scanner.gone,
        )  # fmt: skip

    def _read_log(self, observers: Sequence[Observer]) -> tuple[list[Event], int]:
        """Learn what earlier watches did; return the overrides that nothing was done about, and the bytes read."""
        path = self.out / LOG
        pending: dict[str, tuple[int | None, Event]] = {}
        size = path.stat().st_size if path.exists() else 0
        here = [str(self.root.resolve())]
        for event in self._state.read(read_log(path)):
            self._queue.learn(event)
            for observer in observers:
                list(observer(event))
            kind = event["event"]
            if kind == "job" and event.get("inputs") not in (None, here):
                raise UsageError(f"{self.out} holds the work on {event['inputs']}, not {here}; choose another output")
            if kind == "contrast":
                self._source.learn(event)
            if kind == "override":
                pending[str(event.get("key"))] = (self._state.version(str(event.get("key"))), event)
            elif is_live(event) and event["key"] in pending:
                lapsed = version(event["size"], event["mtime_ns"]) != pending[event["key"]][0]
                if lapsed or event.get("override"):
                    del pending[event["key"]]
        return [event for _, event in pending.values()], size

    def _prepare(self, restorer: Restorer | None, check: Check | None) -> Prepared:
        """Make the parts of the job, in the thread that will use them, because its priority is inherited."""
        self._ready = threading.Event()
        prepared: Future[Prepared] = Future()

        def restore() -> None:
            loops.give_way()
            try:
                prepared.set_result(prepare(self.job, restorer))
            except BaseException as error:
                prepared.set_exception(error)
                return
            while not self._ready.wait(0.1):
                if self._stop.is_set():
                    return
            made = prepared.result()
            loops.restore(self._shared, made.restorer if self.settings.restores else None, check or made.check)

        self._go(restore)
        return prepared.result()

    def _make_housekeeping(
        self, prepared: Prepared, observers: Sequence[Observer], on_event: Callable[[Event], None], offset: int
    ) -> None:
        self._log = Log(self.out / LOG)
        reserve = ReserveFile(self.out / SCRATCH / "ballast")
        reserve.load()
        self._writer = EventWriter(self._log, self._state, self._queue, reserve, self._stop)
        self._shared = loops.Shared(
            self.out, self.job, self._source, self._queue, self._state, self._writer, self._space
        )
        self._overrides = Overrides(self._log.path, self._queue, self._state, self._writer.write, offset)
        self._housekeeping = Housekeeping(
            self._shared, self._scanner, self._overrides, reserve, self.settings, self._stop, observers, on_event
        )
        facts = {**asdict(self.settings), "layout": type(self._layout).__name__}
        self._log.start(prepared.resolved, inputs=[str(self.root.resolve())], watch=facts)

    def _go(self, work: Callable[..., None], *given: Any) -> None:
        """Start a thread whose end, good or bad, ends the watch."""

        def guarded() -> None:
            try:
                work(*given)
            except BaseException as error:
                self._error = self._error or error
            finally:
                self._give_stop()

        self._threads.append(threading.Thread(target=guarded, name=f"refocal-{work.__name__}", daemon=True))
        self._threads[-1].start()

    def _grade(self, prepared: Prepared) -> None:
        loops.grade(self._shared, prepared.gate)

    def _give_stop(self) -> None:
        self._stop.set()
        self._source.wake()
        self._queue.wake()

    def _notice(self, kind: str, line: str, active: bool) -> None:
        subject = str(self.root) if kind == "share_gone" else line.partition(" ")[0]
        self._writer.write(alert(kind, subject, line, severity="critical" if active else "info", active=active))

    def _close(self, folder: str, sections: Iterable[str]) -> None:
        for name in sections:
            if event := self._state.end_section(name, folder):
                self._writer.write(event)

    def _end(self, sections: Mapping[str, int]) -> None:
        for name, tiles in sections.items():
            if event := self._state.end_full_section(name, tiles):
                self._writer.write(event)

    def is_good(self, path: Path | str, timeout: float = 10.0) -> Answer:
        """Return what is decided about a tile, waiting for the decision; the file must be complete.

        The answer about a stack is that about its worst page, and comes when all of them are decided.

        Parameters
        ----------
        path
            The tile, below the watched folder.
        timeout
            Seconds.

        Raises
        ------
        TimeoutError
            If there is no decision by then.
        UsageError
            If it is not a tile of the watched folder.
        """
        path = Path(path)
        try:
            name = (path if path.is_absolute() else self.root / path).resolve().relative_to(self.root.resolve())
        except ValueError as error:
            raise UsageError(f"{path} is not in the watched folder {self.root}") from error
        key = name.as_posix()
        if self._scanner.place(key) is None:
            raise UsageError(f"{path} is not the name of a tile of this acquisition ({type(self._layout).__name__})")
        deadline = time.monotonic() + timeout
        keys = self._pages(key)
        self._source.offer(key)
        known = self._logged(keys)  # searched once: what comes now is in the state
        while (left := deadline - time.monotonic()) > 0 and not self._stop.is_set():
            known |= {page: event for page in keys if (event := self._state.recent.get(page))}
            if events := self._decided(key, known, len(keys)):
                return Answer.of_all(events)
            with self._state.changed:
                self._state.changed.wait(min(left, 0.2))
        raise TimeoutError(self._why_not(key, timeout))

    def _pages(self, key: str) -> list[str]:
        try:
            pages = count_pages(self.root / key)
        except (TileError, OSError):
            pages = 1  # reading it will tell
        return [f"{key}#{page}" for page in range(pages)] if pages > 1 else [key]

    def _logged(self, keys: list[str]) -> dict[str, Event]:
        """Return what the log says; beyond the first page only of those that are known to be there."""
        decided = self._state.decisions(keys[0].rpartition("/")[0])
        there = [keys[0], *(key for key in keys[1:] if key.rpartition("/")[2] in decided)]
        return {key: event for key in there if (event := last_event(self.out / LOG, key))}

    def _decided(self, key: str, known: Mapping[str, Event], pages: int) -> list[Event]:
        """Return the events about all pages of a file as it is now; none if one is missing."""
        with suppress(OSError):
            found = os.stat(self.root / key)
            state = version(found.st_size, found.st_mtime_ns)
            now = [e for e in known.values() if is_live(e) and version(e["size"], e["mtime_ns"]) == state]
            return now if len(now) == pages else []
        return []

    def _why_not(self, key: str, timeout: float) -> str:
        if self._stop.is_set():
            return f"{key} was not graded: the watch has stopped"
        if not (self.root / key).exists():
            return f"{key} was not graded within {timeout:g} s: there is no such file"
        waiting = self._source.lag()[0]
        return f"{key} was not graded within {timeout:g} s: {waiting} complete tiles are waiting"

    def state(self) -> Mapping[str, Any]:
        """Return `counts` of tiles by decision, `lag_tiles`, `lag_seconds`, `free_bytes`; and `gone`, of the share."""
        lag_tiles, lag_seconds = self._source.lag()
        return {
            "counts": {name: count for name, count in self._state.counts.items() if count},
            "lag_tiles": lag_tiles,
            "lag_seconds": lag_seconds,
            "free_bytes": self._space.free(),
            "gone": self._scanner.gone,
        }

    @property
    def running(self) -> bool:
        """Whether it runs."""
        return not self._stop.is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has stopped by itself (idle, or an error); say whether it has."""
        return self._stop.wait(timeout)

    def stop(self) -> None:
        """Finish the tiles in progress, and stop.

        Raises
        ------
        Exception
            What stopped it before, if it was an error.
        """
        with self._closing:
            self._give_stop()
            for thread in self._threads:
                thread.join()
            if not self._closed:
                self._closed = True
                self._housekeeping.announce()
                self._housekeeping.write_retakes(self.out)
                self._writer.write({"event": "end", "counts": self.state()["counts"]})
                self._housekeeping.announce()
                self._log.close()
                self._only.close()
        if self._error:
            raise self._error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()
