"""Hand over a run: retake lists, flags for the microscopes' programs, coordinate files and tile specs for stitching.

Everything is made from the log alone and written whole or not at all. The microscope's own folders are written only
when they are named, and then nothing that exists there is replaced.
"""

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from refocal.core.atomic import copy, link, replacing, write_errors
from refocal.core.errors import RefocalError, UsageError
from refocal.eventlog.log import Event, read_log
from refocal.microscope.handoff.feabas import coordinate_file
from refocal.microscope.handoff.microscope_flags import comment, grid_tiles
from refocal.microscope.handoff.montage import Montage
from refocal.microscope.handoff.render_ws import tile_specs
from refocal.microscope.handoff.retake_codes import astigmatic_beams
from refocal.microscope.handoff.retakes import retake_document, to_retake
from refocal.microscope.handoff.sections import Section, Tile, sections, stored
from refocal.microscope.handoff.stage_positions import located

__all__ = ["HandoffRequest", "HandoffResult", "hand_off"]

RETAKES = "retake.json"
FOLDER = "handoff"
"""Below the output: flags and lists."""
_LOG = "log.jsonl"
_UNSAFE = re.compile(r'[\\/:*?"<>|\x00-\x1f]')


@dataclass(frozen=True, slots=True)
class HandoffRequest:
    """What is to be handed over; `retake.json` always is."""

    feabas: Path | None = None
    """A FEABAS working folder; coordinate files go to `stitch/stitch_coord` in it."""
    render_ws: Path | None = None
    """A JSON file."""
    multisem_flags: bool = False
    """Flag files in a tree of their own, `handoff/multisem` of the output."""
    multisem_into: Path | None = None
    """Flag files in the microscope's tree (or that of its retake tool): the folder that was watched."""
    sbemimage: bool = False
    """Lists of `grid.tile` in `handoff/sbemimage` of the output."""
    only: frozenset[str] = frozenset()
    """Names of sections for stitching; none means all."""
    fetch: Literal["link", "copy"] | None = None
    """How tiles that the run left out are put into the output."""
    unfinished: bool = False
    """Whether sections are handed to stitching that are open or have tiles to be restored."""
    pixel_nm: float | None = None
    retake_share: float = 0.05


@dataclass(slots=True)
class HandoffResult:
    """What was handed over."""

    sections: Sequence[Section]
    written: list[Path] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    """Sections that could not be handed over to stitching, with the reason; the others were."""
    stitched: list[Section] = field(default_factory=list)
    """Sections that were handed over to stitching, including those that are to be imaged again."""


def hand_off(out: Path, wanted: HandoffRequest) -> HandoffResult:
    """Write what is wanted of the run in an output folder.

    Raises
    ------
    UsageError
        If the folder holds no log, a section is not in it, or a folder to be written to is not there.
    WriteError
        If something cannot be written.
    """
    aside: list[Event] = []
    found = sections(_tiles_of(read_log(out / _LOG), aside))
    if not found and not aside:
        raise UsageError(f"{out} holds no {_LOG} with anything in it; give the output folder of a run")
    _check_names(found, wanted.only)
    handed = HandoffResult(found)
    astigmatic = astigmatic_beams(dict(event) for event in aside if event["event"] == "alert")
    document = retake_document(found, retake_share=wanted.retake_share, astigmatic=astigmatic)
    _json(out / RETAKES, document, handed)
    again = [section for section in found if to_retake(section, wanted.retake_share)]
    if wanted.multisem_flags:
        _own_flags(out / FOLDER / "multisem", found, again, astigmatic, handed)
    if wanted.multisem_into is not None:
        _flags_into(wanted.multisem_into, again, astigmatic, handed)
    if wanted.sbemimage:
        for section in found:
            _text(out / FOLDER / "sbemimage" / f"{file_stem(section)}.txt", _lines(grid_tiles(section)), handed)
    if wanted.feabas is not None or wanted.render_ws is not None:
        _stitching(out, [s for s in found if not wanted.only or s.name in wanted.only], wanted, _roots(aside), handed)
    return handed


def file_stem(section: Section) -> str:
    """Return the section's name as a file may be called."""
    return _UNSAFE.sub("_", section.name).strip(". ") or "section"


def _tiles_of(events: Iterable[Event], aside: list[Event]) -> Iterator[Event]:
    """Pass events on; those of jobs and alerts, which are few, are also kept in `aside`."""
    for event in events:
        if event["event"] in ("job", "alert"):
            aside.append(event)
        yield event


def _check_names(found: Sequence[Section], only: frozenset[str]) -> None:
    names = [section.name for section in found]
    if missing := sorted(only - set(names)):
        raise UsageError(f"the log has no section {missing[0]!r}; it has {', '.join(names[:8]) or 'none'}")
    stems = [file_stem(section) for section in found]
    double = [stem for stem, count in Counter(stems).items() if count > 1]
    if double:
        raise UsageError(f"several sections would be called {double[0]!r}; give each its own output")


