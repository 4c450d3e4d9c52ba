"""Files are written whole or not at all: under a hidden `.part` name first, synced, then renamed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path, tag: str = "") -> Iterator[Path]:
    """Yield the `.part` path to write; it becomes `path` when the block ends well and is removed when it does not.

    Parameters
    ----------
    path
        Final name. Its folder must exist; a file that is there is replaced in one step.
    tag
        Tells apart several processes that may write the same file at the same time.
    """
    part = path.with_name(f".{path.name}" + (f".{tag}" if tag else "") + ".part")
    try:
        yield part
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
