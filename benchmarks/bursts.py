"""Streams and bursts measured: tables of methods, registration, speed, real bursts of two frames.

    python benchmarks/bursts.py tables [--model NAME=FILE ...] [--edge 384] [--sequences 2]   methods by specimens
    python benchmarks/bursts.py frames --model NAME=FILE                                      1 to 8 frames
    python benchmarks/bursts.py registration [--edge 512] [--pairs 40]                        shifts up to 90 px
    python benchmarks/bursts.py speed [--model FILE] [--edge 1024]                            seconds, strip, memory
    python benchmarks/bursts.py real [--model NAME=FILE ...]                                  one frame from the other
    python benchmarks/bursts.py artefacts [--model NAME=FILE ...]                             grids, wobble

The specimens are simulated, with the protocol of Wieslander et al. 2021: streams and stopped frames with half overlap,
coupled by registration, windowed to 8 bits, scored in 128x128 px tiles of the upper halves that hold no grid, by SSIM
and PSNR (mean and standard deviation over tiles). Tissue is cut from the images of $REFOCAL_DATA/eval/tem, which no
model may have seen; the calibration grid is drawn. Rows with several models are the paper's tables 1, 2 and 3.
"""

import argparse
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import tifffile

from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.values import Contrast, Frames, Restorer
from refocal.engine.streams.source import propose_window
from refocal.engine.streams.track import Choice
from refocal.imaging import grid_bars, shift_registration
from refocal.imaging.binning import binned
from refocal.imaging.intensity_window import EIGHT_BIT, propose, windowed
from refocal.learn.evaluate import burst_phantoms
from refocal.learn.pairs.recordings import sequences
from refocal.learn.pairs.streams import Coupler, Pair, couple_all
from refocal.microscope.simulate.tem_strip import Microscope, Specimen, calibration_grid, record, tissue, write
from refocal.parts.formats import open_image

DATA = Path(os.environ.get("REFOCAL_DATA", Path(__file__).parents[2] / "shared" / "data"))
SCRATCH = Path(os.environ.get("TMPDIR", "/tmp")) / "refocal-bursts"
TILE = 128
BASELINES = {
    "no deblurring": "reference",
    "best frame": {"by": "best"},
    "mean": {"by": "mean"},
    "median": {"by": "median"},
    "shift and add": {"by": "shift_and_add"},
    "mean, Wiener": {"by": "mean", "then": "wiener"},
    "mean, Richardson-Lucy": {"by": "mean", "then": "richardson_lucy"},
}


class Single:
    """The reference frame as it is."""

    def __call__(self, batch):
        return [type("R", (), {"counts": frames.image})() for frames in batch]


def restorers(models: list[str]) -> dict[str, Restorer]:
    """Make the baselines, and the models given as NAME=FILE."""
    made = {
        name: Single() if isinstance(o, str) else registry.make("restorers", "merge", **o)
        for name, o in BASELINES.items()
    }
    for text in models:
        name, sign, path = text.partition("=")
        made[name] = registry.make("restorers", "burst", model=path if sign else name)
    return made


def specimens(cells: float) -> dict[str, Specimen]:
    """Return tissue of real images (at half their size, so that they are crisp) and the drawn calibration grid."""
    images = []
    for file in sorted((DATA / "eval" / "tem").glob("temca_*")):
        with open_image(file) as image:
            unit = Contrast.of(image.info.dtype).unit(image.read())
        low, high = np.percentile(unit, (0.5, 99.5))
        images.append(np.clip((binned(unit, 1) - low) / (high - low) * 0.7 + 0.2, 0, 1).astype(np.float32))
    return {"tissue": tissue(images, cells), "grid": calibration_grid(cells=cells)}


def scope(edge: int) -> Microscope:
    return Microscope(edge_px=edge, step_px=0.09 * edge, exposure=0.16, walk_px=1.0, electrons=60)


