"""Where the tiles of a section lie, in pixels from its upper left corner."""

from collections.abc import Sequence
from pathlib import Path

from refocal.core.errors import UsageError
from refocal.microscope.handoff.sections import Section, Tile, stored


class Montage:
    """The tiles of a section that have a file in the output.

    Parameters
    ----------
    section
        Tiles that cannot be read are left out, because one damaged file stops a whole section.
    out
        The output of the run.
    pixel_nm
        Stands in for a pixel size that the log does not tell.

    Raises
    ------
    UsageError
        If a tile has no position or no pixel size, sizes differ, pages of stacks are among the tiles, or none is left.
    """

    def __init__(self, section: Section, out: Path, pixel_nm: float | None = None) -> None:
        self.section = section
        self.out = out
        found = [(tile, path) for tile in section.tiles if tile.state != "lost" and (path := stored(out, tile))]
        self.tiles: Sequence[Tile] = [tile for tile, _ in found]
        self.files: Sequence[Path] = [path for _, path in found]
        if not found:
            raise UsageError(
                f"section {section.name} has no files in {out}; fetch the kept tiles with --link or --copy"
            )
        self.pixel_nm = _one({tile.number("pixel_nm") or pixel_nm for tile in self.tiles}, section, "pixel size")
        self.height = int(_one({tile.number("height") for tile in self.tiles}, section, "height"))
        self.width = int(_one({tile.number("width") for tile in self.tiles}, section, "width"))
        stage = [tile.stage_nm for tile in self.tiles]
        lost = [tile.key for tile, where in zip(self.tiles, stage, strict=True) if where is None]
        if lost:
            raise UsageError(
                f"section {section.name}: {len(lost)} tiles have no stage position in the log, e.g. {lost[0]}; "
                "grade them with the layout of their microscope, which reads the positions"
            )
        if any(tile.event.get("page") for tile in self.tiles):
            raise UsageError(f"section {section.name} holds pages of stacks; stitching needs a file for each tile")
        known = [where for where in stage if where is not None]
        left, top = min(x for x, _ in known), min(y for _, y in known)
        self.places = [((x - left) / self.pixel_nm, (y - top) / self.pixel_nm) for x, y in known]
        """(x, y) of the upper left corners, pixels."""

    @property
    def missing(self) -> int:
        """Tiles of the section that are not in the montage."""
        return len(self.section.tiles) - len(self.tiles)


def _one(values: set[float | None], section: Section, what: str) -> float:
    if len(values) == 1 and (value := next(iter(values))) is not None:
        return value
    if None in values:
        hint = "; say it with --pixel-nm" if what == "pixel size" else ""
        raise UsageError(f"section {section.name} has tiles whose {what} the log does not tell{hint}")
    shown = ", ".join(f"{value:g}" for value in sorted(value for value in values if value is not None))
    raise UsageError(f"section {section.name} has tiles of different {what}: {shown}; stitch them apart")
