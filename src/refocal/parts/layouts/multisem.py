r"""Zeiss MultiSEM 505 and 506 (61 and 91 beams): [wafer/] batch / section / mFoV / tile.

    wafer_03/                                       optional
      name_20260105_08-00-00/                       batch: one experiment; experiment_log.txt has a line per operation
        021_S56R1/                                  section: stage index, then section and region; or "021_" alone
          full_image_coordinates.txt                000001\021_000001_003_....bmp <tab> x <tab> y <tab> 0, in pixels
          full_image_coordinates_corrected.txt      the same after stitching of thumbnails; preferred
          region_metadata.csv                       a row per mFoV; under the last column, IMQA, one score per beam
          000001/                                   mFoV: one exposure of all beams
            021_000001_003_2026-01-05T0800021234567.bmp
            thumbnail_021_000001_003_....bmp        not a tile
            image_coordinates.txt, metadata.txt     appear after the images

A section imaged again has the same name in a later batch: the same place, taken later. The microscope has finished a
tile when one of the coordinate files names it, a section when the batch's log says `stop region "S56R1"`, and a batch
when it says `stop experiment`.
"""

import os
import re
from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from pathlib import Path

from refocal.core.layout import FolderStatus, TileLocation
from refocal.parts.layouts._mfov import Coordinates, Metadata, Operations, read_imqa
from refocal.parts.layouts._names import is_aside, split
from refocal.parts.layouts._tail import Recent, Tail

__all__ = ["MultiSem"]

_TILE = re.compile(
    r"(?P<stage>\d{3})_(?P<mfov>\d{6})_(?P<beam>\d{3})_(?P<taken>\d{4}-\d\d-\d\dT\d{13})\.(?:bmp|png|tiff?)",
    re.IGNORECASE | re.ASCII,
)
_SECTION = re.compile(r"(?P<stage>\d{3})(?:_(?P<label>(?:S\d+R(?P<region>\d+))?))?", re.ASCII)
_BATCH = re.compile(r".*_\d{8}_\d\d-\d\d-\d\d", re.ASCII | re.DOTALL)
_MFOV = re.compile(r"\d{6}", re.ASCII)
_LOG = "experiment_log.txt"
_FULL = ("full_image_coordinates.txt", "full_image_coordinates_corrected.txt")
_SIGNS = frozenset((_LOG, *_FULL, "full_thumbnail_coordinates.txt", "region_metadata.csv"))
_DEEPEST = 6
_MOST_LISTED = 200
# Parsed side-cars that stay in memory. A section of 200 mFoVs with 61 beams takes about 5 MB, an mFoV 20 kB.
_SECTIONS, _FIELDS, _BATCHES = 6, 256, 16


class MultiSem:
    """Folders of the Zeiss MultiSEM; used by one thread.

    Parameters
    ----------
    pixel_nm
        Pixel edge, nanometres, where `metadata.txt` does not tell it; the coordinate files are in pixels. With None
        they are left out.
    """

    def __init__(self, pixel_nm: float | None = 4.0) -> None:
        if pixel_nm is not None and not 0 < pixel_nm < 1e6:
            raise ValueError(f"pixel_nm must be above 0, got {pixel_nm}")
        self._pixel_nm = pixel_nm
        self._batches: Recent[_Log] = Recent(_BATCHES)
        self._sections: Recent[_Section] = Recent(_SECTIONS)
        self._fields: Recent[_Field] = Recent(_FIELDS)

    def matches(self, root: Path) -> bool:
        """Recognise a folder of wafers or batches, a batch, or a section, by names on the first two levels."""
        here = _listed(Path(root))
        return bool(_SIGNS & here) or any(
            self._shows(name, _listed(Path(root) / name)) for name in sorted(here, reverse=True)[:_MOST_LISTED]
        )

    def _shows(self, name: str, below: frozenset[str]) -> bool:
        """Say whether a folder, by its name and what is in it, is one of an acquisition."""
        kind = _kind(name)
        if kind == "mfov":
            return any(_TILE.fullmatch(file) for file in below)
        inside = {_kind(file) for file in below}
        return (
            bool(_SIGNS & below) or (kind == "batch" and "section" in inside) or (kind == "other" and "batch" in inside)
        )

    def descends(self, folder: str) -> bool:
        """Descend to mFoVs (six digits) and what may hold them; not into `AFASFailure`, nor below an mFoV."""
        parts = split(folder)
        if len(parts) > _DEEPEST or any(is_aside(part) or part == "AFASFailure" for part in parts):
            return False
        kinds = [_kind(part) for part in parts]
        return all(below in _MAY_HOLD[above] for above, below in pairwise(kinds))

    def place(self, name: str) -> TileLocation | None:
        """Return section, region, mFoV, beam and time from a tile's name and its folders."""
        *folders, file = split(name) or [""]
        found = _TILE.fullmatch(file)
        if not found or not self.descends("/".join(folders)):
            return None
        field, beam = int(found["mfov"]), int(found["beam"])
        section, region = _section_name(folders, found["stage"])
        return TileLocation(section, f"m{field:06d}_b{beam:03d}", region, field, beam, taken=found["taken"])

    def known(self, root: Path, folder: str) -> FolderStatus:
        """Return what the coordinate files and the batch's log say about an mFoV, a section or a batch.

        Costs a handful of `stat` calls when nothing changed. The closing of an mFoV is known before that of its
        section: its side-cars are there, all their files are, and the next mFoV has begun.

        Raises
        ------
        OSError
            If the folder itself cannot be reached.
        """
        here = Path(root) / folder
        os.stat(here)
        parts = split(folder)
        kind = _kind(parts[-1]) if parts else "other"
        if kind == "mfov":
            return self._mfov(Path(root), parts)
        if kind == "section":
            return FolderStatus(closed=self._stopped(Path(root), parts), pixel_nm=self._pixel_nm)
        return FolderStatus(closed=self._log(here).operations.stopped, pixel_nm=self._pixel_nm)

    def imqa(self, section: Path) -> Mapping[tuple[int, int], float]:
        """Read the microscope's own score of each tile of a section from `region_metadata.csv`.

        Parameters
        ----------
        section
            The section's folder.

        Returns
        -------
        Mapping
            From (mFoV, beam), both counted from 1, to the score; empty where there is no such file. A growing file
            gives the whole rows.
        """
        return read_imqa(Path(section) / "region_metadata.csv")

    def _mfov(self, root: Path, parts: list[str]) -> FolderStatus:
        above, name = parts[:-1], parts[-1]
        here = root.joinpath(*parts)
        section = self._sections.get(here.parent, partial(_Section, here.parent))
        field = self._fields.get(here, partial(_Field, here))
        stopped = self._stopped(root, above)
        changed = [section.follow(name), field.follow()]
        if field.answer is None or any(changed) or stopped != field.stopped:
            pixel_nm = field.metadata.pixel_nm or self._pixel_nm
            places = {**field.coordinates.of(""), **section.of(name)}
            stage = {file: (x * pixel_nm, y * pixel_nm) for file, (x, y) in places.items()} if pixel_nm else {}
            field.stopped = stopped
            field.answer = FolderStatus(frozenset(places), stopped, stage, pixel_nm)
        if not field.answer.closed and field.is_whole(field.answer.complete):
            field.answer = FolderStatus(field.answer.complete, True, field.answer.stage_nm, field.answer.pixel_nm)
        return field.answer

    def _stopped(self, root: Path, section: list[str]) -> bool:
        """Say whether the batch's log says that a section, given by its parts below the root, is over."""
        if not section:
            return False  # the root itself is the section: its log lies outside of what may be read
        operations = self._log(root.joinpath(*section[:-1])).operations
        found = _SECTION.fullmatch(section[-1])
        names = {section[-1], *((found["label"], found["stage"]) if found else ())} - {"", None}
        return operations.stopped or not names.isdisjoint(operations.regions)

    def _log(self, batch: Path) -> "_Log":
        log = self._batches.get(batch, partial(_Log, batch))
        log.tail.follow(log.operations)
        return log


