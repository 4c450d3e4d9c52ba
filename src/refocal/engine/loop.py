"""The only loop: read ahead, gate, batch what is ready, restore, write, report.

    source -> blocks -> [reader threads: has? read, gate] -> ready -> [this thread: restore, write or carry] -> event

Nothing waits for a full batch: the loop waits for one block and takes what else is ready at that moment, so an endless
source is never delayed by batching, and batches grow by themselves where restoring is the slower half. Order and
batching depend on timing; pixels do not, because a restorer gives each block the same answer in any batch.

One bad block is an event, a dead source is an exception. What cannot be done now (`LaterError`) is no failure: a source
that says so gives the block again by itself, and a sink that says so has the block queued in the log. At most
`ahead + batch` frames are alive at any moment.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Literal, Protocol

import numpy as np

from refocal.core.blocks import Block
from refocal.core.errors import LaterError, RefocalError, UnreadableError
from refocal.core.values import Contrast, Counts, Frames, Gate, Grade, Restored, Restorer, Sink, Source
from refocal.engine.readahead import ReadAhead
from refocal.eventlog.log import Event, split_key
from refocal.eventlog.warnings import Warnings
from refocal.imaging.no_data import filled_frames

Decision = Literal["restored", "kept", "retake", "no_content", "unreadable", "failed", "skipped", "queued"]

_MEASURED = ("reason", "sigma_px", "noise", "anisotropy", "angle_deg", "expected")
_NO_GATE = Grade("restore", "no gate")
_CARRIED: Mapping[str, Decision] = {
    "keep": "kept",
    "retake": "retake",
    "no_content": "no_content",
    "unreadable": "unreadable",
}
Check = Callable[[Frames, Restored, Grade], Mapping[str, Any] | str]
"""Looks at what was restored; returns facts for the log, or one line that says why it is no good."""

_READERS = 4  # decoding is done by libraries that release the GIL; more threads than this only fight for the disk


class Journal(Protocol):
    """Where events go: a `refocal.eventlog.log.Log`, or anything that appends."""

    def append(self, event: Event, /) -> object:
        """Take one event."""
        ...


@dataclass(frozen=True, slots=True)
class Summary:
    """What a run did."""

    counts: Mapping[str, int]
    """Blocks per decision; every decision is there. `skipped` are blocks that the sink had."""
    failed: tuple[str, ...]
    """Keys of the blocks that failed or could not be read, in the order of failing."""
    pixels: int
    """Pixels of the blocks that were settled, without the skipped and the failed ones."""
    seconds: float
    """From the start of the run to its end."""
    warnings: Warnings = field(default_factory=Warnings)
    """What was said of the blocks that were settled."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a reader thread found out about one block."""

    block: Block
    seconds: float = 0.0
    frames: Frames | None = None
    shown: Frames | None = None
    """The same for gate and restorer: what means no data looks like what lies beside it."""
    grade: Grade | None = None
    decision: Decision | None = None
    """Set where nothing is left to be done: skipped, unreadable, failed."""
    error: str | None = None

    @property
    def to_restore(self) -> bool:
        return self.grade is not None and self.grade.verdict == "restore"


