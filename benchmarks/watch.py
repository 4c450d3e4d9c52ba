"""A watch beside a replayed multi-beam microscope: is every tile graded in time, and what is restored meanwhile?

    python benchmarks/watch.py --minutes 10                        # 25.4 tiles/s of 8.5 MB BMP in shared memory
    python benchmarks/watch.py --minutes 0.2 --size 782x681 --speed 10
    python benchmarks/watch.py --minutes 2 --speed 4 --soft 0.1 --model student-em   # what two cores restore in time

The acquisition is written by another process. Old sections are deleted by it as the disk fills (`--keep`), as a lab's
transfer does, so that 130 GB pass through a few. Latency is measured twice: from the moment the writer closed a file
(its time of change, same clock) to the line in the log, and as the watch itself says (`latency_s`, from the first poll
that saw the file as it is).
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from datetime import datetime
from pathlib import Path

import numpy as np

from refocal.engine.job import Job, Part
from refocal.engine.watch import Settings, Watch
from refocal.eventlog.current import latest
from refocal.eventlog.log import Event, read_log

REPLAY = Path(sys.executable).with_name("refocal")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--speed", type=float, default=25.4, help="tiles per second")
    parser.add_argument("--size", default="3128x2724")
    parser.add_argument("--keep", type=float, default=2.0, help="GB of decided raw tiles that stay")
    parser.add_argument("--soft", type=float, default=0.08, help="share; they stay until they are restored")
    parser.add_argument("--restorer", default="", help="kind:option=value,...; empty for the model")
    parser.add_argument("--model", default="gran-em")
    parser.add_argument("--no-restore", action="store_true")
    parser.add_argument("--folder", type=Path, default=Path("/dev/shm"))
    parser.add_argument("--drain", type=float, default=0.0, help="minutes to go on restoring afterwards")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(json.dumps(measure(Path(folder), options), indent=1))


def measure(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    raw, out = folder / "raw", folder / "out"
    mfovs, beams = 10, 61
    sections = max(1, round(options.minutes * 60 * options.speed / (mfovs * beams)))
    raw.mkdir()
    beats: list[Event] = []
    closed: dict[str, float] = {}
    late: list[float] = []
    sweeper = Sweeper(raw, out, options.keep)
    done = threading.Event()

    def hear(event: Event) -> None:
        if event["event"] == "beat":
            beats.append(event)
        if event["event"] == "tile" and event["key"] not in closed:
            closed[event["key"]] = event["mtime_ns"] / 1e9
            late.append(datetime.fromisoformat(str(event["time"])).timestamp() - event["mtime_ns"] / 1e9)
        if event["event"] == "tile" and event["decision"] != "queued":
            sweeper.decided(event)

    job = Job(model=options.model, carry="symlink", restorer=Part.parse(options.restorer) if options.restorer else None)
    settings = Settings(layout="multisem", restores=not options.no_restore)
    with Watch(raw, out, job, settings, on_event=hear) as running:
        writer = subprocess.Popen([
            REPLAY, "replay", "multisem", raw, "--plan", f"sections={sections},mfovs={mfovs}",
            "--size", options.size,
            "--tiles-per-second", str(options.speed), "--truth", folder / "truth.jsonl", "--json",
            "--share", f"soft={options.soft}",
        ], stdout=subprocess.PIPE)  # fmt: skip
        played = json.loads(writer.communicate()[0])
        for _ in range(600):
            if len(closed) >= played["tiles"]:
                break
            time.sleep(0.1)
        counts = dict(running.state()["counts"])
        if options.drain:
            done.wait(options.drain * 60)
    final = latest(read_log(out / "log.jsonl")).values()
    own = [event["latency_s"] for event in final if event.get("latency_s") is not None]
    memory = [beat["rss_bytes"] / 1e6 for beat in beats if beat["rss_bytes"]] or [0.0]
    half = memory[len(memory) // 2 :]
    return {
        "written": played, "graded": len(closed), "missed": played["tiles"] - len(closed), "then": counts,
        "at the end": {d: sum(e["decision"] == d for e in final) for d in {e["decision"] for e in final}},
        "seconds from closed file to log line": quantiles(late), "seconds by the watch": quantiles(own),
        "most tiles behind": max((beat["lag_tiles"] for beat in beats), default=0),
        "memory MB": {"first": memory[0], "middle": half[0], "last": memory[-1], "most": max(memory)},
        "cores": os.cpu_count(), "load": os.getloadavg(),
    }  # fmt: skip


class Sweeper:
    """Takes away the oldest tiles that are decided and not queued, as a transfer to a bigger disk would."""

    def __init__(self, raw: Path, out: Path, keep_gb: float) -> None:
        self._raw, self._out, self._keep = raw, out, keep_gb * 1e9
        self._bytes, self._names = 0.0, []

    def decided(self, event: Event) -> None:
        self._bytes += event["size"]
        self._names.append((event["key"], event["size"]))
        while self._bytes > self._keep:
            name, size = self._names.pop(0)
            self._bytes -= size
            (self._raw / name).unlink(missing_ok=True)
            (self._out / name).unlink(missing_ok=True)


def quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {name: round(float(np.quantile(values, q)), 3) for name, q in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))}


if __name__ == "__main__":
    main()
