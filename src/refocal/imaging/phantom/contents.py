"""Contents of the cells: nucleus, mitochondria, reticulum, microtubules, synapses and sheaths, wherever they fit."""

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Pixels
from refocal.imaging.phantom import organelles
from refocal.imaging.phantom.organelles import Sheet
from refocal.imaging.phantom.partition import AXON, CELLS, COARSE, OUTSIDE, VESSEL, Labels, Partition


def fill(sheet: Sheet, part: Partition) -> NDArray[np.uint8]:
    """Paint nucleus, reticulum, mitochondria and microtubules where they fit; return what is taken, coarse."""
    rng, used = sheet.rng, np.isin(part.label, (VESSEL, OUTSIDE)).astype(np.uint8)
    area = part.label.size * (COARSE * sheet.pixel_nm) ** 2
    _nucleus(sheet, part, used)
    for row, column in _spots(part, used, int(area / 0.6e6), 110, rng):
        _mitochondrion(sheet, part, used, int(row), int(column))
    for row, column in _spots(part, used, int(area / 0.6e6), 70, rng):
        _cisterna(sheet, part, used, int(row), int(column))
    _microtubules(sheet, part, used)
    return used


def _spots(part: Partition, used: NDArray[np.uint8], count: int, clear_nm: float, rng: np.random.Generator) -> Labels:
    """Return up to `count` random free coarse positions (row, column) at least `clear_nm` from any membrane."""
    free = np.argwhere((part.clear_nm > clear_nm) & (used == 0))
    chosen: Labels = free[rng.permutation(len(free))[:count]].astype(np.int32)
    return chosen


def _nucleus(sheet: Sheet, part: Partition, used: NDArray[np.uint8]) -> None:
    y, x, radius = part.soma
    where, dy, dx = sheet.patch(y, x, radius * 1.1)
    depth = np.hypot(dy, 0.92 * dx) - 0.86 * radius + 110 * sheet.noise(dy.shape, 900) + 25 * sheet.noise(dy.shape, 250)
    organelles.nucleus(sheet, where, depth)
    cv2.circle(used, (int(x / COARSE), int(y / COARSE)), int(1.06 * radius / (COARSE * sheet.pixel_nm)), 1, -1)


def _mitochondrion(sheet: Sheet, part: Partition, used: NDArray[np.uint8], row: int, column: int) -> None:
    """Paint one along the direction in which its cell is longest, if nothing is there yet."""
    rng, step = sheet.rng, COARSE * sheet.pixel_nm
    radius = min(rng.uniform(85, 200), part.clear_nm[row, column] * 0.85)
    best, angle = 0.0, 0.0
    for candidate in rng.uniform(0, np.pi) + np.linspace(0, np.pi, 10, endpoint=False):
        reach = (
            np.arange(0, rng.uniform(60, 700) + 1.25 * radius, step)[:, None, None] * np.array([1, -1])[:, None] / step
        )
        flank = np.array([-1.2, -0.6, 0, 0.6, 1.2]) * radius / step
        rows = row + reach * np.sin(candidate) + flank * np.cos(candidate)
        columns = column + reach * np.cos(candidate) - flank * np.sin(candidate)
        rows = np.clip(rows, 0, used.shape[0] - 1).astype(int)
        columns = np.clip(columns, 0, used.shape[1] - 1).astype(int)
        fits = (part.clear_nm[rows, columns] > 28) & (used[rows, columns] == 0)
        fits &= part.label[rows, columns] == part.label[row, column]
        length = float(np.argmin(np.append(fits.all((1, 2)), False))) * step - 1.25 * radius
        if length > best:
            best, angle = length, candidate
    if best < step:
        return
    organelles.mitochondrion(sheet, row * COARSE, column * COARSE, radius, best, angle)
    along = np.array([np.cos(angle), np.sin(angle)]) * best / step
    ends = [tuple(np.rint((column, row) + side * along).astype(int).tolist()) for side in (-1, 1)]
    cv2.line(used, ends[0], ends[1], 1, int(2.6 * radius / step))


