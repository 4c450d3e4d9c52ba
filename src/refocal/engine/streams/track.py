"""Follows the stage: where each frame of a stream lies, and which frames make a burst.

Frames come in the order in which they were taken. Each is registered to the one before; positions add up. Where that
fails, the frame before that is tried, and if that fails too a new segment begins: positions are known within a segment
only. A reference is a frame to be restored; its burst are the frames nearest to it that leave a large enough part of
it in common.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from refocal.core.blocks import Box
from refocal.core.errors import UnsupportedError
from refocal.core.values import Pixels
from refocal.engine.streams.frame_quality import Quality, blurred
from refocal.imaging import shift_registration

Point = tuple[float, float]
_REMEMBERED = 256


@dataclass(frozen=True, slots=True)
class Seen:
    """A frame of the stream as far as it is known without its pixels."""

    key: str
    order: int
    """Number among the frames that were seen."""
    shape: tuple[int, int]
    quality: Quality
    segment: int = 0
    at: Point = (0.0, 0.0)
    """Position (y, x) in px in its segment."""
    fault: str = ""
    """Why it is in no burst."""

    def event(self) -> Mapping[str, Any]:
        """Return what the log says about the frame."""
        quality = {"noise": self.quality.noise, "detail": self.quality.detail, "structure": self.quality.structure}
        quality |= {"level": self.quality.level, "saturated": self.quality.saturated}
        at = {"segment": self.segment, "y_px": round(self.at[0], 3), "x_px": round(self.at[1], 3)}
        rounded = {name: round(value, 5) for name, value in quality.items()}
        return {"event": "frame", "key": self.key, "shape": list(self.shape), **at, **rounded, "left_out": self.fault}

    @classmethod
    def of(cls, event: Mapping[str, Any], order: int) -> "Seen":
        """Return the frame that an event of the log tells of."""
        quality = Quality(*(event[n] for n in ("level", "structure", "noise", "detail", "saturated")))
        height, width = event["shape"]
        at = (event["y_px"], event["x_px"])
        return cls(event["key"], order, (height, width), quality, event["segment"], at, event["left_out"] or "")


@dataclass(frozen=True, slots=True)
class Burst:
    """Frames of one place, the reference first."""

    frames: tuple[Seen, ...]
    left_out: Mapping[str, str]
    """Why frames that show the place are not among them, by name."""

    @property
    def reference(self) -> Seen:
        """The frame to restore."""
        return self.frames[0]


@dataclass(frozen=True, slots=True)
class Choice:
    """Which frames are restored, and from what."""

    frames: int = 5
    """Frames of a burst at most, the reference included."""
    share: float = 0.6
    """Part of the reference's height and width that all frames of its burst must show."""
    every: int = 0
    """Restore each so-many-th frame; 0 restores as few as still cover the strip."""
    advance: float = 0.4
    """Way of the stage from one reference to the next, as a part of the frame, where `every` is 0."""


