"""The organelles of a drawn cell: each function paints one organelle onto a section, in place.

Lengths are nanometres and become pixels through `Sheet.pixel_nm`. Sizes are textbook ones (Peters, Palay & Webster,
The Fine Structure of the Nervous System, 1991): synaptic vesicle 40 nm, microtubule 24 nm, mitochondrion 200 to 400 nm
thick, myelin repeat about 12 nm, postsynaptic density 30 to 50 nm thick.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Pixels

Patch = tuple[tuple[slice, slice], Pixels, Pixels]


@dataclass(frozen=True, slots=True)
class Sheet:
    """A section being drawn: the organelles change `image` in place."""

    image: Pixels
    """(y, x) grey, 0 is black."""
    pixel_nm: float
    rng: np.random.Generator

    def patch(self, y: float, x: float, radius_nm: float) -> Patch:
        """Return the slices around a pixel position, and there the nm coordinates (y, x) relative to it."""
        reach = radius_nm / self.pixel_nm + 3
        height, width = self.image.shape
        ys = slice(max(0, int(y - reach)), max(0, min(height, int(y + reach) + 1)))
        xs = slice(max(0, int(x - reach)), max(0, min(width, int(x + reach) + 1)))
        grid = np.mgrid[ys, xs].astype(np.float32)
        return (ys, xs), (grid[0] - y) * self.pixel_nm, (grid[1] - x) * self.pixel_nm

    def noise(self, shape: tuple[int, ...], grain_nm: float) -> Pixels:
        """Return smooth noise of mean 0 and s.d. 1 with a grain of about `grain_nm`."""
        return smooth_noise((shape[0], shape[1]), grain_nm / self.pixel_nm, self.rng)


def smooth_noise(shape: tuple[int, int], grain_px: float, rng: np.random.Generator) -> Pixels:
    """Return Gaussian-smoothed white noise of unit s.d.; coarse grains are drawn small and enlarged."""
    step = max(1, int(grain_px / 2))
    small = (shape[0] // step + 4, shape[1] // step + 4)
    sigma = max(grain_px / step, 0.3)
    field = cv2.GaussianBlur(rng.standard_normal(small, dtype=np.float32), (0, 0), sigma)
    field *= 1 / max(float(field.std()), 1e-6)
    if step == 1:
        return np.ascontiguousarray(field[: shape[0], : shape[1]])
    grown = cv2.resize(field, None, fx=step, fy=step, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(grown[: shape[0], : shape[1]])


def blend(under: Pixels, paint: Pixels | float, alpha: Pixels) -> None:
    """Lay `paint` over `under`, in place."""
    under += alpha * (paint - under)


def line(distance_nm: Pixels, half_width_nm: float) -> Pixels:
    """Return a soft line: 1 on distance 0, falling like a Gaussian."""
    soft: Pixels = np.exp(-np.square(distance_nm / np.float32(half_width_nm)))
    return soft


def inside(distance_nm: Pixels, edge_nm: float = 4.0) -> Pixels:
    """Return a soft mask: 1 where the signed distance is negative."""
    mask: Pixels = np.clip(0.5 - distance_nm / np.float32(edge_nm), 0, 1)
    return mask


def mitochondrion(sheet: Sheet, y: float, x: float, radius_nm: float, length_nm: float, angle: float) -> None:
    """Paint a bent capsule with two membranes, a grey matrix and cristae across its long axis."""
    rng, (where, dy, dx) = sheet.rng, sheet.patch(y, x, length_nm + radius_nm + 30)
    if not dy.size:
        return
    cosine, sine = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    along, across = dx * cosine + dy * sine, dy * cosine - dx * sine
    across = across + np.float32(rng.normal(0, 0.3) * radius_nm / (length_nm + radius_nm) ** 2) * along * along
    wobble = sheet.noise(dy.shape, 120)
    depth = np.hypot(np.maximum(np.abs(along) - length_nm, 0), across) - radius_nm + 9 * wobble
    grain = sheet.noise(dy.shape, 9)
    matrix = np.float32(rng.uniform(0.38, 0.5)) + 0.035 * grain
    tilt = np.float32(rng.normal(0, 0.5))
    phase = (along + tilt * across + 34 * sheet.noise(dy.shape, 75)) / np.float32(rng.uniform(46, 70))
    fold = np.abs(phase - np.rint(phase)) * 50
    present = np.clip(0.6 + sheet.noise(dy.shape, 60), 0, 1) * inside(depth + 24, 12)
    matrix += present * (0.15 * line(fold, 7) - 0.13 * line(fold - 13, 6))
    matrix += 0.22 * line(depth + 11, 4) - 0.2 * line(depth + 20, 5) - 0.22 * line(depth + 1, 6)
    blend(sheet.image[where], matrix, inside(depth))


def myelin(sheet: Sheet, where: tuple[slice, slice], depth: Pixels, thickness_nm: float) -> None:
    """Paint the sheath of an axon: concentric dark lamellae between `depth` 0 (outside) and `thickness_nm`."""
    repeat = max(12.0, 3.0 * sheet.pixel_nm)
    ripple = depth + 2.5 * sheet.noise(depth.shape, 160)
    contrast = np.clip(0.075 + 0.03 * sheet.noise(depth.shape, 120), 0.02, 0.13)
    sheath = 0.21 + contrast * (1 + np.cos(ripple * np.float32(2 * np.pi / repeat)))
    sheath += 0.012 * sheet.noise(depth.shape, 8)
    blend(sheet.image[where], sheath, inside(-depth) * inside(depth - thickness_nm))
    tongue = line(depth - thickness_nm - 26, 7)
    blend(sheet.image[where], 0.32, 0.75 * tongue)


def vesicles(sheet: Sheet, spots: NDArray[np.float64], radius_nm: float = 20.0, lumen: float = 0.64) -> None:
    """Stamp small round vesicles at (n, 2) pixel positions (y, x): a dark membrane around a `lumen`."""
    for y, x in spots:
        size = radius_nm * sheet.rng.uniform(0.85, 1.15)
        where, dy, dx = sheet.patch(y, x, size + 8)
        if not dy.size:
            continue
        radius = np.hypot(dy * np.float32(sheet.rng.uniform(0.88, 1.14)), dx)
        paint = lumen - (lumen - 0.27) * line(radius - size, 6.5)
        blend(sheet.image[where], paint, inside(radius - size - 5, 8) * np.float32(sheet.rng.uniform(0.6, 0.95)))


def reticulum(sheet: Sheet, path: NDArray[np.float64]) -> None:
    """Draw a cisterna of smooth endoplasmic reticulum along (n, 2) pixels (y, x): two dark lines, a pale lumen."""
    rng, middle = sheet.rng, path.mean(0)
    where, dy, _ = sheet.patch(middle[0], middle[1], float(np.abs(path - middle).max() + 12) * sheet.pixel_nm)
    points = np.rint((path[:, ::-1] - (where[1].start, where[0].start)) * 16).astype(np.int32)[:, None]
    for width_nm, grey in ((rng.uniform(26, 40), rng.uniform(0.3, 0.42)), (12, rng.uniform(0.56, 0.68))):
        mask = np.zeros(dy.shape, np.uint8)
        cv2.polylines(mask, [points], False, 255, max(1, round(width_nm / sheet.pixel_nm)), cv2.LINE_AA, 4)
        soft = cv2.GaussianBlur(mask, (0, 0), 0.8) * np.float32(0.85 / 255)
        blend(sheet.image[where], grey, soft)


def density(
    sheet: Sheet, y: float, x: float, edge_nm: Pixels, cell: NDArray[np.uint8], post: int, length_nm: float
) -> None:
    """Darken the postsynaptic side of a membrane around (y, x).

    `edge_nm` is the distance to the membrane, `post` the value of the postsynaptic side in `cell`; both (y, x) of the
    whole section.
    """
    where, dy, dx = sheet.patch(y, x, length_nm)
    if not dy.size:
        return
    along = np.exp(-((np.hypot(dy, dx) / np.float32(length_nm / 2)) ** 6))
    edge = edge_nm[where]
    ragged = 1 + 0.25 * sheet.noise(dy.shape, 20)
    thick = np.where(cell[where] == post, line(np.maximum(edge - 16, 0), 24) * ragged, 0.55 * line(edge, 14))
    blend(sheet.image[where], 0.2, np.clip(0.8 * along * thick, 0, 0.95).astype(np.float32))


def nucleus(sheet: Sheet, where: tuple[slice, slice], depth: Pixels) -> None:
    """Paint a nucleus where `depth` (nm, signed, negative inside) says: envelope, and chromatin denser at the rim."""
    rim = np.exp(np.minimum(depth, 2000) / 220)
    clumps = sheet.noise(depth.shape, 260) + 0.5 * sheet.noise(depth.shape, 90) + 1.6 * rim
    chromatin = 0.6 - 0.16 / (1 + np.exp(-6 * (clumps - 1.1)))
    chromatin += 0.022 * sheet.noise(depth.shape, 16) + 0.012 * sheet.noise(depth.shape, 7)
    chromatin += 0.1 * line(depth + 18, 9) - 0.3 * line(depth, 7) - 0.26 * line(depth + 36, 7)
    blend(sheet.image[where], chromatin.astype(np.float32), inside(depth - 6))
