"""Tiles as one lab's script names them: `session_03/tile_0012.pgm` beside `session.log`."""

import os
import re
from pathlib import Path

from refocal.core.layout import FolderStatus, TileLocation

_TILE = re.compile(r"(session_\d{2})/tile_(\d{4})\.(?:pgm|tif)", re.ASCII)


class Sessions:
    """Numbered sessions of numbered tiles."""

    def matches(self, root: Path) -> bool:
        return (Path(root) / "session.log").is_file()

    def descends(self, folder: str) -> bool:
        return re.fullmatch(r"|\.|session_\d{2}", folder, re.ASCII) is not None

    def place(self, name: str) -> TileLocation | None:
        found = _TILE.fullmatch(name)
        return TileLocation(found[1], found[2]) if found else None

    def known(self, root: Path, folder: str) -> FolderStatus:
        os.stat(Path(root) / folder)
        return FolderStatus()
