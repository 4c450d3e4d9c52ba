"""Draw the section: grey of the cells, membranes, and what is in the cells.

The partition, blurred colour by colour and enlarged, gives a smooth distance to the nearest membrane on every pixel:
both leaflets, the gap between them and obliquely cut stretches are functions of that distance.
"""

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import erfinv

from refocal.core.values import Pixels
from refocal.imaging.phantom import contents
from refocal.imaging.phantom.organelles import Sheet, line, smooth_noise
from refocal.imaging.phantom.partition import COARSE, OUTSIDE, SOMA, VESSEL, WALL, Labels, cut

BLUR_NM = 42.0
"""Rounds the corners of cells, and turns the partition into a distance."""
RESIN = 0.84
"""Grey of empty embedding resin; cytoplasm is about 0.65, membranes about 0.25."""


def draw_section(
    shape: tuple[int, int], seed: int, pixel_nm: float = 4.0, blank: tuple[slice, slice] | None = None
) -> Pixels:
    """Draw a section of neuropil as an electron microscope shows it, membranes dark on bright.

    Parameters
    ----------
    shape
        (y, x) in pixels.
    seed
        The same seed gives the same section.
    pixel_nm
        Pixel edge in nanometres, sensibly 2 to 10.
    blank
        Rows and columns that hold resin only, beyond the rim of the tissue.

    Returns
    -------
    Pixels
        (y, x) float32 in [0, 1], noise-free, sharp to about one pixel.
    """
    return draw_labelled(shape, seed, pixel_nm, blank)[0]


def draw_labelled(
    shape: tuple[int, int], seed: int, pixel_nm: float = 4.0, blank: tuple[slice, slice] | None = None
) -> tuple[Pixels, Labels]:
    """Draw the section of `draw_section` and return it with the cell of every pixel.

    Membranes lie on the borders between cells, which have numbers from 1 on; resin and the lumen of vessels are 0.
    """
    rng = np.random.default_rng(seed)
    part = cut(shape, pixel_nm, blank, rng)
    colour = _colours(part.label)
    edge_nm, cell = _membranes(part.label, colour, shape, pixel_nm)
    sheet = Sheet(_cytoplasm(part.label, colour, cell, pixel_nm, rng), pixel_nm, rng)
    _draw_membranes(sheet, edge_nm)
    used = contents.fill(sheet, part)
    contents.synapses(sheet, part, used, edge_nm, cell, colour)
    contents.sheaths(sheet, part)
    image = cv2.GaussianBlur(sheet.image, (0, 0), 0.65)
    image *= 1 + np.float32(0.018) * smooth_noise(shape, 3000 / pixel_nm, rng)
    clipped: Pixels = np.clip(image, 0, 1, out=image)
    return clipped, _cells(cell, np.isin(part.label, (VESSEL, OUTSIDE)))


def _cells(cell: NDArray[np.uint8], empty: NDArray[np.bool_]) -> Labels:
    """Number the connected parts of one colour; neighbours differ in colour, so these are the cells."""
    hollow = np.kron(empty, np.ones((COARSE, COARSE), bool))[: cell.shape[0], : cell.shape[1]]
    labels = np.zeros(cell.shape, np.int32)
    last = 0
    for shade in np.unique(cell):
        count, parts = cv2.connectedComponents((cell == shade).astype(np.uint8), connectivity=4)
        np.copyto(labels, parts + last, where=parts > 0)
        last += count - 1
    labels[hollow] = 0
    return labels


def _colours(label: Labels) -> NDArray[np.uint8]:
    """Colour the cells so that neighbours differ; greedy in order of size; returns the colour of each label."""
    count = int(label.max()) + 1
    pairs = np.concatenate(
        [
            np.stack([a.ravel(), b.ravel()], 1)
            for a, b in ((label[:, 3:], label[:, :-3]), (label[3:], label[:-3]), (label[2:, 2:], label[:-2, :-2]))
        ]
    ).astype(np.int64)
    code = np.unique(pairs.min(1) * count + pairs.max(1))
    neighbours: list[set[int]] = [set() for _ in range(count)]
    for a, b in zip(*(side.tolist() for side in divmod(code, count)), strict=True):
        if a != b:
            neighbours[a].add(b)
            neighbours[b].add(a)
    colour = np.full(count, 255, np.uint8)
    for cell in sorted(range(count), key=lambda c: -len(neighbours[c])):
        taken = {int(colour[n]) for n in neighbours[cell]}
        colour[cell] = next(c for c in range(255) if c not in taken)
    return colour


