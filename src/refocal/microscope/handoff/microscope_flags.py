"""Flags for the microscopes' own programs: `yesretake` and `user_comment.txt`, and lists of `grid.tile`."""

from collections.abc import Sequence

from refocal.microscope.handoff.retake_codes import codes
from refocal.microscope.handoff.sections import Section


def comment(section: Section, astigmatic: frozenset[int] = frozenset()) -> str:
    """Return the text of `user_comment.txt`: codes in brackets, then how many tiles have which cause."""
    found = codes(section, astigmatic)
    brackets = " ".join(f"[{code}]" for code in found)
    counts = ", ".join(f"{count} {code}" for code, count in found.items())
    return f"{brackets} refocal: {len(section.retakes)} of {len(section.tiles)} tiles ({counts})\n"


def grid_tiles(section: Section) -> Sequence[str]:
    """Return the tiles to be retaken as SBEMimage writes them, "grid.tile"; tiles without a grid are left out."""
    found = []
    for tile in section.retakes:
        number = tile.tile.rpartition("t")[2]
        grid = tile.whole("grid")
        if grid is not None and number.isdigit():
            found.append(f"{grid}.{int(number)}")
    return found
