"""Whether links to the input can be made in an output folder."""

import os
from pathlib import Path

from refocal.core.atomic import link


def refusal(folder: Path, *, hard: bool) -> str | None:
    """Return why links of a kind cannot be made in a folder, None if they can; on Windows not everybody may."""
    file, made = (folder / f".refocal.{what}.{os.getpid()}.part" for what in ("file", "link"))
    try:
        file.write_bytes(b"")
        link(file, made, hard=hard)
    except (OSError, NotImplementedError) as error:
        return getattr(error, "strerror", None) or str(error)
    finally:
        for path in (made, file):
            path.unlink(missing_ok=True)
    return None