def experiments(edge: int, count: int, frames: int) -> Iterator[tuple[str, Pair]]:
    """Yield the pairs of all test sequences, by specimen; each strip has its own seed."""
    for name, specimen in specimens(cells=3.2 * 2 * edge).items():
        for number in range(count):
            folder = SCRATCH / f"{name}_{edge}_{number}"
            if not (folder / "truth.json").exists():
                write(record(specimen, scope(edge), 5, (17, number)), folder)
            (sequence,) = sequences(folder)
            coupler = Coupler(sequence.stream, propose_window(list(sequence.stream)), frames)
            for made in couple_all(coupler, sequence.stopped):
                if isinstance(made, str):
                    print(f"left out: {name} {number}: {made}", file=sys.stderr)
                elif abs(made.gain - 1) > 0.12 or len(made.frames) < frames:
                    # A period off on the grid, or at the end of the strip.
                    print(
                        f"left out: {name} {number} {made.names[0]}: gain {made.gain:.3f}, {len(made.frames)} frames",
                        file=sys.stderr,
                    )
                else:
                    yield name, made


def scored_boxes(pair: Pair, edge: int = TILE, overlap: float = 0.5) -> list[Box]:
    """Return the (y, x) tiles of a pair that are scored.

    The lower part of a stopped frame, which another one shows too, is left out; so are tiles that touch the grid.
    """
    height, width = pair.truth.shape
    height = min(height, round(pair.height * (1 - overlap)) - pair.box.start[0])
    inside = grid_bars.tissue(pair.truth)
    boxes = [
        Box((y, x), (y + edge, x + edge))
        for y in range(0, height - edge + 1, edge)
        for x in range(0, width - edge + 1, edge)
    ]
    return [box for box in boxes if inside[box.slices].all()]


def score(pair: Pair, restorer: Restorer, count: int | None = None) -> list[tuple[float, float]]:
    """Return (SSIM, PSNR) of each tile of a pair."""
    ssim, psnr = (registry.load("metrics", name) for name in ("ssim", "psnr"))
    got = restorer([Frames(pair.frames[:count], 0, EIGHT_BIT)])[0].counts
    unit = EIGHT_BIT.unit(np.asarray(got)), EIGHT_BIT.unit(pair.truth)
    return [tuple(m(unit[0][b.slices], unit[1][b.slices]) for m in (ssim, psnr)) for b in scored_boxes(pair)]


def tables(options: argparse.Namespace) -> None:
    """Print methods by specimens."""
    made = restorers(options.model)
    scores: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for specimen, pair in experiments(options.edge, options.sequences, 5):
        for name, restorer in made.items():
            scores.setdefault((name, specimen), []).extend(score(pair, restorer))
    kinds = list(dict.fromkeys(specimen for _, specimen in scores))
    print("| method | " + " | ".join(f"{k} SSIM | {k} PSNR dB" for k in kinds) + " |")
    print("|---" * (1 + 2 * len(kinds)) + "|")
    for name in made:
        print(f"| {name} | " + " | ".join(_cell(scores.get((name, kind), [])) for kind in kinds) + " |")
    print(f"\n{', '.join(f'{k}: {len(scores[next(iter(made)), k])} tiles' for k in kinds)}")


def _cell(values: list[tuple[float, float]]) -> str:
    if not values:
        return "- | -"
    (s, p), (ds, dp) = np.mean(values, 0), np.std(values, 0)
    return f"{s:.3f} ± {ds:.3f} | {p:.2f} ± {dp:.2f}"


def frames(options: argparse.Namespace) -> None:
    """Print quality against the number of frames."""
    chosen = {n: r for n, r in restorers(options.model).items() if n == "mean" or n not in BASELINES}
    scores: dict[tuple[str, str, int], list[tuple[float, float]]] = {}
    for specimen, pair in experiments(options.edge, options.sequences, 8):
        for name, restorer in chosen.items():
            for count in range(1, 9):
                scores.setdefault((name, specimen, count), []).extend(score(pair, restorer, count))
    print("| method, specimen | " + " | ".join(map(str, range(1, 9))) + " |")
    print("|---" * 9 + "|")
    for name, specimen in dict.fromkeys((n, s) for n, s, _ in scores):
        cells = [np.mean(scores[name, specimen, count], 0) for count in range(1, 9)]
        print(f"| {name}, {specimen} | " + " | ".join(f"{s:.3f} / {p:.2f}" for s, p in cells) + " |")


