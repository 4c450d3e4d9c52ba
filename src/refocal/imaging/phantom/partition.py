"""The partition of a section into cells, drawn at a quarter of its resolution.

Cells are a warped Voronoi partition whose seeds are merged into profiles of very different sizes; a cell body, a blood
vessel, myelinated axons and the rim of the tissue are laid over it.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from refocal.core.values import Pixels
from refocal.imaging.phantom.organelles import smooth_noise

Labels = NDArray[np.int32]

COARSE = 4
"""Pixels per cell of the partition."""
VESSEL, WALL, OUTSIDE, SOMA, AXON = 1, 2, 5, 6, 10
"""First labels of what is laid over the neuropil; profiles start at `CELLS`."""
CELLS = 40


@dataclass(frozen=True, slots=True)
class Partition:
    """Which cell each coarse pixel belongs to, and how far the next membrane is."""

    label: Labels
    """(y, x), coarse."""
    clear_nm: Pixels
    """(y, x), coarse: distance to the nearest membrane."""
    axons: tuple[tuple[float, float, Pixels, float], ...]
    """Myelinated axons: y, x in pixels, radius (nm) by angle over 360 steps, thickness of the sheath (nm)."""
    soma: tuple[float, float, float]
    """y, x in pixels and radius (nm) of the cell body."""


def cut(
    shape: tuple[int, int], pixel_nm: float, blank: tuple[slice, slice] | None, rng: np.random.Generator
) -> Partition:
    """Cut a section of `shape` pixels into cells; `blank` rows and columns are empty resin."""
    step = COARSE * pixel_nm
    size = (-(-shape[0] // COARSE), -(-shape[1] // COARSE))
    grid = np.mgrid[: size[0], : size[1]].astype(np.float32) * np.float32(step)
    for grain, amount in ((900, 150), (330, 70), (150, 22), (60, 6)):
        grid += np.stack([amount * smooth_noise(size, grain / step, rng) for _ in range(2)])
    extent = (size[0] * step, size[1] * step)
    seeds = rng.uniform((-300, -300), (extent[0] + 300, extent[1] + 300), (_seed_count(extent), 2))
    nearest = cKDTree(seeds).query(np.moveaxis(grid, 0, -1).reshape(-1, 2), workers=1)[1]
    label = (CELLS + _merge(seeds, extent, rng)[nearest]).reshape(size).astype(np.int32)
    soma = _lay_soma(label, grid, extent, rng, pixel_nm)
    _lay_vessel(label, grid, extent, rng)
    _lay_outside(label, blank, rng, step)
    axons = _lay_axons(label, extent, rng, pixel_nm)
    edges = np.zeros(size, np.uint8)
    edges[:, 1:] |= label[:, 1:] != label[:, :-1]
    edges[1:] |= label[1:] != label[:-1]
    clear = np.minimum(cv2.distanceTransform(1 - edges, cv2.DIST_L2, 5), max(size)) * np.float32(step)
    for number, axon in enumerate(axons):
        clear[label == AXON + number] -= np.float32(axon[3] + 20)
    return Partition(label, clear, axons, soma)


def _seed_count(extent: tuple[float, float]) -> int:
    return int((extent[0] + 600) * (extent[1] + 600) / 235**2) + 4


def _merge(seeds: NDArray[np.float64], extent: tuple[float, float], rng: np.random.Generator) -> Labels:
    """Give the seeds within each of many random ellipses one number: dendrites, boutons, bundles cut lengthwise."""
    group = np.arange(len(seeds), dtype=np.int32)
    free = np.ones(len(seeds), bool)
    count = int(extent[0] * extent[1] / 560**2) + 1
    for radius in np.sort(np.clip(rng.lognormal(5.75, 0.5, count), 200, 1100))[::-1]:
        centre, angle, stretch = rng.uniform((0, 0), extent), rng.uniform(0, np.pi), rng.choice((1.0, 1.3, 2.6))
        rotation = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        away = (seeds - centre) @ rotation.T / (radius * stretch, radius / np.sqrt(stretch))
        members = np.flatnonzero(free & (np.square(away).sum(1) < 1))
        if members.size:
            group[members] = members[0]
            free[members] = False
    return group


def _lay_soma(
    label: Labels, grid: Pixels, extent: tuple[float, float], rng: np.random.Generator, pixel_nm: float
) -> tuple[float, float, float]:
    radius = 0.125 * min(extent)
    y, x = extent[0] * rng.uniform(0.7, 0.8), extent[1] * rng.uniform(0.24, 0.34)
    label[np.hypot(grid[0] - y, 0.85 * (grid[1] - x)) < 1.42 * radius] = SOMA
    return y / pixel_nm, x / pixel_nm, radius


def _lay_vessel(label: Labels, grid: Pixels, extent: tuple[float, float], rng: np.random.Generator) -> None:
    y, x = extent[0] * rng.uniform(0.06, 0.14), extent[1] * rng.uniform(0.62, 0.72)
    radius = np.hypot(grid[0] - y, 0.8 * (grid[1] - x))
    lumen = 0.125 * min(extent)
    turn = np.arctan2(grid[0] - y, grid[1] - x)
    label[radius < lumen + 230 + 90 * np.sin(3 * turn)] = WALL
    label[radius < lumen] = VESSEL


def _lay_axons(
    label: Labels, extent: tuple[float, float], rng: np.random.Generator, pixel_nm: float
) -> tuple[tuple[float, float, Pixels, float], ...]:
    step = COARSE * pixel_nm
    angles = np.linspace(0, 2 * np.pi, 360, endpoint=False)
    axons: list[tuple[float, float, Pixels, float]] = []
    taken = label < CELLS
    for _ in range(int(extent[0] * extent[1] / 8e6) + 1):
        y, x = rng.uniform((0, 0), extent)
        radius = rng.uniform(280, 800)
        waves = sum(rng.normal(0, 0.14 / k) * np.cos(k * angles + rng.uniform(0, 6.3)) for k in (2, 3, 4, 5))
        outline = np.asarray(radius * (1 + waves), np.float32)
        points = np.stack([x + outline * np.cos(angles), y + outline * np.sin(angles)], 1) / step
        mask = np.zeros(label.shape, np.uint8)
        cv2.fillPoly(mask, [np.rint(points * 16).astype(np.int32)], 1, cv2.LINE_8, 4)
        around = cv2.dilate(mask, np.ones((9, 9), np.uint8)) > 0
        if AXON + len(axons) < CELLS and not taken[around].any():
            label[mask > 0] = AXON + len(axons)
            taken |= around
            axons.append((y / pixel_nm, x / pixel_nm, outline, radius * rng.uniform(0.16, 0.3)))
    return tuple(axons)


def _lay_outside(label: Labels, blank: tuple[slice, slice] | None, rng: np.random.Generator, step: float) -> None:
    if blank is None:
        return
    rows, columns = (slice(s.start // COARSE, -(-s.stop // COARSE)) for s in blank)
    mask = np.zeros(label.shape, np.uint8)
    mask[rows, columns] = 1
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5) * np.float32(step)
    label[away < 220 + 110 * smooth_noise((label.shape[0], label.shape[1]), 700 / step, rng)] = OUTSIDE
    label[rows, columns] = OUTSIDE
