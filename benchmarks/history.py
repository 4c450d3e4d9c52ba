"""A watch on a million tiles of history: how long it takes to start, what it remembers, what a poll costs.

    python benchmarks/history.py --tiles 1000000

Empty files stand for the tiles: a watch that goes on never opens what its log has decided. Sections are closed by the
layout (as a MultiSEM's are) or not (`--open`: any tree).
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from refocal.core.layout import FolderStatus
from refocal.engine.watch.heartbeat import resident_bytes
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.state import WatchState
from refocal.eventlog.log import read_log
from refocal.parts.layouts.folder import Folder

EVENT = {
    "time": "2026-01-05T08:00:00.000+00:00", "job_sha256": "0" * 64, "event": "tile", "page": 0, "verdict": "keep",
    "decision": "kept", "reason": "blur 0.41 px, noise 3.1 counts: below 1 px", "sigma_px": 0.41, "noise": 3.1,
    "anisotropy": 0.1, "angle_deg": 12.0, "expected": None, "sigma_nm": 1.64, "pixel_nm": 4.0, "height": 2724,
    "width": 3128, "mode": "uint8", "seconds": 0.03, "output_sha256": None, "clipped": None, "error": None,
    "latency_s": 0.4, "region": 1, "grid": None, "stage_x_nm": 1.0, "stage_y_nm": 2.0,
}  # fmt: skip


class Closing(Folder):
    """Any tree, in which all but the last section are closed."""

    last = ""

    def known(self, root: Path, folder: str) -> FolderStatus:
        return FolderStatus(closed=bool(folder) and folder.split("/")[0] != self.last)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=1_000_000)
    parser.add_argument("--open", action="store_true", help="no section is ever closed")
    parser.add_argument("--polls", type=int, default=200)
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(measure(Path(folder), options), indent=1))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    raw, log = folder / "raw", folder / "log.jsonl"
    layout = Folder() if options.open else Closing()
    Closing.last = write(raw, log, options.tiles)
    before = resident_bytes() or 0
    ledger = WatchState()
    start = time.perf_counter()
    lines = sum(1 for _ in ledger.read(read_log(log)))
    read_seconds = time.perf_counter() - start
    after_log = resident_bytes() or 0
    scanner = Scanner(raw, layout, ledger)
    start, polls = time.perf_counter(), 0
    while not scanner.swept or scanner.touched < options.tiles:
        assert not list(scanner.poll()), "nothing is new"
        polls += 1
    sweep_seconds = time.perf_counter() - start
    end = time.monotonic() + 8  # the newest folders are listed until their times of change are old enough
    while time.monotonic() < end:
        list(scanner.poll())
        time.sleep(0.05)
    touched, start = scanner.touched, time.perf_counter()
    for _ in range(options.polls):
        list(scanner.poll())
    seconds = (time.perf_counter() - start) / options.polls
    return {
        "tiles": options.tiles, "log lines": lines, "log MB": round(log.stat().st_size / 1e6),
        "seconds to read the log": round(read_seconds, 1),
        "seconds and polls to look at everything once": [round(sweep_seconds, 1), polls],
        "memory MB": {
            "before": before >> 20, "with the log": after_log >> 20, "in the end": (resident_bytes() or 0) >> 20
        },
        "per poll": {"entries": (scanner.touched - touched) / options.polls, "ms": round(1e3 * seconds, 3)},
        "load": os.getloadavg(),
    }  # fmt: skip


def write(raw: Path, log: Path, tiles: int) -> str:
    """Write sections of 50 mFoVs with 61 tiles, and the log of a watch that has graded them; return the last one."""
    name = ""
    with open(log, "w") as lines:
        for i in range(tiles):
            section, mfov, beam = i // 3050, i // 61 % 50, i % 61
            folder = f"{section:03d}_S{section}R1/{mfov:06d}"
            name = f"{section:03d}_{mfov:06d}_{beam:03d}_2026-01-05T{i:013d}.bmp"
            if beam == 0:
                (raw / folder).mkdir(parents=True)
            path = raw / folder / name
            path.touch()
            found = path.stat()
            place = {"section": f"S{section}R1", "tile": f"m{mfov:06d}_b{beam:03d}", "field": mfov, "beam": beam}
            key = f"{folder}/{name}"
            facts = {"key": key, "path": key, "output": key, "size": 0, "mtime_ns": found.st_mtime_ns}
            lines.write(json.dumps({**EVENT, **place, **facts, "taken": f"{i:013d}"}) + "\n")
    return folder.split("/")[0]


if __name__ == "__main__":
    main()
