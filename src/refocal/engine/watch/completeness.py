"""Whether a file is complete: no sign of that is trusted until its content confirms it.

Decoding the file confirms it: the formats check their headers against the length, PNG its checksums and last chunk,
TIFF every strip, MRC its sections. Beyond that, a file must be the same before and after the read, and rows of one
value at its top or bottom are looked at once more, because writers that allocate ahead leave zeros. They are not
refused then: blank tiles have such rows too.
"""

import errno
import os
import stat
from pathlib import Path

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import LaterError, TileError
from refocal.core.values import Counts, Frames, ImageInfo
from refocal.engine.tiles.open_files import OpenFiles
from refocal.engine.tiles.reading import ContrastOf, read_page
from refocal.parts.formats import open_image

DAMAGED = (0.2, 0.5, 1.0, 2.0, 5.0)
"""Seconds to wait before a file that does not decode is read again, time after time."""
SHARED = (*DAMAGED, *(5.0,) * 22)
"""The same for a file that another program keeps open: two minutes."""
_SHARING = {errno.EACCES, errno.EBUSY, errno.EPERM, errno.ESTALE, errno.EAGAIN, errno.ETXTBSY}
_STACKS = (".bmp", ".dib", ".png")


def state_of(path: Path) -> tuple[int, int]:
    """Return size and time of change (ns) of a file.

    Raises
    ------
    OSError
        If it is not there, is no plain file, or cannot be reached.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        raise FileNotFoundError(errno.ENOENT, "not a plain file", str(path))
    return found.st_size, found.st_mtime_ns


def prove(
    path: Path,
    page: int,
    state: tuple[int, int],
    contrast: ContrastOf,
    opened: OpenFiles,
    *,
    patient: bool,
) -> tuple[Frames, ImageInfo]:
    """Read one page of a file that is believed to be complete.

    Parameters
    ----------
    path, page
        What to read.
    state
        Its size and time of change as they were when it was believed.
    contrast
        See `refocal.engine.tiles.reading.read_tile`.
    opened
        Where `count_pages` may have left the file.
    patient
        Accept rows of one value at the top or bottom.

    Raises
    ------
    LaterError
        If it has changed, or begins or ends with a row of one value and `patient` is false.
    UnreadableError, UnsupportedError
        If it does not decode.
    """
    with opened.take(path) as image:
        frames = read_page(image, path, page, contrast, growing=True)
    if state_of(path) != state:
        raise LaterError(f"{path}: changed while it was read")
    if not patient and (_constant(frames.image[0]) or _constant(frames.image[-1])):
        raise LaterError(f"{path}: the first or last row has one value; it may not be written yet")
    return frames, image.info


def says_whole(path: Path) -> bool:
    """Say whether head, length and last row of a file agree that it is whole; reads a few rows at most."""
    if path.suffix.lower() == ".png":
        return _ends_well(path)
    try:
        with open_image(path) as image:
            pages, height, width = image.info.shape
            return not _constant(image.read(pages - 1, Box((height - 1, 0), (height, width))))
    except (TileError, OSError):
        return False


def count_pages(path: Path, opened: OpenFiles | None = None) -> int:
    """Return the number of pages of a file, leaving it open if it has one; formats without stacks are not opened.

    Raises
    ------
    UnreadableError, UnsupportedError
        If its head cannot be read.
    """
    if path.suffix.lower() in _STACKS:
        return 1
    image = open_image(path)
    pages = image.info.shape[0]
    if opened and pages == 1:
        opened.leave(path, image)
    else:
        image.close()
    return pages


def waits(error: BaseException) -> tuple[float, ...]:
    """Return after how many seconds to read again, time after time, before an error is final."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return SHARED if isinstance(cause, OSError) and cause.errno in _SHARING else DAMAGED


def is_gone(error: BaseException) -> bool:
    """Say whether an error means that the file is not there any more."""
    cause = error if isinstance(error, OSError) else error.__cause__
    return isinstance(cause, FileNotFoundError | NotADirectoryError)


def _constant(row: Counts) -> bool:
    return row.size > 1 and bool(np.all(row == row.flat[0]))


def _ends_well(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            file.seek(-8, os.SEEK_END)
            return file.read() == b"IEND\xae\x42\x60\x82"
    except OSError:
        return False
