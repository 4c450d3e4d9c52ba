"""The operator's verdict: checked, then appended to the log as one line."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refocal.core.errors import BadOptionError
from refocal.eventlog.current import VERDICTS
from refocal.eventlog.log import Log

_LONGEST = {"by": 80, "note": 2000}


def checked(asked: object) -> dict[str, str]:
    """Return `key`, `verdict`, `note` and `by` of a request.

    Raises
    ------
    BadOptionError
        If something is missing or wrong.
    """
    if not isinstance(asked, Mapping):
        raise BadOptionError("expected a JSON object with key, verdict, by and note")
    given = {name: asked.get(name, "") for name in ("key", "verdict", "by", "note")}
    if not all(isinstance(value, str) for value in given.values()):
        raise BadOptionError("key, verdict, by and note are texts")
    said = {name: value if name == "key" else value.strip() for name, value in given.items()}
    if said["verdict"] not in VERDICTS:
        raise BadOptionError(f"verdict is one of {', '.join(VERDICTS)}")
    if not said["by"]:
        raise BadOptionError("say who you are: by is empty")
    for name, longest in _LONGEST.items():
        if len(said[name]) > longest:
            raise BadOptionError(f"{name} has {len(said[name])} letters; expected at most {longest}")
    return said


def append(log: Path, tile: Mapping[str, Any], said: Mapping[str, str]) -> None:
    """Append an override of a tile, as the index knows it, to the log.

    Raises
    ------
    UsageError, WriteError
        If the log cannot be written.
    """
    event = tile["event"]
    with Log(log) as file:
        file.append({
            "event": "override",
            "job_sha256": event.get("job_sha256"),
            "key": event.get("key", tile["key"]),  # as the log writes it, with bytes that no text can hold
            "section": tile["section_name"],
            "verdict": said["verdict"],
            "note": said["note"],
            "by": said["by"],
        })  # fmt: skip
