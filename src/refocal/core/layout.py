"""What a layout says of files and folders: where a tile belongs, and what is complete."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class TileLocation:
    """Where a tile belongs, as a layout reads it from the tile's name; None where the layout has no such level.

    The same section and tile imaged again is the same place; what was taken later supersedes.
    """

    section: str
    """Name of the section, e.g. "S56R1", a slice number, or the folder."""
    tile: str
    """Name within the section, e.g. "m000003_b012" or "g0000.t0004"."""
    region: int | None = None
    field: int | None = None
    """Multi-beam field of view (mFoV)."""
    beam: int | None = None
    grid: int | None = None
    taken: str = ""
    """Sorts by the time of acquisition, from names and logs, never from file times; empty where unknown."""


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """What the logs and side-cars of an acquisition say about one folder; all names are relative to that folder."""

    complete: frozenset[str] = frozenset()
    """Files that the microscope says it has finished."""
    closed: bool = False
    """No tile will come to this folder, or below it, any more."""
    stage_nm: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    """Stage position (x, y) of files, nanometres."""
    pixel_nm: float | None = None
    over: Mapping[str, int] = field(default_factory=dict)
    """Sections that the microscope has finished lately, and how many tiles it says each has; told by any folder."""


class Layout(Protocol):
    """How an acquisition program lays tiles out, names them, and says "complete". Names are relative posix paths."""

    def matches(self, root: Path) -> bool:
        """Say whether a folder was written by this program; only looks at the first two levels."""
        ...

    def descends(self, folder: str) -> bool:
        """Say whether tiles may lie in or below a folder."""
        ...

    def place(self, name: str) -> TileLocation | None:
        """Return where a file belongs, or None if it is not a tile; from the name alone."""
        ...

    def known(self, root: Path, folder: str) -> FolderStatus:
        """Read what is said about a folder; cheap when nothing changed, patient with half-written files."""
        ...
