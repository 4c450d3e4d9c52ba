"""Why a tile must be retaken, in the codes of the MultiSEM retake tools."""

import re
from collections import Counter
from collections.abc import Iterable

from refocal.eventlog.fields import scan_fault
from refocal.microscope.handoff.sections import Section, Tile

SOFT, STIG, FAULT, UNREADABLE, OTHER = "SOFT-FOCUS", "BAD-STIG", "SCAN-FAULT", "UNREADABLE", "RETAKE"

_BEAM = re.compile(r"beam (\d+)")


def cause(tile: Tile, astigmatic: frozenset[int] = frozenset()) -> str:
    """Return the code of a tile; `astigmatic` are beams that the statistics found to be so, never one tile alone."""
    if scan_fault(tile.event):
        return FAULT
    if tile.state == "lost":
        return UNREADABLE
    if tile.whole("beam") in astigmatic or -1 in astigmatic:
        return STIG
    return SOFT if tile.number("sigma_px") is not None or tile.event.get("checked") else OTHER


def astigmatic_beams(alerts: Iterable[dict[str, object]]) -> frozenset[int]:
    """Return the beams that alerts of astigmatism name, in the order of a log; -1 stands for all of them."""
    found: dict[str, bool] = {}
    for alert in alerts:
        if alert.get("kind") == "astigmatism":
            found[str(alert.get("subject"))] = bool(alert.get("active"))
    beams = {int(m[1]) if (m := _BEAM.fullmatch(subject)) else -1 for subject, active in found.items() if active}
    return frozenset(beams)


def codes(section: Section, astigmatic: frozenset[int] = frozenset()) -> dict[str, int]:
    """Return how many tiles of a section have each cause, the commonest first."""
    return dict(Counter(cause(tile, astigmatic) for tile in section.retakes).most_common())
