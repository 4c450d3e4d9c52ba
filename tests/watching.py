"""What tests of a watch share: how to wait for what it says, and a restorer that waits to be let."""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from refocal.core.values import Reach, Restored
from refocal.engine.job import Job, Part
from refocal.engine.watch import Settings, Watch
from refocal.eventlog.current import latest
from refocal.eventlog.log import read_log

UNSHARP = Job(restorer=Part(kind="unsharp"), carry="symlink")
QUICK = Settings(poll=0.03, settle=0.2, beat_seconds=0.3)
SECONDS = 60.0

Start = Callable[..., Watch]


def until(true: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, what or "waited too long"
        time.sleep(0.01)
    return found


def events(out: Path, kind: str = "tile") -> list[dict[str, Any]]:
    return [event for event in read_log(out / "log.jsonl") if event["event"] == kind]


def decisions(out: Path) -> dict[str, str]:
    return {key: event["decision"] for key, event in latest(read_log(out / "log.jsonl")).items()}


class Gated:
    """Restores nothing until it is let, then inverts; keeps the pixel sizes that it was given."""

    reach = Reach()

    def __init__(self) -> None:
        self.let, self.began = threading.Event(), threading.Event()
        self.pixel_nm: list[float | None] = []

    def __call__(self, batch: Any, /) -> list[Restored]:
        self.began.set()
        assert self.let.wait(SECONDS)
        self.pixel_nm += [frames.pixel_nm for frames in batch]
        return [Restored(255 - frames.image, contrast=frames.contrast) for frames in batch]
