"""An operator's word: `override` events that other programs append to the log of a running watch."""

import json
import mmap
from collections.abc import Callable, Mapping
from pathlib import Path

from refocal.core.values import Verdict
from refocal.engine.watch.restore_queue import RestoreQueue
from refocal.engine.watch.state import WatchState, is_live
from refocal.eventlog.log import Event

_VERDICTS: Mapping[str, Verdict] = {"keep": "keep", "restore": "restore", "retake": "retake"}


class Overrides:
    """Follows a log, and has what an operator says done.

    A tile that is to be kept or retaken goes to the head of the backlog, which carries it over; one that is to be
    restored is queued. The tile event that answers has the verdict in `override`.

    Parameters
    ----------
    log
        The log file.
    backlog
        Does it.
    ledger
        Counts it.
    say
        Appends to the log.
    offset
        Bytes of the log that were read already.
    """

    def __init__(
        self, log: Path, backlog: RestoreQueue, ledger: WatchState, say: Callable[[Event], None], offset: int
    ) -> None:
        self._log, self._backlog, self._ledger, self._say, self._offset = log, backlog, ledger, say, offset

    def follow(self) -> None:
        """Act on the whole lines that were added since the last call."""
        with self._log.open("rb") as file:
            file.seek(self._offset)
            lines = file.read()
        lines = lines[: lines.rfind(b"\n") + 1]
        self._offset += len(lines)
        for line in lines.splitlines():
            if b"override" in line:
                self.act(_event(line))

    def act(self, event: Event | None) -> None:
        """Act on one override; one about a tile that was never decided, or with no verdict, is passed over."""
        verdict = _VERDICTS.get(str(event.get("verdict"))) if event and event["event"] == "override" else None
        if event is None or verdict is None:
            return
        before = last_event(self._log, str(event.get("key")))
        if before is None or not is_live(before):
            return
        self._ledger.recall(before)
        reason = ": ".join(str(word) for word in (event.get("by") or "an operator", event.get("note")) if word)
        if verdict == "restore":
            own = {name: value for name, value in before.items() if name not in ("time", "job_sha256")}
            self._say({**own, "decision": "queued", "verdict": verdict, "reason": reason, "override": verdict})
        else:
            self._backlog.force(before, verdict, reason)


def last_event(log: Path, key: str) -> Event | None:
    """Return the last tile event of a key, searching the log from its end."""
    needle = f'"key": {json.dumps(key)}'.encode()
    with log.open("rb") as file:
        if not file.seek(0, 2):
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            end = len(text)
            while (found := text.rfind(needle, 0, end)) >= 0:
                start = text.rfind(b"\n", 0, found) + 1
                stop = text.find(b"\n", found)
                event = _event(text[start : stop if stop >= 0 else len(text)])
                if event is not None and event["event"] == "tile" and event.get("key") == key:
                    return event
                end = found
    return None


def _event(line: bytes) -> Event | None:
    try:
        event = json.loads(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None