def run(
    source: Source,
    restorer: Restorer | None,
    sink: Sink,
    *,
    gate: Gate | None = None,
    check: Check | None = None,
    log: Journal | None = None,
    batch: int = 4,
    ahead: int = 4,
    progress: Callable[[Event], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Summary:
    """Restore every block of a source that the sink does not have yet and the gate finds worth restoring.

    Parameters
    ----------
    source
        Finite or endless. Iterated in a thread of its own, read in others.
    restorer
        Called in the calling thread with one to `batch` frames of one shape and dtype. None only queues.
    sink
        Written in the calling thread, one block at a time; `has` is asked in the reader threads.
    gate
        Called in the reader threads; None restores everything.
    check
        Called in the calling thread with each restored block; one that it refuses is carried over, as a retake.
    log
        Gets one event for each block that is settled; nothing for blocks that the sink has.
    batch, ahead
        Blocks restored together at most, and blocks read in advance at most; each at least 1.
    progress
        Called with each event after it was logged, and with `decision: "skipped"` for blocks that the sink has.
    clock
        Tells seconds.

    Raises
    ------
    ValueError
        If `batch` or `ahead` is below 1.
    Exception
        Whatever the source's iterator raises, after the blocks it gave before are settled; whatever the log raises.
    """
    if batch < 1 or ahead < 1:
        raise ValueError(f"run needs batch and ahead of at least 1, got {batch} and {ahead}")
    start = clock()
    tally = _Tally(log, progress)
    # The only place of this thread that holds frames while others are read: locals would keep them alive for longer.
    waiting: deque[_Seen] = deque()
    see = partial(_see, source=source, sink=sink, gate=gate, clock=clock)
    with ReadAhead(source, see, room=ahead + batch, threads=min(ahead, _READERS)) as reader:
        while True:
            waiting.extend(reader.ready(wait=not waiting))
            if not waiting:
                break
            for event in _work(waiting, batch, _Hands(restorer, sink, check, clock)):
                tally.add(event)
                reader.release()
    return Summary(tally.counts, tuple(tally.failed), tally.pixels, clock() - start, tally.warnings)


@dataclass(frozen=True, slots=True)
class _Hands:
    """What a run works with."""

    restorer: Restorer | None
    sink: Sink
    check: Check | None
    clock: Callable[[], float]


class _Tally:
    """Logs, counts and shows events."""

    def __init__(self, log: Journal | None, progress: Callable[[Event], None] | None) -> None:
        self.counts: dict[str, int] = dict.fromkeys(("restored", *_CARRIED.values(), "failed", "skipped", "queued"), 0)
        self.failed: list[str] = []
        self.pixels = 0
        self.warnings = Warnings()
        self._log = log
        self._progress = progress

    def add(self, event: Event) -> None:
        if self._log and event["decision"] != "skipped":
            self._log.append(event)
        self.counts[event["decision"]] += 1
        self.warnings.add(event)
        if event["decision"] in ("failed", "unreadable"):
            self.failed.append(event["key"])
        elif event["decision"] != "skipped":
            self.pixels += event["height"] * event["width"]
        if self._progress:
            self._progress(event)


def _see(block: Block, source: Source, sink: Sink, gate: Gate | None, clock: Callable[[], float]) -> _Seen:
    start = clock()
    try:
        if sink.has(block):
            return _Seen(block, decision="skipped")
        frames = source.read(block)
        shown = filled_frames(frames)
        return _Seen(block, clock() - start, frames, shown, gate(shown) if gate else _NO_GATE)
    except LaterError:
        return _Seen(block, decision="skipped")
    except UnreadableError as error:
        return _Seen(block, clock() - start, decision="unreadable", error=_line(error))
    except BaseException as error:
        return _Seen(block, clock() - start, decision="failed", error=_line(error))


def _work(waiting: deque[_Seen], batch: int, hands: _Hands) -> Iterator[Event]:
    """Settle everything that needs no restoring, then restore one group."""
    for _ in range(len(waiting)):
        if waiting[0].to_restore and hands.restorer:
            waiting.rotate(-1)
        else:
            yield _settle(waiting.popleft(), hands)
    yield from _restore(_group(waiting, batch), hands)


def _group(waiting: deque[_Seen], batch: int) -> deque[_Seen]:
    """Take the first block, and the first others that can be stacked with it."""
    group: deque[_Seen] = deque()
    for _ in range(len(waiting)):
        if len(group) < batch and (not group or _kind(waiting[0]) == _kind(group[0])):
            group.append(waiting.popleft())
        else:
            waiting.rotate(-1)
    return group


def _kind(seen: _Seen) -> tuple[object, ...]:
    frames = seen.frames
    assert frames is not None
    return frames.counts.shape, frames.counts.dtype, frames.target


def _restore(group: deque[_Seen], hands: _Hands) -> Iterator[dict[str, Any]]:
    """Restore and write a group, emptying it; a group that fails is tried again one by one."""
    if not group or not hands.restorer:
        return
    start = hands.clock()
    failure = None
    try:
        restored = _call(hands.restorer, group)
    except Exception as error:
        failure = _line(error)
    if failure is None:
        share = (hands.clock() - start) / len(group)
        while group:
            yield _write(group.popleft(), restored.popleft(), share, hands)
    elif len(group) == 1:
        yield _event(group.popleft(), "failed", hands.clock() - start, error=failure)
    while group:
        yield from _restore(deque([group.popleft()]), hands)


def _call(restorer: Restorer, group: deque[_Seen]) -> deque[Restored]:
    frames = [seen.shown for seen in group if seen.shown is not None]
    restored = deque(restorer(frames))
    if len(restored) != len(group):
        raise RuntimeError(f"the restorer returned {len(restored)} images for {len(group)} frames")
    for got, given in zip(restored, frames, strict=True):
        if got.counts.shape != given.image.shape or got.counts.dtype != given.counts.dtype:
            raise RuntimeError(
                f"the restorer returned {got.counts.dtype} {got.counts.shape} "
                f"for {given.counts.dtype} {given.image.shape}"
            )
        if got.counts.dtype.kind == "f" and not np.isfinite(got.counts).all():
            raise RuntimeError("the restorer returned counts that are NaN or infinite")
    return deque(_with_no_data(got, seen.frames) for got, seen in zip(restored, group, strict=True))


def _with_no_data(restored: Restored, frames: Frames | None) -> Restored:
    """Put back, bit for bit, the pixels that mean no data."""
    if frames is None or frames.valid is None or frames.valid[frames.target].all():
        return restored
    return replace(restored, counts=np.where(frames.valid[frames.target], restored.counts, frames.image))


def _write(seen: _Seen, restored: Restored, seconds: float, hands: _Hands) -> dict[str, Any]:
    start = hands.clock()
    try:
        facts: dict[str, Any] = {}
        if hands.check and seen.frames and seen.grade:
            checked = hands.check(seen.shown or seen.frames, restored, seen.grade)
            if isinstance(checked, str):
                return _settle(replace(seen, grade=replace(seen.grade, verdict="retake", reason=checked)), hands)
            facts = {"checked": dict(checked)}
        facts |= {"clipped": _clipped(restored.counts), **(hands.sink.write(seen.block, restored) or {})}
    except LaterError:
        return _event(seen, "queued")
    except Exception as error:
        return _event(seen, "failed", seconds + hands.clock() - start, error=_line(error))
    return _event(seen, "restored", seconds + hands.clock() - start, facts=facts)


def _settle(seen: _Seen, hands: _Hands) -> dict[str, Any]:
    """Carry over a block that is not to be restored (now), or report one that nothing can be done about."""
    if seen.frames is None or seen.grade is None:
        return _event(seen, seen.decision or "failed", error=seen.error)
    if seen.grade.verdict == "restore":
        return _event(seen, "queued")
    start = hands.clock()
    try:
        facts = hands.sink.carry(seen.block, seen.frames, seen.grade)
    except LaterError:
        return _event(seen, "queued")
    except Exception as error:
        return _event(seen, "failed", hands.clock() - start, error=_line(error))
    return _event(seen, _CARRIED[seen.grade.verdict], hands.clock() - start, facts=facts)


def _event(
    seen: _Seen,
    decision: Decision,
    seconds: float = 0.0,
    *,
    error: str | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    path, page = split_key(seen.block.key)
    frames, grade = seen.frames, seen.grade
    pixel_nm = frames.pixel_nm if frames else None
    measured = {name: getattr(grade, name, None) for name in _MEASURED}
    sigma_px = measured["sigma_px"]
    return {
        "event": "tile",
        "key": seen.block.key,
        "path": path,
        "page": page,
        "verdict": grade.verdict if grade else "unreadable" if decision == "unreadable" else None,
        "decision": decision,
        **measured,
        "sigma_nm": sigma_px * pixel_nm if sigma_px is not None and pixel_nm is not None else None,
        "pixel_nm": pixel_nm,
        "height": frames.image.shape[0] if frames else None,
        "width": frames.image.shape[1] if frames else None,
        "mode": str(frames.counts.dtype) if frames else None,
        **_contrast(frames),
        "seconds": seen.seconds + seconds,
        "output": None,
        "output_sha256": None,
        "clipped": None,
        "error": error,
        **(facts or {}),
        **_said(frames, facts or {}),
    }


def _contrast(frames: Frames | None) -> dict[str, Any]:
    """Return the counts that meant 0 and 1; nothing where these are the range of the dtype."""
    if frames is None or (frames.counts.dtype.kind in "ui" and frames.contrast == Contrast.of(frames.counts.dtype)):
        return {}
    return {"contrast": [frames.contrast.low, frames.contrast.high]}


def _said(frames: Frames | None, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of the input and of the output, as the field `warnings`; nothing where nothing is."""
    said = (*(frames.warnings if frames else ()), *facts.get("warnings", ()))
    return {"warnings": list(dict.fromkeys(said))} if said else {}


def _clipped(counts: Counts) -> float | None:
    """Return the share of pixels at the limits of the dtype, finite ones for floating-point numbers."""
    if not counts.size:
        return None
    limits = np.iinfo(counts.dtype) if counts.dtype.kind in "ui" else np.finfo(counts.dtype)
    ends = np.count_nonzero(counts == limits.min) + np.count_nonzero(counts == limits.max)
    return float(ends) / counts.size


def _line(error: BaseException) -> str:
    """Return an error as one line; errors that are not refocal's own are named by their class."""
    text = " ".join(str(error).split())
    return text if isinstance(error, RefocalError) and text else f"{type(error).__name__}: {text}".removesuffix(": ")
