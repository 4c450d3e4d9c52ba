"""What the log says of an output file, and whether that file is still there."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refocal.core.plain_files import open_plain
from refocal.eventlog.log import Event


def is_there(out: Path, event: Event) -> bool:
    """Say whether the output that an event names is in a folder, with the size that was logged."""
    target = out / str(event["output"])
    return target.is_file() and target.stat().st_size == event.get("output_bytes")


def output_facts(out: Path, name: str, *, hashed: bool = True) -> Mapping[str, Any]:
    """Return what the event of an output says of it: name, size, and SHA-256 where it is `hashed`."""
    target = out / name
    facts = {"output": name, "output_bytes": target.stat().st_size}
    if not hashed:
        return facts
    with open_plain(target) as file:
        return {**facts, "output_sha256": hashlib.file_digest(file, "sha256").hexdigest()}
