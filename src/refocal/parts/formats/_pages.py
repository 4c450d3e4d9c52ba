"""Writing, whole or not at all: a hidden `.part` file next to the target, flushed to disk and renamed."""

import json
import os
import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from refocal.core.errors import RefocalError, WriteError
from refocal.core.values import Counts, ImageInfo

_KEY = "refocal"


@contextmanager
def part(path: Path) -> Iterator[Path]:
    """Yield the name to write to; it becomes `path` if nothing fails and is removed otherwise.

    Raises
    ------
    WriteError
        If writing fails: no space, no permission, no folder, or pixels that the format cannot hold.
    """
    unfinished = path.with_name(f".{path.name}.part")
    try:
        yield unfinished
        with open(unfinished, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except RefocalError:
        raise
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or f'is the disk full? ({error})'}") from error
    except (ValueError, RuntimeError, struct.error) as error:
        raise WriteError(f"{path}: cannot be written: {' '.join(str(error).split())[:200]}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def expected(path: Path, pages: Iterable[Counts], like: ImageInfo) -> Iterator[Counts]:
    """Yield the pages, refusing any that `like` does not describe, one too few or one too many."""
    count = 0
    for page in pages:
        count += 1
        if page.shape != like.shape[1:] or page.dtype != like.dtype or count > like.shape[0]:
            raise WriteError(
                f"{path}: page {count} is {page.shape} {page.dtype}; expected {like.shape[0]} pages of "
                f"{like.shape[1:]} {like.dtype}"
            )
        yield page
    if count != like.shape[0]:
        raise WriteError(f"{path}: got {count} pages, expected {like.shape[0]}")


def only_page(path: Path, pages: Iterable[Counts], like: ImageInfo, dtypes: tuple[str, ...]) -> Counts:
    """Return the one page of a format without stacks, refusing dtypes that it cannot hold."""
    if like.shape[0] != 1 or like.dtype.name not in dtypes:
        raise WriteError(
            f"{path}: this format holds one page of {' or '.join(dtypes)}, got {like.shape[0]} of {like.dtype}; "
            "write .tif instead"
        )
    (page,) = expected(path, pages, like)
    return page


def to_comment(metadata: Any) -> str:
    """Write metadata as the comment of a file that has no source to copy from; "" if there is none."""
    return json.dumps({_KEY: dict(metadata)}, default=str) if metadata else ""


def from_comment(text: str) -> dict[str, Any]:
    """Read metadata from a comment that `to_comment` wrote; any other comment gives none."""
    if not text.startswith('{"' + _KEY):
        return {}
    with suppress(ValueError, AttributeError):
        return dict(json.loads(text)[_KEY])
    return {}
