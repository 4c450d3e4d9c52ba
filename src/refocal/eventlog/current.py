"""Which events of a log count now: the latest of each tile, the newest imaging of a place, the operator over the gate.

A log only grows, so a tile can be in it several times. For a key the latest tile event counts. A section that is imaged
again lies in another folder under the same name; what was taken last counts. What an operator says of a tile beats the
gate as long as the file itself is the same.
"""

from collections.abc import Iterable

from refocal.eventlog.fields import Event

VERDICTS = ("keep", "restore", "retake")
"""What an operator can say."""
TO_RETAKE = frozenset({"retake", "unreadable"})
"""Decisions after which a tile must be imaged again."""


def latest(events: Iterable[Event]) -> dict[str, Event]:
    """Return the last tile event of each key, in the order of the first ones."""
    return {event["key"]: event for event in events if event["event"] == "tile"}


def stamp(event: Event) -> tuple[object, object]:
    """Return size and time of change of a tile's file: an operator's verdict holds as long as these are the same."""
    return event.get("size"), event.get("mtime_ns")


class Current:
    """The latest event of each tile and the operator's verdict on it; events are added in the order of the log."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.tiles: dict[str, Event] = {}
        """By key, in the order of the first events."""
        self.verdicts: dict[str, str] = {}
        """By key; only those that still hold."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take one event; what is neither a tile event nor an operator's verdict on a known tile is passed over."""
        key = event.get("key")
        if not isinstance(key, str):
            return
        if event["event"] == "tile":
            before = self.tiles.get(key)
            if before is not None and stamp(before) != stamp(event):
                self.verdicts.pop(key, None)
            self.tiles[key] = event
        elif event["event"] == "override" and key in self.tiles and event.get("verdict") in VERDICTS:
            self.verdicts[key] = event["verdict"]


def decided(decision: str, verdict: str | None) -> str:
    """Return the decision after the operator's verdict.

    "restore" changes nothing by itself: a watch answers it with events of its own.
    """
    return {"keep": "kept", "retake": "retake"}.get(verdict or "", decision)


def imaging(name: str, event: Event) -> str:
    """Return the folder that holds all tiles of one imaging of a section; "" where a section is imaged only once.

    Parameters
    ----------
    name
        Relative name of the tile's file. Above the folder of an mFoV lies that of its section.
    event
        The tile event.
    """
    if event.get("field") is None:
        return ""
    return name.rpartition("/")[0].rpartition("/")[0] or "."


def is_newer(taken: str, before: str) -> bool:
    """Say whether what was taken at one time replaces what was taken at another, which stands earlier in the log."""
    return taken >= before