class Track:
    """Takes frames one after the other, and gives bursts as soon as nothing later can belong to them."""

    def __init__(self, choice: Choice) -> None:
        self.choice = choice
        self.segments = 0
        self._seen: deque[Seen] = deque(maxlen=_REMEMBERED)
        self._anchors: list[tuple[Seen, Pixels]] = []
        self._steps: dict[int, Point] = {}
        self._waiting: list[Seen] = []
        self._last: Seen | None = None
        self._given: deque[str] = deque(maxlen=_REMEMBERED)

    def place(self, seen: Seen, soft: Pixels) -> Seen:
        """Register a new frame (softened, maybe smaller) to those before; one with a fault gets no position."""
        if seen.fault:
            return seen
        scale = seen.shape[0] / soft.shape[0]
        reasons = []
        for anchor, before in self._anchors:
            try:
                shift, _ = shift_registration.coarse(before, soft, self._steps.get(anchor.segment, (None, None)))
                shift = shift_registration.refine(before, soft, shift).shift
            except UnsupportedError as error:
                reasons.append(f"{anchor.key}: {error}")
                continue
            at = anchor.at[0] - scale * shift[0], anchor.at[1] - scale * shift[1]
            placed = replace(seen, segment=anchor.segment, at=at)
            self._steps[anchor.segment] = shift
            self._anchors = [(placed, soft)]
            return placed
        placed = replace(seen, segment=self.segments)
        self.segments += 1
        self._anchors = [(placed, soft), *self._anchors[:1]]
        return placed

    def resume(self, seen: Seen, soft: Pixels) -> None:
        """Go on from a frame whose position an earlier run found."""
        self._anchors = [(seen, soft)]

    def add(self, seen: Seen) -> Iterator[Burst]:
        """Take a frame that has been placed, and yield the bursts that are complete now."""
        self.segments = max(self.segments, seen.segment + 1)
        before = next((s for s in reversed(self._seen) if not s.fault), None)
        self._seen.append(seen)
        self._waiting += self._references(seen, before)
        ready = [r for r in self._waiting if seen.order - r.order >= self.choice.frames - 1]
        self._waiting = [r for r in self._waiting if r not in ready]
        yield from self._new(ready)

    def _new(self, references: list[Seen]) -> Iterator[Burst]:
        """Yield bursts; a reference may have been replaced by a sharper one that had its turn."""
        for burst in map(self.burst, references):
            if burst.reference.key not in self._given:
                self._given.append(burst.reference.key)
                yield burst

    def finish(self) -> Iterator[Burst]:
        """Yield the bursts of what is left at the end of a stream."""
        last = next((s for s in reversed(self._seen) if not s.fault), None)
        if last is not None and self._last is not None and not self.choice.every and last is not self._last:
            if last.segment != self._last.segment or _way(last, self._last) > self.choice.advance / 4:
                self._waiting.append(last)
        waiting, self._waiting, self._last = self._waiting, [], None
        yield from self._new(waiting)

    def _references(self, seen: Seen, before: Seen | None) -> list[Seen]:
        if self.choice.every:
            return [seen] if seen.order % self.choice.every == 0 else []
        if seen.fault:
            return []
        if self._last is None or seen.segment != self._last.segment:
            ended = [before] if before is not None and self._last is not None and before is not self._last else []
            self._last = seen
            return [*ended, seen]
        if _way(seen, self._last) <= self.choice.advance:
            return []
        # The frame before is the last that is near enough; without one, this has to do.
        self._last = before if before is not None and before is not self._last else seen
        return [self._last]

    def burst(self, reference: Seen) -> Burst:
        """Return the burst of a reference: the nearest frames, as long as enough of it is in common."""
        left = {reference.key: reference.fault} if reference.fault else {}
        if reference.fault:
            return Burst((reference,), left)
        near = sorted(
            (s for s in self._seen if s.order != reference.order and s.segment == reference.segment),
            key=lambda s: (_way(s, reference), abs(s.order - reference.order)),
        )
        left |= {s.key: s.fault for s in self._seen if s.fault and abs(s.order - reference.order) < self.choice.frames}
        good = [s for s in near if not s.fault and _way(s, reference) <= 1 - self.choice.share]
        peers = [s.quality for s in good[: 2 * self.choice.frames]]
        if why := blurred(reference.quality, peers):
            left[reference.key] = why
            sharp = [s for s in good if not blurred(s.quality, [*peers, reference.quality])]
            if not self.choice.every and sharp:
                return self.burst(sharp[0])
        chosen = [reference]
        for seen in good:
            if len(chosen) == self.choice.frames:
                break
            if why := blurred(seen.quality, [reference.quality, *peers]):
                left[seen.key] = why
            elif _common([*chosen, seen]) >= self.choice.share:
                chosen.append(seen)
        return Burst(tuple(chosen), left)


def crop(frames: tuple[Seen, ...]) -> Box:
    """Return the box of the reference that all frames show, by their positions."""
    (y, x), (height, width) = frames[0].at, frames[0].shape
    top, left = (max(s.at[axis] for s in frames) - (y, x)[axis] for axis in (0, 1))
    bottom, right = (min(s.at[axis] + s.shape[axis] for s in frames) - (y, x)[axis] for axis in (0, 1))
    return Box((int(top), int(left)), (min(height, int(bottom)), min(width, int(right))))


def _way(one: Seen, two: Seen) -> float:
    """Return how far two frames lie apart, as a part of the frame, along the axis on which that is farther."""
    return max(abs(a - b) / n for a, b, n in zip(one.at, two.at, two.shape, strict=True))


def _common(frames: list[Seen]) -> float:
    box = crop(tuple(frames))
    return min(n / m for n, m in zip(box.shape, frames[0].shape, strict=True))
