"""Any tree of images: the section is the folder, the tile the name without its extension.

Nothing is marked as complete, and no folder is ever closed: a watch has to go by sizes, times and content.
"""

import os
from pathlib import Path

from refocal.core.layout import FolderStatus, TileLocation
from refocal.parts.layouts._names import is_aside, is_image, split

__all__ = ["Folder"]


class Folder:
    """Images anywhere in a tree."""

    def matches(self, root: Path) -> bool:
        """Say whether it is a folder at all; every other layout is asked first."""
        return Path(root).is_dir()

    def descends(self, folder: str) -> bool:
        """Descend everywhere but into hidden and system folders."""
        return not any(is_aside(part) for part in split(folder))

    def place(self, name: str) -> TileLocation | None:
        """Return the folder as the section, and the stem as the tile."""
        *folders, file = split(name) or [""]
        if not is_image(file) or any(is_aside(part) for part in folders):
            return None
        return TileLocation("/".join(folders) or ".", file.rpartition(".")[0])

    def known(self, root: Path, folder: str) -> FolderStatus:
        """Return nothing, for a folder that is there.

        Raises
        ------
        OSError
            If the folder cannot be reached.
        """
        os.stat(Path(root) / folder)
        return FolderStatus()
