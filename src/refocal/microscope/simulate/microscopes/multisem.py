"""The MultiSEM: batches of sections of mFoVs, each an exposure of 61 or 91 beams, in the order of the microscope."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from refocal.microscope.simulate.encode import Encoded, Grey, bmp
from refocal.microscope.simulate.image_pool import Pool
from refocal.microscope.simulate.plan import Plan
from refocal.microscope.simulate.writer import Recorder

_FIELD_SECONDS = 2.4
_OVERLAP_PX = 100
_SHARPEST_SCORE = 60.0
_SCORES = {"sharp": 1.0, "soft": 0.55, "noisy": 0.4, "hopeless": 0.2, "blank": 0.1}


def encode(image: Grey, plan: Plan) -> Encoded:
    """Return a tile as the microscope stores it."""
    return bmp(image, plan.pixel_nm)


def acquire(plan: Plan, pool: Pool, to: Recorder) -> None:
    """Write the whole acquisition."""
    clock = _Clock(plan.start)
    per_batch = -(-plan.sections // plan.batches)
    todo = [range(i, min(i + per_batch, plan.sections)) for i in range(0, plan.sections, per_batch)]
    if plan.retakes:
        todo.append(range(plan.retakes))
    for number, sections in enumerate(todo):
        retake = bool(plan.retakes) and number == len(todo) - 1
        name = "retake" if retake else "wafer"
        folder = f"{plan.wafer}/" * bool(plan.wafer) + f"{name}_{clock.now:%Y%m%d_%H-%M-%S}"
        log = f"{folder}/experiment_log.txt"
        to.append(log, f'{clock.log}: start experiment "{name}"\r\n')
        for section in sections:
            _section(_Section(plan, folder, section, retake), clock, pool, to)
        to.append(log, f"{clock.log}: stop experiment\r\n")
        to.event("batch", name=folder)
        clock.pass_(600)


class _Clock:
    """The time of the microscope, which has nothing to do with that of the replay."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    @property
    def log(self) -> str:
        return f"{self.now:%m/%d/%Y %H-%M-%S}"

    def pass_(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass(frozen=True, slots=True)
class _Section:
    plan: Plan
    batch: str
    index: int
    retake: bool

    @property
    def stage(self) -> str:
        return f"{self.index + 1:03d}"

    @property
    def name(self) -> str:
        return f"S{self.index + 1}R1"

    @property
    def folder(self) -> str:
        return f"{self.batch}/{self.stage}_{self.name}"


def _section(section: _Section, clock: _Clock, pool: Pool, to: Recorder) -> None:
    plan, folder, log = section.plan, section.folder, f"{section.batch}/experiment_log.txt"
    began = clock.now
    to.append(log, f'{clock.log}: start region "{section.name}"\r\n')
    to.append(f"{folder}/workflow.xaml", "<Activity />\r\n")
    to.append(f"{folder}/FocusMap.txt", "0.000\t0.000\t1.000\t0.000\t0.000\r\n")
    header = "MFoV Number;Storage Path;StagePositionXMonitor;StagePositionYMonitor;IMQA"
    to.append(f"{folder}/region_metadata.csv", f"sep=;\r\n{header}\r\n")
    full: dict[str, list[str]] = {"image": [], "thumbnail": []}
    for mfov in range(1, plan.mfovs + 1):
        lines = _mfov(section, mfov, clock, pool, to)
        for kind, found in lines.items():
            full[kind] += [f"{mfov:06d}\\{line}" for line in found]
    for kind, found in full.items():
        if kind == "image" or plan.thumbnails:
            to.beside(f"{folder}/full_{kind}_coordinates.txt", "".join(found).encode())
    seconds = (clock.now - began).total_seconds()
    to.append(
        log,
        f'{clock.log}: stop region "{section.name}"; duration: {seconds:.1f} [s]; Number of mFoVs: {plan.mfovs}; '
        "Number of Support Points: 5; AF: 5; AS: 5\r\n",
    )
    to.event("section", name=folder, section=section.name)


def _mfov(section: _Section, mfov: int, clock: _Clock, pool: Pool, to: Recorder) -> dict[str, list[str]]:
    """Write one exposure, and return the lines of its coordinate files."""
    plan, folder = section.plan, f"{section.folder}/{mfov:06d}"
    rng = np.random.default_rng((plan.seed, section.index, mfov, section.retake))
    scores = ["NaN"] * plan.beams
    lines: dict[str, list[str]] = {"image": [], "thumbnail": []}
    corner = ((mfov - 1) % 4) * 9 * plan.width, ((mfov - 1) // 4) * 9 * plan.height
    for beam, (dx, dy) in enumerate(hexagons(plan.beams), 1):
        taken = f"{clock.now:%Y-%m-%dT%H%M%S}{clock.now.microsecond:06d}{beam % 10}"
        missing = rng.random() < plan.shares.missing
        file = f"{section.stage}_{mfov:06d}_{beam:03d}_{taken}.bmp"
        if missing:
            to.event("missing", name=f"{folder}/{file}", section=section.name, field=mfov, beam=beam)
            continue
        variant = pool.draw(rng, only_sharp=section.retake)
        x = corner[0] + dx * (plan.width - _OVERLAP_PX)
        y = corner[1] + dy * (plan.height - _OVERLAP_PX)
        to.tile(
            f"{folder}/{file}",
            variant,
            rng,
            section=section.name,
            tile=f"m{mfov:06d}_b{beam:03d}",
            field=mfov,
            beam=beam,
            taken=taken,
            x_px=round(x, 3),
            y_px=round(y, 3),
            retake=section.retake,
        )
        scores[beam - 1] = f"{_SHARPEST_SCORE * _SCORES[variant.quality] + rng.normal(0, 1.5):.3f}"
        if plan.thumbnails:
            to.beside(f"{folder}/thumbnail_{file}", variant.thumbnail.data)
            lines["thumbnail"].append(f"thumbnail_{file}\t{x / 16:.3f}\t{y / 16:.3f}\t0\r\n")
        if rng.random() < plan.shares.doubled:
            lines["image"].append(f"{file}\t{x + 5000:.3f}\t{y - 5000:.3f}\t0\r\n")
        lines["image"].append(f"{file}\t{x:.3f}\t{y:.3f}\t0\r\n")
    to.settle()
    _side_cars(section, mfov, lines, scores, clock, to)
    clock.pass_(_FIELD_SECONDS)
    return lines


def _side_cars(
    section: _Section, mfov: int, lines: dict[str, list[str]], scores: list[str], clock: _Clock, to: Recorder
) -> None:
    """Write what appears once the images of an exposure are there."""
    plan, folder = section.plan, f"{section.folder}/{mfov:06d}"
    to.beside(f"{folder}/image_coordinates.txt", "".join(lines["image"]).encode())
    if plan.thumbnails:
        to.beside(f"{folder}/thumbnail_coordinates.txt", "".join(lines["thumbnail"]).encode())
    to.append(f"{folder}/metadata.txt", f"Width:\t{plan.width}px\r\nHeight:\t{plan.height}px\r\n")
    stored = f"D:\\{folder}".replace("/", "\\")
    row = f"{mfov};{stored};{mfov * 1000.0:.1f};{section.index * 1000.0:.1f};" + ";".join(scores)
    to.append(f"{section.folder}/region_metadata.csv", f"{row}\r\n")
    first = 3 * (mfov - 1)
    operations = ("StageMovement;;;0.412", "StageMovementDelay;;;0.300", "TriggerAcquisition;;True;1.688")
    for number, operation in enumerate(operations, first + 1):
        to.append(
            f"{section.folder}/protocol.txt", f"{number};0;{mfov};{clock.now:%m/%d/%Y %H:%M:%S}.000;{operation}\r\n"
        )


def hexagons(beams: int) -> Iterator[tuple[float, float]]:
    """Yield the places of beams in rings around the first one: x and y in tiles, rows shifted by halves."""
    yield 0.0, 0.0
    ring, yielded = 1, 1
    steps = ((-0.5, 1.0), (-1.0, 0.0), (-0.5, -1.0), (0.5, -1.0), (1.0, 0.0), (0.5, 1.0))
    while yielded < beams:
        x, y = float(ring), 0.0
        for dx, dy in steps:
            for _ in range(ring):
                if yielded == beams:
                    return
                yield x, y
                yielded += 1
                x, y = x + dx, y + dy
        ring += 1