def _cisterna(sheet: Sheet, part: Partition, used: NDArray[np.uint8], row: int, column: int) -> None:
    """Draw reticulum along a wandering path until it meets a membrane or another organelle."""
    rng, step, steps = sheet.rng, COARSE * sheet.pixel_nm, int(sheet.rng.uniform(5, 26))
    heading = rng.uniform(0, 2 * np.pi) + np.cumsum(rng.normal(0, 0.25, steps))
    path = np.array([row, column]) + np.cumsum(np.stack([np.sin(heading), np.cos(heading)], 1) * 24 / step, 0)
    at = tuple(np.clip(path.astype(int), 0, np.array(used.shape) - 1).T)
    free = (used[at] == 0) & (part.clear_nm[at] > 32) & (part.label[at] == part.label[row, column])
    path = path[: int(np.argmin(np.append(free, False)))]
    if len(path) > 2:
        organelles.reticulum(sheet, path * COARSE)


def _microtubules(sheet: Sheet, part: Partition, used: NDArray[np.uint8]) -> None:
    """Dot the microtubules of cells cut across; a third of the cells have them, evenly spread."""
    rng = sheet.rng
    area = part.label.size * (COARSE * sheet.pixel_nm) ** 2
    has = rng.random(int(part.label.max()) + 1) < 0.35
    has[AXON:CELLS] = True
    spots = _spots(part, used, int(area / 0.03e6), 45, rng)
    spots = spots[has[part.label[spots[:, 0], spots[:, 1]]]]
    organelles.vesicles(sheet, spots * COARSE + rng.uniform(0, COARSE, spots.shape), 11.0, 0.5)


def synapses(
    sheet: Sheet,
    part: Partition,
    used: NDArray[np.uint8],
    edge_nm: Pixels,
    cell: NDArray[np.uint8],
    colour: NDArray[np.uint8],
) -> None:
    """Draw postsynaptic densities, and the vesicles on the other side of the membrane."""
    step = COARSE * sheet.pixel_nm
    slope = np.gradient(cv2.GaussianBlur(part.clear_nm, (0, 0), 1.5))
    shut = (part.label < CELLS).astype(np.uint8)
    area = part.label.size * step**2
    for row, column in _spots(part, shut, int(area / 2.2e6), 120, sheet.rng):
        normal = np.array([slope[0][row, column], slope[1][row, column]])
        normal /= max(float(np.hypot(*normal)), 1e-6)
        edge = (row, column) - normal * part.clear_nm[row, column] / step
        beyond = np.rint(edge - normal * 60 / step).astype(int)
        if not ((beyond >= 0) & (beyond < part.label.shape)).all():
            continue
        post = int(part.label[tuple(beyond)])
        if post >= CELLS and post != part.label[row, column]:
            y, x = (edge * COARSE).tolist()
            organelles.density(sheet, y, x, edge_nm, cell, int(colour[post]), sheet.rng.uniform(180, 430))
        _cluster(sheet, part, used, row, column, edge)


def _cluster(
    sheet: Sheet, part: Partition, used: NDArray[np.uint8], row: int, column: int, edge: NDArray[np.float64]
) -> None:
    """Scatter vesicles, none overlapping, in one cell between its middle and the active zone at `edge`."""
    rng, step = sheet.rng, COARSE * sheet.pixel_nm
    count = int(rng.uniform(60, 340))
    toward = rng.beta(1.2, 1.6, (count, 1))
    trial = (
        edge + toward * (np.array([row, column]) - edge) * 1.6 + rng.normal(0, rng.uniform(90, 200) / step, (count, 2))
    )
    trial = trial[((trial >= 0) & (trial < np.array(part.label.shape) - 1)).all(1)]
    at = tuple(trial.astype(int).T)
    trial = trial[(part.label[at] == part.label[row, column]) & (part.clear_nm[at] > 30) & (used[at] == 0)]
    kept: list[NDArray[np.float64]] = []
    for spot in trial:
        if all(abs(spot[0] - k[0]) + abs(spot[1] - k[1]) > 54 / step for k in kept):
            kept.append(spot)
    if kept:
        organelles.vesicles(sheet, np.array(kept) * COARSE)


def sheaths(sheet: Sheet, part: Partition) -> None:
    """Paint the myelin of the axons."""
    for y, x, outline, thickness in part.axons:
        where, dy, dx = sheet.patch(y, x, float(outline.max()) + 20)
        if dy.size:
            turn = (np.arctan2(dy, dx) * np.float32(180 / np.pi)) % 360
            rim = np.interp(turn, np.arange(361), np.append(outline, outline[0])).astype(np.float32)
            organelles.myelin(sheet, where, rim - np.hypot(dy, dx), thickness)
