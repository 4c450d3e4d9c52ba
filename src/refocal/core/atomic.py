"""Files are written whole or not at all: under a hidden `.part` name first, synced, then renamed."""

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from refocal.core import file_locks
from refocal.core.errors import WriteError

_LONGEST_NAME = 255
_MOST_WRITERS = 64


@contextmanager
def replacing(path: Path, tag: str = "") -> Iterator[Path]:
    """Yield the `.part` path to write; it becomes `path` when the block ends well and is removed when it does not.

    Parameters
    ----------
    path
        Final name. Its folder must exist; a file that is there is replaced in one step.
    tag
        Tells apart several processes that may write the same file at the same time.

    Raises
    ------
    OSError
        If it cannot be written; see `writing`.
    """
    with _claimed(path, tag) as part:
        try:
            yield part
            with part.open("rb+") as written:
                os.fsync(written.fileno())
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


@contextmanager
def writing(path: Path, tag: str = "", refusals: tuple[type[Exception], ...] = ()) -> Iterator[Path]:
    """Yield the `.part` path to write, as `replacing` does.

    Raises
    ------
    WriteError
        As `write_errors` does.
    """
    with write_errors(path, refusals), replacing(path, tag) as part:
        yield part


@contextmanager
def write_errors(path: Path, refusals: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Turn errors of writing into `WriteError`, which names the path.

    Parameters
    ----------
    path
        What is written.
    refusals
        What a file library raises, besides `OSError`, where it cannot write what it is given.

    Raises
    ------
    WriteError
        If it cannot be written.
    """
    try:
        yield
    except OSError as error:
        # A library that notices a short write itself raises `OSError` without a code of the system.
        raise WriteError(f"{path}: cannot be written: {error.strerror or f'is the disk full? ({error})'}") from error
    except refusals as error:
        raise WriteError(f"{path}: cannot be written: {' '.join(str(error).split())[:200]}") from error


def make_parents(path: Path) -> None:
    """Make the folder of a file that is to be written.

    Raises
    ------
    WriteError
        If it cannot be made.
    """
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)


def copy(source: Path, target: Path) -> None:
    """Copy the content of a file.

    Raises
    ------
    OSError
        If the source cannot be read or the target cannot be written.
    """
    with replacing(target) as part:
        shutil.copyfile(source, part)


def link(source: Path, target: Path, *, hard: bool) -> None:
    """Put a link to a file, a hard or a symbolic one, in place of what is at `target`.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    part = _part(target)
    part.unlink(missing_ok=True)
    if hard:
        os.link(source, part)
    else:
        part.symlink_to(source.resolve())
    os.replace(part, target)
    part.unlink(missing_ok=True)  # renaming one hard link of a file onto another leaves both


@contextmanager
def _claimed(path: Path, tag: str) -> Iterator[Path]:
    """Yield a `.part` name that no other process uses; one that a process left when it was killed is taken over."""
    if not file_locks.POSSIBLE:
        yield _part(path, tag or str(os.getpid()))
        return
    for number in range(_MOST_WRITERS):
        part = _part(path, f"{tag}{number}" if number else tag)
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            if _locked(descriptor, part):
                yield part
                return
        finally:
            os.close(descriptor)
    raise OSError(errno.EBUSY, f"{_MOST_WRITERS} processes write it at once", str(path))


def _locked(descriptor: int, part: Path) -> bool:
    try:
        # Its owner may have given it its final name, or removed it, after it was opened here.
        return file_locks.claim(descriptor) and os.fstat(descriptor).st_ino == part.stat().st_ino
    except FileNotFoundError:
        return False


def _part(path: Path, tag: str = "") -> Path:
    """Return the unfinished file's name; a long one is cut, because names have at most 255 bytes."""
    ending = (f".{tag}" if tag else "") + ".part"
    name = path.name
    if len(os.fsencode(name)) + len(os.fsencode(ending)) + 1 > _LONGEST_NAME:
        digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
        name = f"{digest}{''.join(path.suffixes)[-12:]}"
    return path.with_name(f".{name}{ending}")