class _Log:
    """The log of one batch."""

    def __init__(self, batch: Path) -> None:
        self.tail, self.operations = Tail(batch / _LOG, torn=True), Operations()


class _Section:
    """The coordinate files of one section: the full one, and the corrected one, which is preferred."""

    def __init__(self, folder: Path) -> None:
        self._files = [(Tail(folder / name, torn=True), Coordinates()) for name in _FULL]
        self._version: dict[str, int] = {}

    def follow(self, mfov: str) -> bool:
        """Read what is new; say whether the mFoV has not seen the newest state."""
        for tail, coordinates in self._files:
            tail.follow(coordinates)
        version = sum(coordinates.version(mfov) for _, coordinates in self._files)
        changed = self._version.get(mfov, 0) != version
        self._version[mfov] = version
        return changed

    def of(self, mfov: str) -> dict[str, tuple[float, float]]:
        """Return the positions of the files of an mFoV, pixels."""
        full, corrected = (coordinates.of(mfov) for _, coordinates in self._files)
        return {**full, **corrected}


class _Field:
    """The side-cars of one mFoV, and what was last said about it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.coordinates, self.metadata = Coordinates(), Metadata()
        self._files = (
            (Tail(folder / "image_coordinates.txt", torn=True), self.coordinates),
            (Tail(folder / "metadata.txt"), self.metadata),
        )
        self.answer: FolderStatus | None = None
        self.stopped = False

    def follow(self) -> bool:
        """Read what is new; say whether there was anything."""
        return True in [tail.follow(reader) for tail, reader in self._files]  # all of them, always

    def is_whole(self, listed: frozenset[str]) -> bool:
        """Say whether both side-cars are there, so is every listed file, and the next mFoV has begun."""
        after = self._folder.with_name(f"{int(self._folder.name) + 1:06d}")
        return bool(listed) and self.metadata.there and after.exists() and listed <= _listed(self._folder)


# What each kind of folder may hold. Wafers may have three digits too, so a "section" may hold a batch.
_MAY_HOLD = {
    "other": frozenset(("other", "batch", "section", "mfov")),
    "batch": frozenset(("section",)),
    "section": frozenset(("mfov", "batch")),
    "mfov": frozenset[str](),
}


def _kind(part: str) -> str:
    if _MFOV.fullmatch(part):
        return "mfov"
    if _SECTION.fullmatch(part):
        return "section"
    return "batch" if _BATCH.fullmatch(part) else "other"


def _section_name(folders: list[str], stage: str) -> tuple[str, int | None]:
    """Return the section, after the wafer if there is one, and its region."""
    region, name = None, stage
    above = folders[:-1] if folders and _MFOV.fullmatch(folders[-1]) else folders
    if above and (found := _SECTION.fullmatch(above[-1])):
        name = found["label"] or found["stage"]
        region = int(found["region"]) if found["region"] else None
        above = above[:-1]
    wafer = [part for part in above if not _BATCH.fullmatch(part)]
    return ".".join([*wafer, name]), region


def _listed(folder: Path) -> frozenset[str]:
    try:
        return frozenset(os.listdir(folder))
    except OSError:
        return frozenset()
