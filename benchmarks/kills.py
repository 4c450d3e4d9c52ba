"""Kill a watch again and again while a microscope writes, and compare what it leaves with an undisturbed run.

    python benchmarks/kills.py --kills 100

A replay writes an acquisition; beside it a watch is started, killed (SIGKILL) at a random moment and started again.
The last one runs until it is idle, and with it an undisturbed watch goes through the same files. The two outputs must
be the same: no tile lost, no line doubled, every file the same bytes. Exits with 1 if anything differs.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np

from refocal.engine.job import Job, Part
from refocal.engine.watch import Settings, Watch
from refocal.eventlog.current import latest
from refocal.eventlog.log import read_log
from refocal.microscope.simulate import Plan, Shares, replay

SETTINGS = {"poll": 0.02, "settle": 0.3, "beat_seconds": 0.5}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--kind", default="multisem", choices=["multisem", "sbemimage", "folder"])
    parser.add_argument("--size", type=int, default=128, help="edge of a tile, pixels")
    parser.add_argument("--tiles", type=int, default=400)
    parser.add_argument("--longest", type=float, default=0.8, help="seconds until a kill, at most")
    parser.add_argument("--restorer", default="unsharp", help="kind:option=value,...; empty for gran-em")
    parser.add_argument("--carry", default="symlink")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="where to work; a temporary folder otherwise")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        result = run(Path(folder), options)
    print(json.dumps(result))
    sys.exit(1 if result["problems"] else 0)


def run(folder: Path, options: argparse.Namespace) -> dict[str, object]:
    raw, killed, whole = folder / "raw", folder / "killed", folder / "whole"
    rng = np.random.default_rng(options.seed)
    speed = options.tiles / max(options.kills * options.longest * 0.7, 1.0)
    plan = Plan(
        sections=4, mfovs=max(1, options.tiles // 28), beams=7, tiles=max(1, options.tiles // 4), variants=2,
        height=options.size, width=options.size + 16, tiles_per_second=speed, seed=options.seed, retakes=1,
        shares=Shares(soft=0.4, slow=0.2, doubled=0.2, rejected=0.2),
    )  # fmt: skip
    writer = fork(lambda: replay(options.kind, raw, plan, truth=folder / "truth.jsonl"))
    while not raw.is_dir() or not any(raw.rglob("*.*")):
        time.sleep(0.01)
    job = Job(restorer=Part.parse(options.restorer) if options.restorer else None, carry=options.carry)
    layout = options.kind
    died = 0
    while died < options.kills:
        child = fork(lambda: watch(raw, killed, job, Settings(layout=layout, **SETTINGS)))
        time.sleep(float(rng.uniform(0.0, options.longest)))
        os.kill(child, signal.SIGKILL)
        died += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    finished = os.waitpid(writer, os.WNOHANG)[0]
    if not finished:
        os.waitpid(writer, 0)
    idle = Settings(layout=layout, idle_seconds=6.0, **SETTINGS)
    for child in [fork(lambda out=out: watch(raw, out, job, idle)) for out in (killed, whole)]:
        os.waitpid(child, 0)
    return {
        "kills": died,
        "tiles": len(latest(read_log(whole / "log.jsonl"))),
        "restored": sum(e["decision"] == "restored" for e in latest(read_log(whole / "log.jsonl")).values()),
        "writing_while_killed": not finished,
        "problems": compare(killed, whole),
    }


def watch(raw: Path, out: Path, job: Job, settings: Settings) -> None:
    with Watch(raw, out, job, settings) as running:
        running.wait()


def fork(work: Callable[[], object]) -> int:
    """Run something in a child process and return its number; a fork starts in milliseconds."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        print(f"child: {type(error).__name__}: {error}", file=sys.stderr)
    finally:
        os._exit(code)


def compare(killed: Path, whole: Path) -> list[str]:
    problems = []
    one, other = (latest(read_log(out / "log.jsonl")) for out in (killed, whole))
    problems += [f"lost: {key}" for key in other.keys() - one.keys()]
    problems += [f"invented: {key}" for key in one.keys() - other.keys()]
    for key in one.keys() & other.keys():
        for name in ("decision", "verdict", "reason", "sigma_px", "output", "output_sha256", "size", "mtime_ns"):
            if one[key].get(name) != other[key].get(name):
                problems.append(f"{key}: {name} is {one[key].get(name)}, expected {other[key].get(name)}")
    lines = Counter(
        (event["key"], event["size"], event["mtime_ns"], event["decision"])
        for event in read_log(killed / "log.jsonl")
        if event["event"] == "tile"
    )
    problems += [f"doubled: {line}" for line, count in lines.items() if count > 1]
    files = [
        {p.relative_to(out).as_posix(): p for p in out.rglob("*") if p.is_file() and ".refocal" not in p.parts}
        for out in (killed, whole)
    ]
    own = {"log.jsonl"}
    for name in (files[0].keys() | files[1].keys()) - own:
        here, there = files[0].get(name), files[1].get(name)
        if here is None or there is None:
            if not Path(name).name.endswith(".part"):
                problems.append(f"{'missing' if here is None else 'superfluous'}: {name}")
        elif name == "retake.csv":
            if sorted(here.read_text().splitlines()) != sorted(there.read_text().splitlines()):
                problems.append("the retake lists differ")
        elif here.is_symlink() != there.is_symlink() or here.read_bytes() != there.read_bytes():
            problems.append(f"differs: {name}")
    return problems


if __name__ == "__main__":
    main()
