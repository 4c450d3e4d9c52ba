"""Tools that users would pick instead, on the same tiles in the same run: quality, speed, memory, size.

    python benchmarks/peers.py epfl=eval/sem/epfl*.png temca=eval/tem/temca_test*.png --limit 4 --crop 1024
    python benchmarks/peers.py ... --train 'train/sem/*.png' --careamics-python other/bin/python   # CARE as well
    python benchmarks/peers.py ... --spandrel weights.pth                                        # and one of these

Every tool runs in a process of its own on the same 8-bit tiles, one after the other, with as many threads as
OMP_NUM_THREADS says. Filters are told the true width of the blur, which nobody knows in practice. CARE is trained by
CAREamics on pairs that are degraded as the tested tiles are, for as many seconds as the first model was trained
(--seconds for other). What cannot be run is named below the table, with the reason.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from refocal.core import registry
from refocal.core.values import Counts, Example
from refocal.engine.job import Part
from refocal.learn.evaluate.scores import Truth, degrade, read_truths
from refocal.models import header

PEER = Path(__file__).with_name("_peer.py")
METRICS = ("psnr", "ssim")
PATCH_PX = 256


def main() -> None:
    """Run all tools and print the tables."""
    asked = _arguments()
    spoil = Part.parse(asked.degradation).make("degradations")
    truths = [t for t in read_truths(asked.inputs, asked.crop, asked.limit) if t.counts.dtype == np.uint8]
    examples = [degrade(truth, spoil, 0) for truth in truths]
    missing = []
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        np.savez(folder / "given.npz", **{f"t{i}": e.frames.image for i, e in enumerate(examples)})
        tools = {
            **{Path(m).stem: (sys.executable, "refocal", {"model": m}) for m in asked.model},
            "scikit-image Richardson-Lucy": (sys.executable, "richardson_lucy", {"sigma_px": asked.sigma}),
            "scikit-image unsupervised Wiener": (sys.executable, "unsupervised_wiener", {"sigma_px": asked.sigma}),
            "OpenCV unsharp": (sys.executable, "opencv_unsharp", {"sigma_px": asked.sigma}),
            "OpenCV non-local means, unsharp": (sys.executable, "opencv_nlm", {"sigma_px": asked.sigma}),
        }
        if asked.spandrel:
            tools["spandrel"] = (sys.executable, "spandrel", {"weights": str(asked.spandrel)})
        else:
            missing.append(
                "spandrel: no weights were given (--spandrel); none for electron micrographs are known to us"
            )
        if asked.train and asked.careamics_python:
            words = _train_care(asked, spoil, folder)
            tools[f"CAREamics CARE, {words}"] = (asked.careamics_python, "careamics", {"folder": str(folder / "care")})
        else:
            missing.append("CAREamics: needs --train and --careamics-python")
        rows, facts = {"nothing": _scores(examples, [e.frames.image for e in examples])}, {}
        for name, (python, tool, options) in tools.items():
            print(f"running {name}", file=sys.stderr, flush=True)
            made = _run(python, tool, folder / "given.npz", folder / f"{tool}.npz", options)
            if isinstance(made, str):
                missing.append(f"{name}: {made}")
                continue
            facts[name] = made
            with np.load(folder / f"{tool}.npz") as done:
                rows[name] = _scores(examples, [done[f"t{i}"] for i in range(len(examples))])
    _print_quality(truths, rows)
    _print_costs(facts, [e.truth.size for e in examples])
    print("".join(f"\nNot run: {line}" for line in missing))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("inputs", nargs="+", help="sharp tiles, [group=]path")
    parser.add_argument("--model", nargs="+", default=["gran-em"])
    parser.add_argument("--degradation", default="gran_protocol")
    parser.add_argument("--sigma", type=float, default=1.6, help="width of the blur that filters are told, px")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--crop", type=int)
    parser.add_argument("--train", nargs="*", help="sharp tiles to train CARE on, [group=]path")
    parser.add_argument("--train-limit", type=int, help="at most so many tiles of each --train")
    parser.add_argument("--seconds", type=float, help="of training CARE; as long as the model was trained by default")
    parser.add_argument("--careamics-python", help="interpreter that has CAREamics")
    parser.add_argument("--spandrel", type=Path, help="weights of a network that spandrel knows")
    return parser.parse_args()


def _train_care(asked: argparse.Namespace, spoil: object, folder: Path) -> str:
    """Train CARE and return how, in words; what goes wrong is told when it is to restore."""
    seconds = asked.seconds or header.read(header.find(asked.model[0])).training.seconds
    pairs = list(_pairs(read_truths(asked.train, None, asked.train_limit), spoil))
    seen, truth = (np.stack([pair[i] for pair in pairs]) for i in (0, 1))
    np.savez(folder / "pairs.npz", seen=seen, truth=truth)
    print(f"training CARE on {len(pairs)} pairs for {seconds:g} s", file=sys.stderr, flush=True)
    _run(asked.careamics_python, "train_careamics", folder / "pairs.npz", folder / "care", {"seconds": seconds})
    try:
        trained = json.loads((folder / "care" / "trained.json").read_text())
    except OSError:
        return "not trained"
    return f"{trained['steps']} steps in {trained['seconds']:.0f} s"


def _pairs(truths: Iterator[Truth], spoil: object) -> Iterator[tuple[Counts, Counts]]:
    """Yield degraded and sharp patches that cover every training tile."""
    for truth in truths:
        if truth.counts.dtype != np.uint8 or min(truth.counts.shape) < PATCH_PX:
            continue
        seen = degrade(truth, spoil, 1).frames.image
        for y in range(0, truth.counts.shape[0] - PATCH_PX + 1, PATCH_PX):
            for x in range(0, truth.counts.shape[1] - PATCH_PX + 1, PATCH_PX):
                part = np.s_[y : y + PATCH_PX, x : x + PATCH_PX]
                yield seen[part], truth.counts[part]


def _run(python: str, tool: str, given: Path, out: Path, options: dict) -> dict | str:
    """Run one tool; return its facts, or one line that says why there are none."""
    command = [python, str(PEER), tool, str(given), str(out), json.dumps(options)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"MPLBACKEND": "agg"})
    if done.returncode:
        lines = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
        return next((line for line in reversed(lines) if re.match(r"[\w.]*(Error|Exception)", line)), lines[-1])[:200]
    facts = out.with_suffix(".json")
    return json.loads(facts.read_text()) if facts.exists() else {}


def _scores(examples: Sequence[Example], made: Sequence[Counts]) -> list[dict[str, float]]:
    measures = {name: registry.load("metrics", name) for name in METRICS}
    rows = []
    for example, counts in zip(examples, made, strict=True):
        # A file on disk holds whole counts, whatever a tool answers.
        got = np.clip(np.rint(counts), 0, 255).astype(np.uint8)
        unit = example.frames.contrast.unit(got)
        rows.append({name: float(measure(unit, example.truth)) for name, measure in measures.items()})
    return rows


def _print_quality(truths: Sequence[Truth], rows: dict[str, list[dict[str, float]]]) -> None:
    groups = list(dict.fromkeys(truth.group for truth in truths))
    counts = {group: sum(t.group == group for t in truths) for group in groups}
    for metric, digits in (("psnr", 2), ("ssim", 4)):
        print(f"\n| {metric} | " + " | ".join(f"{g} (n = {counts[g]})" for g in groups) + " |")
        print("|---|" + "---|" * len(groups))
        for name, scores in rows.items():
            cells = []
            for group in groups:
                own = [s[metric] for s, t in zip(scores, truths, strict=True) if t.group == group]
                cells.append(f"{np.mean(own):.{digits}f} ± {np.std(own):.{digits}f}")
            print(f"| {name} | " + " | ".join(cells) + " |")


def _print_costs(facts: dict[str, dict], pixels: Sequence[int]) -> None:
    print("\n| tool | version | Mpx/s | first tile, s | peak MiB | installed MiB |\n|---|---|---|---|---|---|")
    for name, made in facts.items():
        rate = np.median([n / 1e6 / s for n, s in zip(pixels, made["seconds"], strict=True)])
        print(
            f"| {name} | {made['version']} | {rate:.3g} | {made['first']:.1f} | {made['peak_mib']:.0f} | "
            f"{made['install_mib']:.0f} |"
        )


if __name__ == "__main__":
    main()
