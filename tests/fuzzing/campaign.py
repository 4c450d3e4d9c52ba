"""Damaged inputs through one reader: each is read, or refused by an error of refocal's own in one line, soon.

An input is its seed: the same seed damages the same sound input in the same way. An alarm ends an input after ten
seconds, a watchdog ends a process whose reader is stuck in a library, and memory is measured as the peak of the
process. `python -m fuzzing.campaign READER FIRST COUNT SECONDS FILE` is one child process; it writes its row to FILE.
"""

import contextlib
import faulthandler
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from fuzzing.mutate import damage
from fuzzing.readers import READERS, Reader
from refocal.core.errors import RefocalError

ALARM_SECONDS = 10
MOST_BYTES = 1 << 30
"""How much the peak of a process may grow over one input."""
ADDRESSES = 12 << 30
"""Address space of a child process; libraries of networks reserve most of it."""


class _Alarm(BaseException):
    """Not an Exception, so that no reader takes it for a damaged file."""


@dataclass
class Row:
    """What became of the inputs of one reader."""

    reader: str
    inputs: int = 0
    ok: int = 0
    refused: int = 0
    slowest_s: float = 0.0
    peak_mb: float = 0.0
    """Growth of the peak of memory, over that of a sound input."""
    uncaught: dict[str, list[int]] = field(default_factory=dict)
    """What went wrong and where, and the seeds that did it."""

    @property
    def wrong(self) -> int:
        """Inputs with anything but pixels or an error in one line."""
        return sum(len(seeds) for seeds in self.uncaught.values())

    def add(self, other: "Row") -> None:
        """Take in the row of another process."""
        for name in ("inputs", "ok", "refused"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.slowest_s, self.peak_mb = max(self.slowest_s, other.slowest_s), max(self.peak_mb, other.peak_mb)
        for what, seeds in other.uncaught.items():
            self.uncaught.setdefault(what, []).extend(seeds)


def campaign(name: str, first: int, count: int, seconds: float, progress: Path | None = None) -> Row:
    """Give `count` damaged inputs to a reader, seeds from `first` on, or as many as there is time for."""
    row = Row(name)
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        reader = READERS[name]
        sound = Path(scratch) / "sound"
        sound.mkdir()
        reader.sound(sound)
        for variant in sorted(sound.iterdir()):  # a sound input is read, and what it takes is not counted
            reader.read(_fresh(variant, Path(scratch)))
        until = time.monotonic() + seconds
        for seed in range(first, first + count):
            if time.monotonic() > until:
                break
            if progress is not None:
                progress.write_text(json.dumps([seed, asdict(row)]))
            _one(reader, sound, Path(scratch), seed, row)
    return row


def damaged_input(reader: Reader, sound: Path, scratch: Path, name: str, seed: int) -> Path:
    """Return a folder with the input of a seed."""
    rng = random.Random(f"{name} {seed}")
    work = _fresh(rng.choice(sorted(sound.iterdir())), scratch)
    (reader.damage or damage)(rng, work)
    return work


def _one(reader: Reader, sound: Path, scratch: Path, seed: int, row: Row) -> None:
    work = damaged_input(reader, sound, scratch, row.reader, seed)
    before, began = _peak(), time.monotonic()
    wrong = None
    try:
        with _alarm():
            reader.read(work)
        row.ok += 1
    except RefocalError as error:
        if "\n" in str(error) or len(str(error)) > 2000:
            wrong = f"an error that is not one line: {type(error).__name__} {str(error)[:80]!r}"
        row.refused += wrong is None
    except _Alarm:
        wrong = f"more than {ALARM_SECONDS} s"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        place = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in place if "/refocal/" in frame.filename] or place
        wrong = f"{type(error).__name__}: {str(error)[:90]!r} at {Path(own[-1].filename).name}:{own[-1].lineno}"
    grown = _peak() - before
    if wrong is None and grown > MOST_BYTES:
        wrong = f"{grown >> 20} MB of memory"
    row.inputs += 1
    row.slowest_s = max(row.slowest_s, time.monotonic() - began)
    row.peak_mb = max(row.peak_mb, grown / 2**20)
    if wrong is not None:
        row.uncaught.setdefault(wrong, []).append(seed)


def child(name: str, first: int, count: int, seconds: float) -> Row:
    """Run a campaign in processes of their own: one that dies costs its input, and the next goes on behind it."""
    row, until = Row(name), time.monotonic() + seconds
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])}
    while row.inputs < count and (left := until - time.monotonic()) > 0:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            result, progress = Path(folder) / "row.json", Path(folder) / "seed"
            command = [
                sys.executable,
                "-m",
                "fuzzing.campaign",
                name,
                first,
                count - row.inputs,
                left,
                result,
                progress,
            ]
            done = subprocess.run([*map(str, command)], env=env, capture_output=True, text=True, check=False)
            if result.exists():
                row.add(Row(**json.loads(result.read_text())))
                break
            if not progress.exists():
                raise RuntimeError(f"{name}: {done.stderr[-2000:]}")
            seed, before = json.loads(progress.read_text())
            last = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            row.add(Row(**before))
            row.add(Row(name, inputs=1, uncaught={f"the process ended: {last[0][:120]}": [seed]}))
            first = seed + 1
    return row


def _main() -> None:
    name, first, count, seconds, result, progress = sys.argv[1:]
    resource.setrlimit(resource.RLIMIT_AS, (ADDRESSES, ADDRESSES))
    row = campaign(name, int(first), int(count), float(seconds), Path(progress))
    Path(result).write_text(json.dumps(asdict(row)))


def _fresh(variant: Path, scratch: Path) -> Path:
    work = scratch / "work"
    shutil.rmtree(work, ignore_errors=True)
    shutil.copytree(variant, work)
    return work


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


@contextlib.contextmanager
def _alarm() -> Iterator[None]:
    def ring(*_: object) -> None:
        raise _Alarm

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, ALARM_SECONDS)
    if __name__ == "__main__":
        faulthandler.dump_traceback_later(3 * ALARM_SECONDS, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if __name__ == "__main__":
            faulthandler.cancel_dump_traceback_later()


def tally(rows: list[Row]) -> str:
    """Return a table of campaigns, and below it what went wrong with the first seeds that did it."""
    lines = [f"{'reader':28}{'inputs':>8}{'ok':>8}{'refused':>9}{'uncaught':>9}{'slowest s':>11}{'peak MB':>9}"]
    lines += [
        f"{r.reader:28}{r.inputs:8}{r.ok:8}{r.refused:9}{r.wrong:9}{r.slowest_s:11.2f}{r.peak_mb:9.0f}" for r in rows
    ]
    total = Counter({name: sum(getattr(r, name) for r in rows) for name in ("inputs", "ok", "refused", "wrong")})
    lines.append(f"{'all':28}{total['inputs']:8}{total['ok']:8}{total['refused']:9}{total['wrong']:9}")
    for row in rows:
        for what, seeds in sorted(row.uncaught.items(), key=lambda item: -len(item[1])):
            lines.append(f"{row.reader}: {len(seeds)} x {what}; seeds {', '.join(map(str, seeds[:5]))}")
    return "\n".join(lines)


if __name__ == "__main__":
    _main()
