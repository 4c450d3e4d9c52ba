"""What is done once all blocks are there: files that are written in one go, the image of grades, the whole log."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import numpy as np

from refocal.core.atomic import replacing, write_errors
from refocal.core.blocks import Box
from refocal.core.errors import WriteError
from refocal.core.storage import patient, store
from refocal.core.values import Counts
from refocal.core.volume import VolumeInfo
from refocal.engine.volumes.endpoints import STACK
from refocal.engine.volumes.image_stack import write_stack
from refocal.engine.volumes.records import PACKED
from refocal.engine.volumes.restoration import Restoration, provenance_of
from refocal.parts import volume_formats

GRADES = "grades.zarr"
"""Name of the image of grades in the ledger: one voxel for each section of each block, uint8."""
CODES = {"restored": 1, "kept": 2, "retake": 3, "no_content": 4}
"""What its voxels mean; 0 is not done."""
_ORPHAN_SECONDS = 3
"""A file that a process is writing changes more often than that."""


def finish(work: Restoration) -> bool:
    """Write what needs all blocks, if they are all there; say whether they are.

    Several processes may do this at the same time: they write the same bytes.
    """
    if sum(1 for _ in work.ledger.place.names("blocks")) < sum(map(work.count, range(len(work.levels)))):
        return False
    if work.in_one_go:
        _pack(work)
    grades = np.zeros(_map_shape(work), np.uint8)
    for record in work.ledger.records():
        level, _, corner = record["key"].partition("@")
        if level == "0":
            z, y, x = map(int, corner.split(","))
            for found in record["sections"]:
                place = z + found["section"], y // work.size[1], x // work.size[2]
                grades[place] = CODES.get(found["decision"], 0)
    _write_grades(work, grades)
    work.ledger.write_log()
    for written in (work.out, work.ledger.place):
        if written.path and written.path.is_dir():
            _remove_orphans(written.path)
    return True


def _remove_orphans(folder: Path) -> None:
    """Remove what zarr-python had not finished when a process was killed; nothing is written here any more."""
    for path in folder.rglob("*.partial"):
        with suppress(OSError):  # another process may do the same
            if time.time() - path.stat().st_mtime > _ORPHAN_SECONDS:
                path.unlink()


def _map_shape(work: Restoration) -> tuple[int, int, int]:
    (depth, height, width), (_, y, x) = work.levels[0].info.shape, work.size
    return depth, -(-height // y), -(-width // x)


def _write_grades(work: Restoration, grades: Counts) -> None:
    first, (_, y, x) = work.levels[0].info, work.size
    z_nm, y_nm, x_nm = first.voxel_nm or (1.0, 1.0, 1.0)
    offset = tuple(o + (n - 1) / 2 * v for o, n, v in zip(first.offset_nm, (1, y, x), (z_nm, y_nm, x_nm), strict=True))
    info = VolumeInfo(
        (grades.shape[0], grades.shape[1], grades.shape[2]), grades.dtype, (64, 256, 256), (64, 256, 256),
        (z_nm, y_nm * y, x_nm * x) if first.voxel_nm else None,
        (offset[0], offset[1], offset[2]) if first.voxel_nm else (0.0, 0.0, 0.0),
    )  # fmt: skip
    form, place = volume_formats.format_of("ome_zarr"), store(f"{work.ledger.place.url}/{GRADES}")
    provenance = {**provenance_of(work.ledger, work.ledger.job() or {}), "codes": CODES}
    patient(partial(form.create, place, [info], provenance))
    patient(partial(form.open(place, write=True).write, Box((0, 0, 0), grades.shape), grades))


def _pack(work: Restoration) -> None:
    """Write a file in one go from the scratch volume, unless it is there as it was written."""
    path, place = Path(work.out.url), work.ledger.place
    if path.is_file() and place.read(PACKED) == str(path.stat().st_size).encode():
        return
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if work.kind == STACK:
            _stack(work, path)
        else:
            with replacing(path) as part:
                _fill(work, part)
        place.write(PACKED, str(path.stat().st_size).encode())


def _stack(work: Restoration, path: Path) -> None:
    """Write a stack under a name of its own first: another process may be doing the same."""
    source, own = Path(work.given), path.with_name(f".{uuid4().hex}.{path.name[-16:]}")
    try:
        write_stack(own, work.levels[0], source if source.is_file() else None)
        os.replace(own, path)
    except WriteError as error:
        raise WriteError(str(error).replace(str(own), str(path))) from error
    finally:
        own.unlink(missing_ok=True)


def _fill(work: Restoration, part: Path) -> None:
    form, target = volume_formats.format_of(work.kind), store(part)
    info = replace(work.levels[0].info, metadata=work.source.info.metadata)
    form.create(target, [info], provenance_of(work.ledger, work.ledger.job() or {}))
    volume = form.open(target, write=True)
    for block in work.blocks():
        volume.write(block.write, work.levels[0].read(block.write))
    volume.close()
