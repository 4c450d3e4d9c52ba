"""A run with its log: refuse the output of another job, log the first line, run, log the last.

The log is read once, before the run begins, and not held; the events of the run are added to its list of retakes. Where
another process has added to the same log, as shards may, it is read again for that list.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from refocal.core.errors import UsageError
from refocal.engine.loop import Journal, Summary
from refocal.eventlog.log import LOG, Event, Log, Retakes, job_sha256, read_log, retake_table, write_retakes
from refocal.eventlog.resume import Earlier


@dataclass(frozen=True, slots=True)
class Begun:
    """A run whose first line is in the log."""

    log: Journal
    job_sha256: str
    done: Mapping[str, Event]
    """What earlier runs of the same job settled, by key."""
    before: Sequence[Event]
    """What else they logged."""


def logged_run(
    out: Path,
    resolved: Mapping[str, Any],
    inputs: Sequence[Path],
    work: Callable[[Begun], Summary],
    *,
    overwrite: bool = False,
    replaced: Callable[[Sequence[Event]], object] | None = None,
    retakes: Path | None = None,
    alone: bool = True,
    facts: Mapping[str, Any] | None = None,
) -> Summary:
    """Run a job and log it.

    Parameters
    ----------
    out
        The output folder, which must exist; holds the log.
    resolved
        All that makes the job what it is; its SHA-256 decides what earlier runs are worth.
    inputs
        What is read, for the log.
    work
        Does the work.
    overwrite
        Accept an output that holds the work of another job.
    replaced
        With `overwrite`, called first with all events that the log holds.
    retakes
        Where the list of retakes goes; None writes none.
    alone
        Whether no other process may write to the same output at the same time, as shards do.
    facts
        What else the first line says.

    Raises
    ------
    UsageError
        If the output holds the work of another job, or the log cannot be written.
    """
    path, digest = out / LOG, job_sha256(resolved)
    with Log(path, alone=alone) as log:
        size = path.stat().st_size
        if overwrite and replaced is not None:
            replaced(list(read_log(path)))
        earlier = Earlier(path, digest)
        if not overwrite:
            _refuse_other_job(out, earlier.last_job, resolved, digest)
        listed = earlier.retakes
        with earlier.settled as settled:
            log.start(resolved, inputs=[str(Path(given).resolve()) for given in inputs], **(facts or {}))
            summary = work(Begun(_Noting(log, listed), digest, settled, earlier.aside))
        log.append({"event": "end", "counts": summary.counts, "seconds": summary.seconds, "pixels": summary.pixels})
        log.refuse_gone()
        only_ours = path.stat().st_size == size + log.written
    if retakes:
        write_retakes(listed.table() if only_ours else retake_table(read_log(path)), retakes)
    return summary


class _Noting:
    """A log that also keeps the list of retakes."""

    def __init__(self, log: Log, retakes: Retakes) -> None:
        self._log, self._retakes = log, retakes

    def append(self, event: Event, /) -> Event:
        stamped = self._log.append(event)
        self._retakes.add(stamped)
        return stamped


def _refuse_other_job(out: Path, last: Event | None, resolved: Mapping[str, Any], digest: str) -> None:
    """Refuse an output whose last job differs; say in what."""
    if last is None or last.get("job_sha256") == digest:
        return
    changed = differences(last["job"], resolved)
    raise UsageError(f"{out} holds the work of another job ({changed}); choose another output or pass --overwrite")


def differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Say in what a resolved job differs from an earlier one, e.g. "gate: sharpness -> always; batch: 1 -> 4"."""
    found = []
    for name in (name for name in now if before.get(name) != now[name]):
        a, b = before.get(name), now[name]
        deeper = isinstance(a, Mapping) and isinstance(b, Mapping) and "kind" not in b
        found.append(differences(a, b) if deeper else f"{name}: {_words(a)} -> {_words(b)}")  # type: ignore[arg-type]
    return "; ".join(found)


def _words(value: Any) -> str:
    """Return a value as it is written on the command line."""
    if isinstance(value, Mapping) and "kind" in value:
        options = ",".join(f"{name}={_words(option)}" for name, option in value.get("options", {}).items())
        return f"{value['kind']}:{options}" if options else str(value["kind"])
    if isinstance(value, list | tuple):
        return ",".join(map(_words, value))
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