def registration(options: argparse.Namespace) -> None:
    """Print errors of registered shifts, against the true ones."""
    print("| specimen | pairs | not found | coarse, mean px | refined: mean | 95 % | max |")
    print("|---|---|---|---|---|---|---|")
    for name, specimen in specimens(0).items():
        errors, rough, lost = [], [], 0
        for number in range(options.pairs):
            rng = np.random.default_rng([number, 9])
            strip = record(specimen, scope(options.edge), 1, (5, number))
            jump = rng.uniform(-90, 90, 2) * (1, 0.05)
            strip.at_px[1] = strip.at_px[0] + (-abs(jump[0]), jump[1])
            pages = list(strip.stream())[:2]
            window = propose(pages)
            one, two = (shift_registration.softened(windowed(page, window)) for page in pages)
            true = strip.at_px[0] - strip.at_px[1]
            try:
                shift, _ = shift_registration.coarse(one, two)
                fine = shift_registration.refine(one, two, shift).shift
            except Exception:
                lost += 1
                continue
            rough.append(np.hypot(*(shift - true)))
            errors.append(np.hypot(*(fine - true)))
        e = np.array(errors)
        print(
            f"| {name} | {options.pairs} | {lost} | {np.mean(rough):.2f} | {e.mean():.3f} "
            f"| {np.percentile(e, 95):.3f} | {e.max():.3f} |"
        )


