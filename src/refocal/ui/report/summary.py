"""The content of a log as the report shows it: one `Tile` for each key, and a `Digest` of them all."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from sys import intern
from typing import Any

from refocal.core.values import Contrast
from refocal.eventlog import fields
from refocal.eventlog.fields import Event
from refocal.eventlog.warnings import Warnings

DECISIONS = {
    "restored": "restored",
    "kept": "kept as it is",
    "retake": "to be retaken",
    "no_content": "no content",
    "unreadable": "unreadable",
    "failed": "failed",
}
"""Every decision, in the order of the report, and how it is called there."""
MOST_TILES = 50_000
"""Of longer runs the tiles that came last are shown; all are counted. No browser shows a table of a million rows."""
RETAKE_LINE = 0.02
"""Above this share of retakes an automated acquisition stops about once a day."""
_GRADED = ("sigma_px", "sigma_nm", "noise", "anisotropy", "angle_deg", "expected")
_NUMBERS = (*_GRADED, "seconds", "pixel_nm", "height", "width", "clipped")


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile as its last event describes it; fields that are missing or malformed are None."""

    number: int
    name: str
    page: int
    decision: str
    verdict: str
    reason: str
    numbers: Mapping[str, float | None]
    """sigma_px, sigma_nm, noise, anisotropy, angle_deg, expected, seconds, pixel_nm, height, width, clipped."""
    path: str
    output: str | None
    stage_nm: tuple[float, float] | None
    """(x, y)."""
    contrast: Contrast | None = None
    """The counts that meant 0 and 1, where they are not the range of the number format."""
    warnings: tuple[str, ...] = ()

    @property
    def sigma_px(self) -> float | None:
        """Width of the blur."""
        return self.numbers["sigma_px"]

    @property
    def noise(self) -> float | None:
        """Standard deviation of the noise, counts."""
        return self.numbers["noise"]

    @property
    def section(self) -> str:
        """The folder of the tile, "" if it has none."""
        parent = str(PurePosixPath(self.name.replace("\\", "/")).parent)
        return "" if parent == "." else parent

    @property
    def label(self) -> str:
        """The name, with the page of a stack."""
        return f"{self.name}#{self.page}" if self.page else self.name


@dataclass(frozen=True, slots=True)
class Digest:
    """A whole log."""

    tiles: tuple[Tile, ...]
    """The last `MOST_TILES` of them."""
    counts: Mapping[str, int]
    """Tiles per decision; every decision is there."""
    seconds: float | None
    """Wall time from the start of each run to its last tile, summed over the runs."""
    megapixels: float
    jobs: tuple[Mapping[str, Any], ...]
    """The events that began a run."""
    warnings: Warnings = field(default_factory=Warnings)
    """What the latest events of the tiles say."""

    @property
    def left_out(self) -> int:
        """Tiles that are counted and not shown."""
        return sum(self.counts.values()) - len(self.tiles)

    @property
    def retake_share(self) -> float | None:
        """Retakes among the tiles that hold tissue; None where no tile was graded."""
        graded = sum(self.counts[d] for d in ("restored", "kept", "retake"))
        return self.counts["retake"] / graded if graded else None


def summarise(events: Iterable[Event]) -> Digest:
    """Digest the events of a log, in the order of writing; never fails on the content of an event."""
    jobs: list[Event] = []
    clock = _Clock()
    last: dict[str, Tile] = {}
    decided: dict[int, str] = {}
    area = 0.0
    for event in events:
        clock.add(event)
        key = event.get("key")
        if event.get("event") == "job":
            jobs.append(event)
        elif event.get("event") == "tile" and isinstance(key, str):
            tile = _tile(last[key].number if key in last else len(last), event)
            if (place := hash(key)) not in decided:
                area += (tile.numbers["height"] or 0) * (tile.numbers["width"] or 0)
            decided[place] = tile.decision
            last[key] = tile
            if len(last) > MOST_TILES:
                del last[next(iter(last))]
    tiles = tuple(last.values())
    if len(decided) > len(tiles):
        tiles = tuple(replace(tile, number=number) for number, tile in enumerate(tiles))
    counts = Counter(decided.values())
    warnings = Warnings()
    for tile in tiles:
        for text in tile.warnings:
            warnings.say(text, tile.name)
    return Digest(tiles, {d: counts[d] for d in DECISIONS}, clock.seconds(), area / 1e6, tuple(jobs), warnings)


def _tile(number: int, event: Event) -> Tile:
    decision = str(event.get("decision"))
    path = _text(event.get("input") or event.get("path") or event["key"])
    output = event.get("output")
    return Tile(
        number=number,
        name=_text(event.get("path") or event["key"]),
        page=int(fields.number(event.get("page")) or 0),
        decision=intern(decision) if decision in DECISIONS else "failed",
        verdict=intern(_text(event.get("verdict") or "")),
        reason=intern(_text(event.get("error") or event.get("reason") or "")),
        numbers={name: fields.number(event.get(name)) for name in _NUMBERS},
        path=path,
        output=output if isinstance(output, str) else None,
        stage_nm=fields.stage_nm(event),
        contrast=contrast_in(event),
        warnings=_texts(event.get("warnings")),
    )


def _texts(said: object) -> tuple[str, ...]:
    return tuple(intern(_text(text)) for text in said if isinstance(text, str)) if isinstance(said, list) else ()


def contrast_in(found: Mapping[str, Any]) -> Contrast | None:
    """Return the contrast that an event or a job names, None where it names none."""
    pair = found.get("contrast")
    try:
        return Contrast(float(pair[0]), float(pair[1])) if pair else None
    except (TypeError, ValueError, IndexError, KeyError):
        return None


def _text(value: object) -> str:
    """Return text that UTF-8 can hold: file names may carry bytes that it cannot."""
    return (
        re.sub(r"[\x00-\x08\x0b-\x1f\x7f]", "\N{REPLACEMENT CHARACTER}", str(value)).encode("utf-8", "replace").decode()
    )


class _Clock:
    """The wall time of the runs of a log, taken event by event."""

    def __init__(self) -> None:
        self._total = 0.0
        self._start: float | None = None
        self._end: float | None = None

    def add(self, event: Event) -> None:
        """Take the next event."""
        now = fields.seconds(event.get("time"))
        if now is None:
            return
        if event.get("event") == "job" and self._start is not None and self._end is not None:
            self._total, self._start = self._total + self._end - self._start, now
        self._start, self._end = now if self._start is None else self._start, now

    def seconds(self) -> float | None:
        """Return the time from the start of each run to its last event, summed; None without any."""
        if self._start is None or self._end is None:
            return None
        return self._total + max(0.0, self._end - self._start)
