"""What is replayed: size of the acquisition, speed, and the shares of what goes wrong."""

from dataclasses import dataclass, field, fields
from datetime import datetime
from pathlib import Path

from refocal.core.errors import BadOptionError


@dataclass(frozen=True, slots=True)
class Shares:
    """Shares of the tiles, 0 to 1; what is none of the first three is sharp."""

    soft: float = 0.12
    """Out of focus, blurred by 1.2 to 2.4 px."""
    noisy: float = 0.02
    """Few electrons."""
    blank: float = 0.03
    """Resin only."""
    hopeless: float = 0.02
    """Out of focus by 6 px, with noise."""
    slow: float = 0.1
    """Stay half-written until some later tiles are there."""
    torn: float = 0.0
    """Stay half-written for ever."""
    missing: float = 0.0
    """A beam without an image (MultiSEM)."""
    doubled: float = 0.05
    """Lines of coordinate files that come twice, first with a wrong position (MultiSEM)."""
    rejected: float = 0.05
    """Refused at first by the program's own inspection, and taken again under the same name (SBEMimage)."""

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        for one in fields(self):
            if not 0 <= getattr(self, one.name) <= 1:
                raise BadOptionError(f"{one.name} is a share from 0 to 1, got {getattr(self, one.name)}")
        if self.soft + self.noisy + self.blank + self.hopeless > 1:
            raise BadOptionError("soft, noisy, blank and hopeless together are more than all tiles")


@dataclass(frozen=True, slots=True)
class Plan:
    """An acquisition. Sections are slices in SBEMimage, and folders in `folder`."""

    sections: int = 2
    mfovs: int = 3
    """Fields of a section (MultiSEM)."""
    beams: int = 61
    """Beams of the microscope (MultiSEM)."""
    grids: int = 1
    """Grids of a slice (SBEMimage)."""
    tiles: int = 4
    """Tiles of a grid (SBEMimage) or folder."""
    batches: int = 1
    """Batches that the sections are spread over (MultiSEM)."""
    retakes: int = 0
    """Sections that are imaged again, all sharp, in a last batch (MultiSEM)."""
    wafer: str = ""
    """Folder above the batches (MultiSEM)."""
    height: int = 2724
    width: int = 3128
    pixel_nm: float = 4.0
    tiles_per_second: float = 0.0
    """0 writes as fast as the disk takes it."""
    thumbnails: bool = True
    """Write a thumbnail beside each tile (MultiSEM)."""
    variants: int = 4
    """Images of each quality that are made beforehand; each takes as much memory as a tile."""
    start: datetime = datetime(2026, 1, 5, 8)
    """When the microscope says that it began; names and logs follow from it."""
    seed: int = 0
    images: tuple[Path, ...] = ()
    """Sharp images, files or folders; without any, neuropil is drawn."""
    shares: Shares = field(default_factory=Shares)

    def __post_init__(self) -> None:
        """Refuse impossible sizes."""
        least = {"sections": 1, "mfovs": 1, "beams": 1, "grids": 1, "tiles": 1, "batches": 1, "variants": 1}
        least |= {"retakes": 0, "height": 16, "width": 16, "seed": 0}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise BadOptionError(f"{name} must be at least {bound}, got {getattr(self, name)}")
        if not 0 <= self.tiles_per_second < float("inf") or not 0 < self.pixel_nm < 1e6:
            raise BadOptionError("tiles per second must be 0 or more, and the pixel size above 0 nm")
        if self.retakes > self.sections or self.batches > self.sections:
            raise BadOptionError(f"only {self.sections} sections: retakes and batches cannot be more")