def speed(options: argparse.Namespace) -> None:
    """Print seconds of each step at one size, what strip a minute that makes, and the peak memory."""
    strip = record(calibration_grid(), scope(options.edge), 1, (3,))
    pages = list(strip.stream())
    window = propose(pages)
    eight = [windowed(page, window) for page in pages]
    soft = [shift_registration.softened(frame) for frame in eight]
    shifts = [tuple(strip.at_px[0] - at) for at in strip.at_px]

    def burst() -> Frames:
        warps = [
            shift_registration.refine(soft[0], s, shift).warp for s, shift in zip(soft[1:], shifts[1:], strict=True)
        ]
        box = shift_registration.intersection(soft[0].shape, warps)
        planes = [
            eight[0][box.slices],
            *(shift_registration.resampled(f, w, box) for f, w in zip(eight[1:], warps, strict=True)),
        ]
        return Frames(np.stack([np.clip(p, 0, 255).astype(np.uint8) for p in planes]), 0, EIGHT_BIT)

    made = (
        registry.make("restorers", "burst", model=options.model[0].partition("=")[2] or options.model[0])
        if options.model
        else registry.make("restorers", "merge")
    )
    full = Frames(np.stack(eight[:5]), 0, EIGHT_BIT)
    made([full])
    half = [s[::2, ::2].copy() for s in soft[:2]]
    steps: dict[str, Callable[[], object]] = {
        "follow the stage, a frame": lambda: shift_registration.refine(*half, shift_registration.coarse(*half)[0]),
        "register a burst of 5": burst,
        f"restore 5 x {options.edge} x {options.edge}": lambda: made([full]),
    }
    taken = {name: min(_seconds(step) for _ in range(3)) for name, step in steps.items()}
    for name, seconds in taken.items():
        print(f"{name}: {seconds:.2f} s")
    step_px = scope(options.edge).step_px
    advance = Choice().advance * options.edge
    whole = taken["follow the stage, a frame"] * advance / step_px + sum(list(taken.values())[1:])
    metres = 60 / whole * advance * strip.microscope.pixel_nm * 1e-3
    print(f"restored images a second: {1 / whole:.2f}; frames of the stream a second: {advance / step_px / whole:.1f}")
    print(f"strip a minute: {metres:.0f} um of {options.edge * strip.microscope.pixel_nm * 1e-3:.0f} um width")
    print(f"peak memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def _seconds(step: Callable[[], object]) -> float:
    began = time.perf_counter()
    step()
    return time.perf_counter() - began


def real(options: argparse.Namespace) -> None:
    """Predict one frame of a real pair from the other, beside Gaussian smoothing that leaves as much noise."""
    print("Materials, not tissue; no clean reference. Mean squared error to the other frame, of its variance of noise.")
    print("| pair | method | noise left | error | Gaussian of equal noise | its error | best Gaussian |")
    print("|---|---|---|---|---|---|---|")
    files = sorted((DATA / "real" / "tem_bursts").glob("*.tif"))
    # Each file is one frame; both show one field.
    for first, second in zip(files[::2], files[1::2], strict=True):
        one, two = _two(np.stack([tifffile.imread(file) for file in (first, second)]))
        noise = np.var(one - two) / 2
        blurs = np.geomspace(0.3, 8, 40)
        smooth = {s: tuple(cv2.GaussianBlur(p, (0, 0), s) for p in (one, two)) for s in blurs}
        left = {s: float(np.std(a - b) / 2**0.5) for s, (a, b) in smooth.items()}
        error = {s: _crossed((a, b), (one, two)) / noise for s, (a, b) in smooth.items()}
        for name, restorer in restorers(options.model).items():
            if name in ("no deblurring", "best frame", "median", "shift and add"):
                continue
            got = tuple(_restored(restorer, p) for p in (one, two))
            remains = float(np.std(got[0] - got[1]) / 2**0.5)
            # Noise falls with the blur, and what is to be found between two blurs matters.
            falling, widths = [left[s] for s in blurs[::-1]], blurs[::-1]
            like, wrong = (float(np.interp(remains, falling, v)) for v in (widths, [error[s] for s in widths]))
            print(
                f"| {first.stem} | {name} | {remains:.4f} | {_crossed(got, (one, two)) / noise:.4f} | {like:.2f} px "
                f"| {wrong:.4f} | {min(error.values()):.4f} |"
            )


def artefacts(options: argparse.Namespace) -> None:
    """Print what methods do to probes whose truth is known."""
    made = restorers(options.model)
    judged = {name: burst_phantoms.judge(made[name]) for name in made if name == "mean" or name not in BASELINES}
    names = list(next(iter(judged.values())))
    print("| method | " + " | ".join(names) + " |")
    print("|---" * (1 + len(names)) + "|")
    for name, found in judged.items():
        print(f"| {name} | " + " | ".join(f"{found[n]:.3g}" for n in names) + " |")


def _two(stack: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both frames, registered to each other, as pixels in their common window."""
    pages = [page[: min(page.shape) // 32 * 32, : min(page.shape) // 32 * 32] for page in stack[:2]]
    window = propose(pages)
    eight = [windowed(page, window) for page in pages]
    # So few electrons that only what is large can be registered.
    soft = [shift_registration.softened(cv2.GaussianBlur(frame.astype(np.float32), (0, 0), 5)) for frame in eight]
    warp = shift_registration.refine(*soft, shift_registration.coarse(*soft)[0]).warp
    box = shift_registration.intersection(eight[0].shape, [warp])
    # Whole pixels, or interpolation would smooth one of the two.
    dx, dy = (round(float(v)) for v in warp[:, 2])
    (y, x), (h, w) = box.start, (n - 2 for n in box.shape)
    y, x = y + 1, x + 1
    return EIGHT_BIT.unit(eight[0][y : y + h, x : x + w]), EIGHT_BIT.unit(
        eight[1][y + dy : y + dy + h, x + dx : x + dx + w]
    )


def _restored(restorer: Restorer, plane: np.ndarray) -> np.ndarray:
    got = restorer([Frames(plane[None].astype(np.float32), 0, Contrast(0, 1))])[0].counts
    return np.asarray(got, np.float32)


def _crossed(got: tuple[np.ndarray, ...], given: tuple[np.ndarray, ...]) -> float:
    """Return the mean squared error of each prediction to the other frame, which it has not seen."""
    return float(np.mean([np.mean((got[0] - given[1]) ** 2), np.mean((got[1] - given[0]) ** 2)]))


EDGES = {tables: 384, frames: 384, registration: 512, speed: 1024, real: 0, artefacts: 0}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    for function, edge in EDGES.items():
        command = commands.add_parser(function.__name__)
        command.set_defaults(run=function)
        command.add_argument("--model", action="append", default=[], help="NAME=FILE of a model for bursts; repeat")
        command.add_argument("--edge", type=int, default=edge)
        command.add_argument("--sequences", type=int, default=2)
        command.add_argument("--pairs", type=int, default=40)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
