"""How long resuming, the report and the hand-off take under a long log, and how much memory.

    python benchmarks/logs.py --lines 200000

Each is measured in a process of its own: seconds by the clock, and the largest resident size less that of Python with
the same modules.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

WAYS = {
    "resume": "from refocal.eventlog.resume import Earlier\nwork = lambda: Earlier(out / 'log.jsonl', 'a' * 64)",
    "report": "from refocal.ui.report import write_report\n"
    "work = lambda: write_report(out / 'log.jsonl', out / 'report.html')",
    "hand-off": "from refocal.microscope.handoff import HandoffRequest, hand_off\n"
    "work = lambda: hand_off(out, HandoffRequest())",
}
MEASURE = """
import sys, time, resource
from pathlib import Path
out = Path(sys.argv[1])
{way}
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
before, start = peak(), time.perf_counter()
work()
print(time.perf_counter() - start, peak() - before, peak())
"""


def write_log(path: Path, lines: int) -> None:
    """Write a run over a section of tiles for every thousand lines; one tile in fifty is to be taken again."""
    stamp = {"time": "2026-01-01T00:00:00.000+00:00", "job_sha256": "a" * 64}
    with path.open("w") as file:
        file.write(json.dumps({**stamp, "event": "job", "job": {"model": "x"}}) + "\n")
        for n in range(lines):
            retake = n % 50 == 0
            key = f"section_{n // 1000:04d}/tile_{n % 1000:04d}.tif"
            event = {
                **stamp, "event": "tile", "key": key, "path": key, "page": 0, "verdict": "retake" if retake else "keep",
                "decision": "retake" if retake else "kept", "reason": f"blur {n % 300 / 100:.2f} px, noise 4.1 counts",
                "sigma_px": n % 300 / 100, "noise": 4.1, "anisotropy": 0.1, "angle_deg": 12.0, "expected": None,
                "sigma_nm": 4.0, "pixel_nm": 4.0, "height": 2048, "width": 2048, "mode": "uint8", "seconds": 0.1,
                "output": key, "output_sha256": "b" * 64, "clipped": 0.0, "error": None,
                "stage_x_nm": 8192.0 * (n % 40), "stage_y_nm": 8192.0 * (n % 1000 // 40),
            }  # fmt: skip
            file.write(json.dumps(event) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=200_000)
    lines = parser.parse_args().lines
    with tempfile.TemporaryDirectory() as folder:
        write_log(Path(folder) / "log.jsonl", lines)
        print(f"| {lines:,} lines | seconds | more MB | MB in all |\n|---|---|---|---|")
        for name, way in WAYS.items():
            said = subprocess.run(
                [sys.executable, "-c", MEASURE.format(way=way), folder], capture_output=True, text=True, check=True
            )
            seconds, more, peak = map(float, said.stdout.split()[-3:])
            print(f"| {name} | {seconds:.1f} | {more:.0f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
