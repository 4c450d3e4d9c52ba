"""The answer to one question: is this tile good? Asked by a script, while the microscope is waiting."""

from collections.abc import Iterable
from dataclasses import dataclass

from refocal.core.values import Grade
from refocal.eventlog.log import Event

_BAD = ("unreadable", "failed", "retake")
_WORST_FIRST = (*_BAD, "queued", "restored", "kept", "no_content")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a watch decided about one tile; true unless it must be taken again or could not be read."""

    name: str
    decision: str
    """kept, queued (soft, will be restored), restored, retake, no_content, unreadable or failed."""
    grade: Grade
    error: str | None = None

    def __bool__(self) -> bool:
        return self.decision not in _BAD

    @classmethod
    def of(cls, event: Event) -> "Answer":
        """Read the answer from a tile event."""
        measured = ("sigma_px", "noise", "anisotropy", "angle_deg", "expected")
        grade = Grade(
            event.get("verdict") or "unreadable",
            event.get("reason") or event.get("error") or "",
            *(event.get(name) for name in measured),
        )
        return cls(event["key"], event["decision"], grade, event.get("error"))

    @classmethod
    def of_all(cls, events: Iterable[Event]) -> "Answer":
        """Read the answer about a stack from the tile events of its pages: that of the first of the worst pages."""
        return cls.of(min(events, key=lambda event: _WORST_FIRST.index(event["decision"])))
