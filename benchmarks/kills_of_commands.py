"""Kill commands at random moments, run them again, and compare what they leave with an undisturbed run.

    python benchmarks/kills_of_commands.py --kills 200

Tiles, a stack and volumes in every format are restored, bursts merged, folds unfolded, lists handed over and reports
written. Files, the list of retakes and the decisions of the log must be the same, and no unfinished file may be left.
Exits with 1 if anything differs.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from refocal.eventlog.current import latest
from refocal.eventlog.log import LOG, read_log

REFOCAL = Path(sys.executable).with_name("refocal")
IDENTITY = ("--gate", "always", "--restorer", "unsharp")
COMMANDS: dict[str, tuple[str, ...]] = {
    "restore tiles": ("restore", "tiles", "-o", "{out}", "--restorer", "unsharp", "--no-report"),
    "restore a stack": ("restore", "stack.tif", "-o", "{out}", *IDENTITY, "--no-report"),
    "restore to OME-Zarr": ("restore", "stack.tif", "-o", "{out}/v.zarr", *IDENTITY, "--volume", "chunk=2x32x32"),
    "restore to precomputed": ("restore", "stack.tif", "-o", "{out}/v.precomputed", *IDENTITY),
    "restore to HDF5": ("restore", "stack.tif", "-o", "{out}/v.h5", *IDENTITY),
    "restore to MRC": ("restore", "stack.tif", "-o", "{out}/v.mrc", *IDENTITY),
    "unfold": ("unfold", "stack.tif", "-o", "{out}"),
    "burst": ("burst", "stack.tif", "-o", "{out}", "--restorer", "merge"),
    "degrade": ("degrade", "tiles", "-o", "{out}", "--degradation", "defocus:sigma_px=2"),
}
PLAIN = (".tif", ".mrc", ".png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    rng = random.Random(given.seed)
    print("| command | kills | runs that ended before | same |\n|---|---|---|---|")
    wrong = 0
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        draw(work)
        for name, command in COMMANDS.items():
            start = time.monotonic()
            run(work, command, "whole")
            length = time.monotonic() - start
            killed = early = bad = 0
            while killed + early < -(-given.kills // len(COMMANDS)):
                shutil.rmtree(work / "killed", ignore_errors=True)
                for _ in range(4):
                    done = run(work, command, "killed", rng.uniform(0.3, 1.0) * length)
                    killed, early = killed + (not done), early + done
                time.sleep(3)  # an unfinished chunk counts as orphaned then
                run(work, command, "killed")
                differ = differences(work / "whole", work / "killed")
                bad += bool(differ)
                if differ:
                    print(f"{name}: {differ[:5]}", file=sys.stderr)
            print(f"| {name} | {killed} | {early} | {'NO' if bad else 'yes'} |", flush=True)
            wrong += bad
            shutil.rmtree(work / "whole")
    sys.exit(bool(wrong))


def draw(work: Path) -> None:
    """Draw tiles, some of them hopeless, and a stack."""
    rng = np.random.default_rng(0)
    (work / "tiles").mkdir()
    stack = []
    for number in range(24):
        cells = 90 + 80.0 * (gaussian_filter(rng.standard_normal((192, 192)), 4) > 0)
        soft = gaussian_filter(cells, (0.3, 1.6, 6.0)[number % 3]) + rng.normal(0, 2, cells.shape)
        stack.append(np.clip(np.rint(soft), 0, 255).astype(np.uint8))
        tifffile.imwrite(work / "tiles" / f"t{number}.tif", stack[-1], metadata=None)
    tifffile.imwrite(work / "stack.tif", np.stack(stack[:12]), metadata=None, photometric="minisblack")


def run(work: Path, command: tuple[str, ...], out: str, seconds: float | None = None) -> bool:
    """Run a command, and kill it after some seconds; say whether it ended by itself."""
    (work / out).mkdir(exist_ok=True)
    words = [word.replace("{out}", out) for word in command]
    running = subprocess.Popen(
        [REFOCAL, *words, "--quiet"], cwd=work, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    try:
        _, said = running.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        running.send_signal(signal.SIGKILL)
        running.communicate()
        return False
    if running.returncode and "no such option" in said.lower():
        raise SystemExit(f"{words}: {said}")
    return True


def differences(one: Path, other: Path) -> list[str]:
    """Return the names of what differs between two outputs."""
    a, b = facts(one), facts(other)
    return sorted(name for name in a.keys() | b.keys() if a.get(name) != b.get(name))


def facts(out: Path) -> dict[str, object]:
    """Return what counts of an output: pixels, lists and decisions; unfinished files by their names."""
    found: dict[str, object] = {}
    for path in sorted(path for path in out.rglob("*") if path.is_file()):
        name = path.relative_to(out).as_posix()
        if path.name.endswith(".part"):
            found[name] = "unfinished"
        elif path.suffix == ".csv":
            found[name] = list(csv.reader(path.open()))
        elif path.name == LOG and path.parent == out:
            found[name] = {key: event.get("decision") for key, event in latest(read_log(path)).items()}
        elif path.suffix in PLAIN or ("refocal" not in name and path.suffix not in (".h5", ".html", ".jsonl")):
            found[name] = path.read_bytes() if path.suffix != ".json" else json.loads(path.read_text())
        elif path.suffix == ".h5":
            import h5py

            with h5py.File(path) as file:
                found[name] = file["volumes/raw"][...].tobytes()
    return found


if __name__ == "__main__":
    main()
