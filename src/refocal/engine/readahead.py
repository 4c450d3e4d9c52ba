"""Read ahead: work on the items of an iterable in threads, a bounded number of them alive at a time.

An item takes a place when it leaves the iterable, and keeps it until the consumer calls `release`. The iterable runs in
a thread of its own, so that what is ready can be used while it blocks.
"""

import threading
from collections.abc import Callable, Iterable
from queue import Empty, SimpleQueue
from typing import Generic, Self, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ReadAhead(Generic[Item, Result]):
    """A context manager whose threads turn items into results, in the order of getting ready.

    The threads are daemons: a source that waits for a microscope, or a read that hangs, does not keep the process.

    Parameters
    ----------
    items
        Finite or endless.
    work
        Called in the threads; must not raise.
    room
        Places.
    threads
        Items worked on at the same time.
    """

    def __init__(self, items: Iterable[Item], work: Callable[[Item], Result], room: int, threads: int) -> None:
        self._items = items
        self._work = work
        self._room = threading.Semaphore(room)
        self._stop = threading.Event()
        self._todo: SimpleQueue[tuple[Item] | None] = SimpleQueue()
        self._results: SimpleQueue[tuple[Result] | None] = SimpleQueue()
        self._taken: int | None = None
        self._given = 0
        self._death: BaseException | None = None
        self._workers = [threading.Thread(target=self._run, name="refocal-reader", daemon=True) for _ in range(threads)]

    def __enter__(self) -> Self:
        threading.Thread(target=self._feed, name="refocal-source", daemon=True).start()
        for worker in self._workers:
            worker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._room.release()
        for _worker in self._workers:
            self._todo.put(None)
        for worker in self._workers:
            worker.join(timeout=1.0)

    def ready(self, *, wait: bool) -> list[Result]:
        """Return all results there are by now; with `wait`, at least one, or none when all items are done.

        Raises
        ------
        BaseException
            What the iterable raised, once everything that it gave before has been returned.
        """
        results: list[Result] = []
        while self._given != self._taken:
            try:
                result = self._results.get(block=wait and not results)
            except Empty:
                break
            if result is not None:  # None only wakes this thread up: now `_taken` is known
                self._given += 1
                results += result
        if wait and not results and self._death:
            raise self._death
        return results

    def release(self) -> None:
        """Give one place back."""
        self._room.release()

    def _feed(self) -> None:
        taken = 0
        try:
            for item in self._items:
                self._room.acquire()
                if self._stop.is_set():
                    break
                taken += 1
                self._todo.put((item,))
        except BaseException as error:
            self._death = error
        self._taken = taken
        self._results.put(None)

    def _run(self) -> None:
        while (item := self._todo.get()) and not self._stop.is_set():
            self._results.put((self._work(*item),))
