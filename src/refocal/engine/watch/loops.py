"""The two runs of the loop that a watch consists of."""

import os
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from refocal.core.values import Gate, Restorer
from refocal.engine.job import Job
from refocal.engine.loop import Check, run
from refocal.engine.tiles.tiles import TileSink
from refocal.engine.watch.event_writer import Entries, EventWriter
from refocal.engine.watch.restore_queue import RestoreQueue
from refocal.engine.watch.sink import DiskSpace, LiveSink
from refocal.engine.watch.source import LiveSource
from refocal.engine.watch.state import WatchState, version
from refocal.eventlog.log import Event

_NICE = 19
_LOCKS = 64
_LIGHT = ("symlink", "link", "skip")


@dataclass(frozen=True, slots=True)
class Shared:
    """What both loops work with."""

    out: Path
    job: Job
    source: LiveSource
    queue: RestoreQueue
    state: WatchState
    writer: EventWriter
    space: DiskSpace
    locks: list[threading.Lock] = field(default_factory=lambda: [threading.Lock() for _ in range(_LOCKS)])

    def sink(self, source: LiveSource | RestoreQueue) -> TileSink:
        """Return the output for the tiles of a source."""
        return TileSink(self.out, source, carry=self.job.carry, job_sha256="watch")


def grade(shared: Shared, gate: Gate) -> None:
    """Grade what the microscope writes until the source ends; what is worth restoring is queued."""
    sink = LiveSink(
        shared.sink(shared.source), shared.source, shared.space, shared.locks, lambda key: True,
        patient=False, light=shared.job.carry in _LIGHT,
    )  # fmt: skip
    run(shared.source, None, sink, gate=gate, log=Entries(shared.writer, shared.source.facts))


def restore(shared: Shared, restorer: Restorer | None, check: Check | None) -> None:
    """Work through the queue until it ends; without a restorer, only what an operator wants carried over."""
    queue, known = shared.queue, shared.state

    def is_newest(key: str, state: int) -> bool:
        return known.version(key) in (None, state)

    def wanted(event: Event) -> bool:
        return is_newest(event["key"], version(event["size"], event["mtime_ns"]))

    sink = LiveSink(
        shared.sink(queue), queue, shared.space, shared.locks, lambda key: is_newest(key, queue.state(key)),
        patient=True, light=False,
    )  # fmt: skip
    log = Entries(shared.writer, queue.facts, wanted)
    run(queue, restorer, sink, gate=queue, check=check, log=log, batch=shared.job.batch, ahead=1)


def give_way() -> None:
    """Lower the priority of this thread, and of the threads that a runtime starts from it, where the system can."""
    if sys.platform == "linux":
        with suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
