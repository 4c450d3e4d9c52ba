"""Stage positions that the microscope wrote down after its tiles were graded."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from refocal.core import registry
from refocal.core.layout import FolderStatus, Layout
from refocal.microscope.handoff.sections import Section, Tile
from refocal.parts import layouts


def located(section: Section, roots: Sequence[Path]) -> Section:
    """Return a section whose tiles without a position have the one that the side-cars of their microscope tell now.

    Parameters
    ----------
    section
        As the log describes it; a multi-beam microscope lists positions after it has written the tiles.
    roots
        The folders that were watched; those that are not there any more tell nothing.
    """
    if all(tile.stage_nm for tile in section.tiles):
        return section
    sources = [_Source(root) for root in roots if root.is_dir()]
    return replace(section, tiles=tuple(_located(tile, sources) for tile in section.tiles))


class _Source:
    """What the layout of a folder knows, asked once for each folder below it."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._layout: Layout = registry.make("layouts", layouts.recognise(root))
        self._known: dict[str, FolderStatus] = {}

    def known(self, folder: str) -> FolderStatus:
        if folder not in self._known:
            try:
                self._known[folder] = self._layout.known(self._root, folder)
            except OSError:
                self._known[folder] = FolderStatus()
        return self._known[folder]


def _located(tile: Tile, sources: Sequence[_Source]) -> Tile:
    if tile.stage_nm is not None:
        return tile
    folder = "" if tile.path.parent.as_posix() == "." else tile.path.parent.as_posix()
    for known in (source.known(folder) for source in sources):
        if (place := known.stage_nm.get(tile.path.name)) is not None:
            pixel_nm = tile.number("pixel_nm") or known.pixel_nm
            found = {"stage_x_nm": place[0], "stage_y_nm": place[1], "pixel_nm": pixel_nm}
            return replace(tile, event={**tile.event, **found})
    return tile
