"""IBEAM-MSEM: a MultiSEM whose sections are milled by an ion beam between scans, as it is stored at Janelia.

    scans/scan_010/slabs/slab_0399/mfovs/mfov_0022/sfov_001.png        files are counted from 1
                                                   thumbnail_001.png   not a tile

Each scan of a slab is a separate surface, so slab and scan together are the section. The metadata are one Zarr archive
elsewhere, which is not read: nothing is marked as complete, and nothing closes.
"""

import os
import re
from pathlib import Path

from refocal.core.layout import FolderStatus, TileLocation
from refocal.parts.layouts._names import is_aside, split

__all__ = ["IbeamMsem"]

_TILE = re.compile(
    r"(?:.*/)?(?P<scan>scan_\d{3})/slabs/(?P<slab>slab_\d{4})/mfovs/mfov_(?P<mfov>\d{4})/sfov_(?P<beam>\d{3})\.png",
    re.ASCII | re.DOTALL,
)
_SCAN = re.compile(r"scan_\d{3}", re.ASCII)
_BELOW = (re.compile("slabs"), re.compile(r"slab_\d{4}"), re.compile("mfovs"), re.compile(r"mfov_\d{4}", re.ASCII))
_DEEPEST = 6


class IbeamMsem:
    """Scans of slabs; the watched folder holds `scan_*` folders, or is above them."""

    def matches(self, root: Path) -> bool:
        """Recognise scans on the first level, each with `slabs` in it, or on the second."""
        here = _listed(Path(root))
        return any(_SCAN.fullmatch(name) and "slabs" in _listed(Path(root) / name) for name in here) or (
            "scans" in here and any(_SCAN.fullmatch(name) for name in _listed(Path(root) / "scans"))
        )

    def descends(self, folder: str) -> bool:
        """Descend to the mFoVs of scans."""
        parts = split(folder)
        if any(is_aside(part) for part in parts):
            return False
        scan = next((i for i, part in enumerate(parts) if _SCAN.fullmatch(part)), None)
        if scan is None:
            return len(parts) <= _DEEPEST
        below = parts[scan + 1 :]
        return len(below) <= len(_BELOW) and all(p.fullmatch(part) for p, part in zip(_BELOW, below, strict=False))

    def place(self, name: str) -> TileLocation | None:
        """Return slab and scan as the section, mFoV and beam."""
        parts = split(name)
        found = _TILE.fullmatch("/".join(parts))
        if not found or not self.descends("/".join(parts[:-1])):
            return None
        field, beam = int(found["mfov"]), int(found["beam"])
        return TileLocation(f"{found['slab']}.{found['scan']}", f"m{field:06d}_b{beam:03d}", field=field, beam=beam)

    def known(self, root: Path, folder: str) -> FolderStatus:
        """Return nothing, for a folder that is there.

        Raises
        ------
        OSError
            If the folder cannot be reached.
        """
        os.stat(Path(root) / folder)
        return FolderStatus()


def _listed(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
