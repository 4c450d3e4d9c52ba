"""How a watch goes about it."""

from dataclasses import dataclass

from refocal.core.errors import BadOptionError
from refocal.engine.watch.restore_queue import Order


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of a watch; nothing here changes what becomes of a tile."""

    layout: str = "auto"
    """A part of the family `layouts`, or `auto` for the one that recognises the folder."""
    settle: float = 3.0
    """Seconds for which a file must stay the same where nothing better says that it is complete."""
    poll: float = 0.15
    """Seconds between two looks."""
    order: Order = "newest"
    """Which sections are restored first when restoring lags."""
    restores: bool = True
    """False grades only; what is queued is restored by a later watch."""
    reserve_bytes: int = 200 << 20
    """Free space of the output's disk that is left to the log."""
    beat_seconds: float = 10.0
    idle_seconds: float | None = None
    """Stop when there has been nothing to do for so long."""

    def __post_init__(self) -> None:
        """Refuse what cannot be.

        Raises
        ------
        BadOptionError
            If a number is out of range or a name is not known.
        """
        if self.order not in ("newest", "oldest"):
            raise BadOptionError(f"order is newest or oldest, got {self.order!r}")
        for name, value, least in (
            ("settle", self.settle, 0.0), ("poll", self.poll, 0.01), ("beat", self.beat_seconds, 0.01),
            ("reserve", self.reserve_bytes, 0), ("idle", self.idle_seconds, 0.0),
        ):  # fmt: skip
            if value is not None and not value >= least:
                raise BadOptionError(f"{name} must be at least {least:g}, got {value}")
