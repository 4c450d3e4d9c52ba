"""The sections of a log as stitching needs them: the newest imaging of each, and the operator's verdicts.

A section imaged again is a new folder with the same section name; the newest imaging is handed on as a whole, because
positions of two imagings do not fit together. Tiles of one folder that stand at the same place count once, the one
taken last.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from refocal.core.natural_order import natural
from refocal.eventlog import fields
from refocal.eventlog.current import Current, decided, imaging, is_newer
from refocal.eventlog.fields import Event

# What is handed over, and what decides what counts; the rest of a million events need not be held.
_KEPT = (
    "event", "key", "path", "page", "section", "tile", "taken", "decision", "verdict", "reason", "error", "size",
    "mtime_ns", "region", "field", "beam", "grid", "pixel_nm", "height", "width", "mode", "sigma_px", "stage_x_nm",
    "stage_y_nm", "scan_fault", "checked",
)  # fmt: skip

State = Literal["good", "retake", "waiting", "lost"]


@dataclass(frozen=True, slots=True)
class Tile:
    """One tile as the latest events of its key describe it."""

    key: str
    path: PurePosixPath
    """Relative to the watched folder, and to the output."""
    page: int
    section: str
    tile: str
    taken: str
    event: Mapping[str, Any]
    verdict: str | None
    """The operator's, None where there is none."""

    @property
    def decision(self) -> str:
        """What was decided, the operator's verdict first."""
        return decided(str(self.event.get("decision")), self.verdict)

    @property
    def state(self) -> State:
        """Whether the tile can be stitched, must be retaken, waits to be restored, or cannot be read."""
        if self.verdict in (None, "restore") and self.event.get("decision") == "queued":
            return "waiting"
        if self.event.get("decision") in ("unreadable", "failed"):
            return "lost"
        return "retake" if self.decision == "retake" else "good"

    @property
    def stage_nm(self) -> tuple[float, float] | None:
        """Position (x, y)."""
        return fields.stage_nm(self.event)

    def number(self, name: str) -> float | None:
        """Return a number of the event, None where there is none."""
        return fields.number(self.event.get(name))

    def whole(self, name: str) -> int | None:
        """Return a whole number of the event, None where there is none."""
        return fields.whole_number(self.event.get(name))


@dataclass(frozen=True, slots=True)
class Section:
    """The newest imaging of a section."""

    name: str
    region: int | None
    folder: PurePosixPath
    """The folder that holds all its tiles; the parent of the mFoV folders of a multi-beam section."""
    tiles: tuple[Tile, ...]
    superseded: tuple[str, ...]
    """Keys of earlier imagings."""
    complete: bool | None
    """None where the log does not say."""

    @property
    def retakes(self) -> tuple[Tile, ...]:
        """The tiles that must be retaken or cannot be read."""
        return tuple(tile for tile in self.tiles if tile.state in ("retake", "lost"))

    @property
    def waiting(self) -> tuple[Tile, ...]:
        """The tiles that are still to be restored."""
        return tuple(tile for tile in self.tiles if tile.state == "waiting")

    @property
    def retake_share(self) -> float:
        """Share of the tiles that hold something."""
        content = sum(tile.decision != "no_content" for tile in self.tiles)
        return len(self.retakes) / content if content else 0.0


def sections(events: Iterable[Event], only: frozenset[str] = frozenset()) -> list[Section]:
    """Return the sections of a log in natural order ("S2" before "S10", case ignored).

    Parameters
    ----------
    events
        The log.
    only
        Names of the wanted sections; none means all.
    """
    tiles, states = _latest(events)
    gathered: dict[tuple[str, int | None], dict[str, list[Tile]]] = {}
    for tile in tiles:
        if not only or tile.section in only:
            imagings = gathered.setdefault((tile.section, tile.whole("region")), {})
            imagings.setdefault(imaging(tile.path.as_posix(), tile.event), []).append(tile)
    found = [_newest(name, region, imagings, states.get(name)) for (name, region), imagings in gathered.items()]
    return sorted(found, key=lambda section: (natural(section.name), section.region or 0))


def _latest(events: Iterable[Event]) -> tuple[list[Tile], dict[str, str]]:
    """Return the latest state of each key, and the state of each section."""
    current = Current()
    states: dict[str, str] = {}
    for event in events:
        if event["event"] == "section":
            states[str(event.get("section"))] = str(event.get("state"))
        current.add({name: event[name] for name in _KEPT if event.get(name) is not None})
    tiles = [_tile(key, event, current.verdicts.get(key)) for key, event in current.tiles.items()]
    # What a log says is never a way out of the output.
    return [tile for tile in tiles if not tile.path.is_absolute() and ".." not in tile.path.parts], states


def _tile(key: str, event: Event, verdict: str | None) -> Tile:
    path = PurePosixPath(str(event.get("path") or key))
    given = event.get("section")
    return Tile(
        key=key,
        path=path,
        page=fields.whole_number(event.get("page")) or 0,
        section=str(given) if given is not None else path.parent.as_posix(),
        tile=str(event.get("tile") or key),
        taken=str(event.get("taken") or ""),
        event=event,
        verdict=verdict,
    )


def _newest(name: str, region: int | None, imagings: Mapping[str, list[Tile]], state: str | None) -> Section:
    taken = {folder: max(tile.taken for tile in tiles) for folder, tiles in imagings.items()}
    *before, newest = sorted(imagings, key=taken.__getitem__)
    places: dict[str, Tile] = {}
    gone = [tile.key for folder in before for tile in imagings[folder]]
    for tile in imagings[newest]:
        standing = places.get(tile.tile)
        if standing is None or is_newer(tile.taken, standing.taken):
            places[tile.tile] = tile
            gone += [standing.key] if standing else []
        else:
            gone.append(tile.key)
    tiles = tuple(sorted(places.values(), key=lambda tile: natural(tile.key)))
    folder = PurePosixPath(newest) if newest else _common(tiles)
    return Section(name, region, folder, tiles, tuple(gone), None if state is None else state == "complete")


def _common(tiles: Iterable[Tile]) -> PurePosixPath:
    folders = [tile.path.parent for tile in tiles]
    common = folders[0]
    while not all(folder.is_relative_to(common) for folder in folders):
        common = common.parent
    return common


def stored(out: Path, tile: Tile) -> Path | None:
    """Return the file of a tile in the output, None where the run left none."""
    path = out / tile.path
    return path if path.is_file() else None