def _stitching(
    out: Path, found: Sequence[Section], wanted: HandoffRequest, roots: Sequence[Path], handed: HandoffResult
) -> None:
    montages = []
    for section in found:
        try:
            if not wanted.unfinished:
                _check_finished(section)
            if wanted.fetch:
                _fetch(out, section, roots, wanted.fetch)
            montage = Montage(located(section, roots), out, wanted.pixel_nm)
            if wanted.feabas is not None:
                path = wanted.feabas / "stitch" / "stitch_coord" / f"{file_stem(section)}.txt"
                _text(path, coordinate_file(montage), handed)
            montages.append(montage)
        except RefocalError as error:
            handed.problems.append(str(error))
        else:
            if montage.missing:
                handed.problems.append(f"section {section.name}: {montage.missing} tiles are missing and leave holes")
    handed.stitched.extend(montage.section for montage in montages)
    if wanted.feabas is not None and montages:
        _section_order(wanted.feabas, handed.sections, montages, handed)
    if wanted.render_ws is not None and montages:
        _json(wanted.render_ws, tile_specs(montages), handed)


def _check_finished(section: Section) -> None:
    if section.waiting:
        raise UsageError(
            f"section {section.name}: {len(section.waiting)} tiles wait to be restored; come back later, or pass "
            "--unfinished"
        )
    if section.complete is False:
        raise UsageError(f"section {section.name} is still being imaged; come back later, or pass --unfinished")


def _section_order(folder: Path, found: Sequence[Section], montages: Sequence[Montage], handed: HandoffResult) -> None:
    """Tell FEABAS the order of sections where its own, the alphabet's, is another.

    FEABAS leaves out what the file does not name, so it is extended, unless it is somebody else's.
    """
    path = folder / "section_order.txt"
    known = [file_stem(section) for section in found]
    names = [file_stem(montage.section) for montage in montages]
    with write_errors(path):
        before = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    if not before and known == sorted(known):
        return
    ours = [name for name in known if name in before or name in names]
    if before == [name for name in known if name in before]:
        _text(path, _lines(ours), handed)
    elif missing := [name for name in names if name not in before]:
        handed.problems.append(
            f"{path} does not name {', '.join(missing[:5])}; add what is missing, or remove the file"
        )


def _own_flags(
    root: Path, found: Sequence[Section], again: Sequence[Section], astigmatic: frozenset[int], handed: HandoffResult
) -> None:
    for section in found:
        folder = root / section.folder
        if section in again:
            _text(folder / "yesretake", "", handed)
            _text(folder / "user_comment.txt", comment(section, astigmatic), handed)
        else:
            with write_errors(folder):
                (folder / "yesretake").unlink(missing_ok=True)
                (folder / "user_comment.txt").unlink(missing_ok=True)


def _flags_into(root: Path, again: Sequence[Section], astigmatic: frozenset[int], handed: HandoffResult) -> None:
    """Add flags to a tree that is not ours: nothing that exists there is replaced or removed."""
    for section in again:
        folder = root / section.folder
        if not folder.is_dir():
            raise UsageError(f"{folder} is not there; give the folder that was watched to --multisem-into")
        if (folder / "user_comment.txt").exists():
            handed.problems.append(f"section {section.name}: somebody has commented on it already; left as it is")
        else:
            _text(folder / "user_comment.txt", comment(section, astigmatic), handed)
        if not (folder / "yesretake").exists():
            _text(folder / "yesretake", "", handed)


def _roots(events: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Return the folders that the latest run read from."""
    jobs = [event for event in events if event["event"] == "job" and isinstance(event.get("inputs"), list)]
    return [Path(given) for given in jobs[-1]["inputs"] if isinstance(given, str)] if jobs else []


def _fetch(out: Path, section: Section, roots: Sequence[Path], how: Literal["link", "copy"]) -> None:
    for tile in section.tiles:
        if tile.state == "lost" or stored(out, tile) is not None:
            continue
        raw = _raw(tile, roots)
        target = out / tile.path
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            if how == "copy":
                copy(raw, target)
            else:
                link(raw, target, hard=False)


def _raw(tile: Tile, roots: Sequence[Path]) -> Path:
    for root in roots:
        path = root if root.is_file() and root.name == tile.path.name else root / tile.path
        if path.is_file():
            return path
    raise UsageError(f"{tile.key} is not in {', '.join(map(str, roots)) or 'any input'} any more; nothing to fetch")


def _lines(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _json(path: Path, document: object, handed: HandoffResult) -> None:
    _text(path, json.dumps(document, indent=1, ensure_ascii=True, allow_nan=False) + "\n", handed)


def _text(path: Path, text: str, handed: HandoffResult) -> None:
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_text(text, encoding="utf-8", errors="surrogateescape", newline="\n")
    handed.written.append(path)
