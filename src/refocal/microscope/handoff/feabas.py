"""Coordinate files for FEABAS, one for each section: tabs only, three header lines, then names and corners in pixels.

FEABAS reads the mFoV of a MultiSEM tile from the first folder of its name and mFoV and beam from the file name, so the
root is the section's folder in the output and names are those that the microscope gave.
"""

from refocal.core.errors import UsageError
from refocal.microscope.handoff.montage import Montage


def coordinate_file(montage: Montage) -> str:
    """Return the text of `stitch/stitch_coord/<section>.txt`.

    Raises
    ------
    UsageError
        If a name holds a tab or a line break, which the format cannot say.
    """
    root = (montage.out / montage.section.folder).resolve()
    lines = [
        f"{{ROOT_DIR}}\t{root.as_posix()}",
        f"{{RESOLUTION}}\t{montage.pixel_nm:g}",
        f"{{TILE_SIZE}}\t{montage.height}\t{montage.width}",
    ]
    for tile, (x, y) in zip(montage.tiles, montage.places, strict=True):
        name = tile.path.relative_to(montage.section.folder).as_posix()
        lines.append(f"{name}\t{_pixels(x)}\t{_pixels(y)}")
    if any(character in line for line in lines for character in "\r\n") or any(
        line.count("\t") != 2 for line in lines[2:]
    ):
        raise UsageError(f"section {montage.section.name}: FEABAS cannot read names with tabs or line breaks")
    return "\n".join(lines) + "\n"


def _pixels(value: float) -> str:
    return f"{round(value, 3):.3f}".rstrip("0").rstrip(".")