def _enlarge(coarse: Pixels, shape: tuple[int, int]) -> Pixels:
    grown = cv2.resize(coarse, None, fx=COARSE, fy=COARSE, interpolation=cv2.INTER_CUBIC)
    fitted: Pixels = grown[: shape[0], : shape[1]]
    return fitted


def _membranes(
    label: Labels, colour: NDArray[np.uint8], shape: tuple[int, int], pixel_nm: float
) -> tuple[Pixels, NDArray[np.uint8]]:
    """Return on every pixel the distance to the nearest membrane (nm, up to 60) and the colour of the cell."""
    painted = colour[label]
    sigma = BLUR_NM / (COARSE * pixel_nm)
    best = np.full(shape, -1, np.float32)
    second = np.full(shape, -1, np.float32)
    cell = np.zeros(shape, np.uint8)
    for shade in range(int(painted.max()) + 1):
        near = _enlarge(cv2.GaussianBlur((painted == shade).astype(np.float32), (0, 0), sigma), shape)
        cell[near > best] = shade
        np.maximum(second, np.minimum(best, near), out=second)
        np.maximum(best, near, out=best)
    lead = np.clip(best - second, 0, 0.97, out=best)
    table = (BLUR_NM * np.sqrt(2) * erfinv(np.linspace(0, 0.97, 512))).astype(np.float32)
    return table[(lead * np.float32(511 / 0.97)).astype(np.int16)], cell


def _cytoplasm(
    label: Labels, colour: NDArray[np.uint8], cell: NDArray[np.uint8], pixel_nm: float, rng: np.random.Generator
) -> Pixels:
    """Give each cell its own grey and its own grain: fine filaments, and dark specks of ribosomes."""
    shape = (cell.shape[0], cell.shape[1])
    count = len(colour)
    grey = np.clip(rng.normal(0.655, 0.035, count), 0.5, 0.74).astype(np.float32)
    rough = np.clip(rng.lognormal(-0.1, 0.35, count), 0.4, 1.5).astype(np.float32)
    grey[WALL], grey[SOMA], rough[SOMA], rough[WALL] = 0.52, 0.6, 1.7, 1.2
    for empty in (VESSEL, OUTSIDE):
        grey[empty], rough[empty] = RESIN, 0.08
    image, grain = np.empty(shape, np.float32), np.empty(shape, np.float32)
    painted = colour[label]
    for shade in range(int(colour[np.unique(label)].max()) + 1):
        here = (painted == shade).astype(np.float32)
        weight = cv2.GaussianBlur(here, (0, 0), 2) + np.float32(1e-6)
        mine = cell == shade
        for values, into in ((grey, image), (rough, grain)):
            full = _enlarge(cv2.GaussianBlur(values[label] * here, (0, 0), 2) / weight, shape)
            np.copyto(into, full, where=mine)
    fine, coarse = smooth_noise(shape, 7 / pixel_nm, rng), smooth_noise(shape, 22 / pixel_nm, rng)
    specks = np.maximum(coarse + 0.5 * fine - 1.55, 0)
    image += grain * (0.020 * fine + 0.028 * coarse - 0.10 * specks)
    image += 0.012 * grain * smooth_noise(shape, 160 / pixel_nm, rng)
    return image


def _draw_membranes(sheet: Sheet, edge_nm: Pixels) -> None:
    """Draw both leaflets and the gap; where the plane of section runs along a membrane it is wide and grey."""
    rows, columns = np.nonzero(edge_nm < 58)
    oblique = sheet.noise(sheet.image.shape, 420)[rows, columns]
    widen = 1 + 2.2 / (1 + np.exp(-7 * (oblique - 1.35)))
    distance = edge_nm[rows, columns] / widen
    dark = 0.74 * line(distance - 8, 7.5) + 0.3 * line(distance, 5)
    under = sheet.image[rows, columns]
    sheet.image[rows, columns] = under + np.clip(dark / widen**0.6, 0, 0.86) * (0.2 - under)
