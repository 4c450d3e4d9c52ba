"""What the statistics need of one tile event; fields that are missing or malformed are None."""

import math
from dataclasses import dataclass

from refocal.eventlog.current import TO_RETAKE
from refocal.eventlog.fields import Event, number, scan_fault, whole_number


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
        """Whether it must be retaken."""
        return self.decision in TO_RETAKE

    @classmethod
    def of(cls, event: Event) -> "Observation":
        """Read a tile event."""
        anisotropy, angle = number(event.get("anisotropy")), number(event.get("angle_deg"))
        vector = None
        if anisotropy is not None and angle is not None:
            doubled = math.radians(2 * angle)
            vector = (anisotropy * math.cos(doubled), anisotropy * math.sin(doubled))
        section = event.get("section")
        return cls(
            section=str(section) if section is not None else None,
            region=whole_number(event.get("region")),
            field=whole_number(event.get("field")),
            beam=whole_number(event.get("beam")),
            grid=whole_number(event.get("grid")),
            taken=str(event.get("taken") or ""),
            decision=str(event.get("decision")),
            sigma_px=number(event.get("sigma_px")),
            vector=vector,
            fault=scan_fault(event),
        )
