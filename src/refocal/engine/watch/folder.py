"""What the scanner remembers of the folders of a tree."""

from dataclasses import dataclass, field

from refocal.core.layout import FolderStatus, TileLocation


@dataclass(slots=True)
class Pending:
    """A file that is not believed to be complete yet."""

    place: TileLocation
    state: tuple[int, int]
    since: float
    polls: int = 1


@dataclass(slots=True)
class Folder:
    """A folder that may still get tiles."""

    name: str
    changed: float
    """When it was last seen to change."""
    mtime_ns: int = -1
    listed: float = -1.0
    check: float = 0.0
    """When all its files are looked at again."""
    wait: float = 0.0
    """Not listed before: long listings are rare listings."""
    newest: str = ""
    latest: str = ""
    """Last file in natural order."""
    children: set[str] = field(default_factory=set)
    finished: set[str] = field(default_factory=set)
    pending: dict[str, Pending] = field(default_factory=dict)
    markers: set[str] = field(default_factory=set)
    sections: set[str] = field(default_factory=set)
    known: FolderStatus = FolderStatus()  # noqa: RUF009 - frozen
    closing: bool = False
    asleep: bool = False
    missing: bool = False
    refused: bool = False
