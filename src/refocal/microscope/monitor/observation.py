"""What the statistics need of one tile event; what the log does not say, or says wrongly, is None."""

import math
import re
from dataclasses import dataclass
from typing import Any

from refocal.eventlog.log import Event

_FAULT = re.compile(
    r"scan.?fault|rows? (?:are |is )?(?:shifted|constant|missing|repeated)|frozen|incomplete frame", re.I
)


@dataclass(frozen=True, slots=True)
class Observation:
    """One graded tile."""

    section: str | None
    region: int | None
    field: int | None
    beam: int | None
    grid: int | None
    taken: str
    decision: str
    sigma_px: float | None
    vector: tuple[float, float] | None
    """Anisotropy as a vector of doubled angle, so that 179 and 1 degree are neighbours and opposites cancel."""
    fault: bool

    @property
    def blank(self) -> bool:
        """Whether the tile holds nothing."""
        return self.decision == "no_content"

    @property
    def retake(self) -> bool:
        """Whether it must be taken again."""
        return self.decision in ("retake", "unreadable")

    @classmethod
    def of(cls, event: Event) -> "Observation":
        """Read a tile event."""
        anisotropy, angle = _number(event.get("anisotropy")), _number(event.get("angle_deg"))
        vector = None
        if anisotropy is not None and angle is not None:
            doubled = math.radians(2 * angle)
            vector = (anisotropy * math.cos(doubled), anisotropy * math.sin(doubled))
        section = event.get("section")
        words = f"{event.get('reason') or ''} {event.get('error') or ''}"
        return cls(
            section=str(section) if section is not None else None,
            region=_whole(event.get("region")),
            field=_whole(event.get("field")),
            beam=_whole(event.get("beam")),
            grid=_whole(event.get("grid")),
            taken=str(event.get("taken") or ""),
            decision=str(event.get("decision")),
            sigma_px=_number(event.get("sigma_px")),
            vector=vector,
            fault=bool(event.get("scan_fault")) or bool(_FAULT.search(words)),
        )


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
