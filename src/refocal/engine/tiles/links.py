"""Links to the input in an output folder, where the system makes them."""

import os
from pathlib import Path


def link(path: Path, target: Path, *, hard: bool) -> None:
    """Put a link to a file, a hard one or one by name, in place of what is at `target`."""
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    if hard:
        os.link(path, part)
    else:
        part.symlink_to(path.resolve())
    os.replace(part, target)
    part.unlink(missing_ok=True)  # renaming one hard link of a file onto another leaves both


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
