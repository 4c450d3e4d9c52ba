"""Drawn bursts with known truth that show what a net does to lines and to empty ground, as numbers.

Wieslander et al. 2021 draw bent lines and spots, and lines in one and in two directions, and degrade them by motion and
noise, to reveal grids, wobble, and lines that were never there. Nets trained on something else are adapted to a probe
before they are judged by it (`refocal.learn.adapt`). Coordinates are (x, y) pixels; grey values are contrast units.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Example, Frames, Pixels, Restorer
from refocal.parts.metrics.grid_artefact import strengths

Kind = Literal["flat", "shapes", "lines", "crossed"]
KINDS: tuple[Kind, ...] = ("flat", "shapes", "lines", "crossed")
"""Empty ground; bent lines and spots; lines in one direction; lines in two."""
ANGLE_DEG, PERIOD_PX, WIDTH_PX = 30.0, 24.0, 4.0
"""Of the lines; 0 is along x, positive towards y."""
_OTHER_DEG = -45.0
_GROUND, _LINE = 0.5, 0.8
_CURVES, _SPOTS, _FINER = 25, 40, 4
_BORDER_PX = 64


@dataclass(frozen=True, slots=True)
class Probe:
    """One drawn burst."""

    kind: Kind
    frames: Frames
    """Float32 in contrast units."""
    truth: Pixels


def draw(kind: Kind, seed: int = 0, side: int = 512, frames: int = 5, noise: float = 0.05) -> Probe:
    """Draw a probe of `side` squared pixels.

    Each frame is moved by up to half a pixel, blurred by 7 to 15 px along y (within 15 degrees), and gets Gaussian
    noise of the standard deviation `noise`; all depends on the seed only.

    Raises
    ------
    BadOptionError
        If there is no such kind, or the side is below 256.
    """
    if kind not in KINDS or side < 4 * _BORDER_PX:
        raise BadOptionError(f"probes are {', '.join(KINDS)} of at least 256 px, got {kind!r} of {side} px")
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    truth = _drawn(kind, side, rng)
    moved = [ndimage.shift(truth, rng.uniform(-0.5, 0.5, 2), order=3, mode="mirror") for _ in range(frames)]
    example = Example(Frames(np.stack(moved), contrast=UNIT), truth)
    for part, options in (
        ("motion", {"length_px": (7.0, 15.0), "bend_deg": 0.0, "walk_px": 0.0, "angle_deg": (75.0, 105.0)}),
        ("gaussian_noise", {"sigma": 255 * noise}),
    ):
        example = registry.make("degradations", part, **options)(example, rng)
    return Probe(kind, replace(example.frames, counts=np.clip(example.frames.counts, 0, 1)), truth)


def judge(restorer: Restorer, kinds: Sequence[Kind] = KINDS, seed: int = 0, side: int = 512) -> Mapping[str, float]:
    """Restore probes and return what is wrong with them.

    `grid_2` ... `grid_16`: strength of grids on the empty ground, about 1 without one (`metrics.grid_artefact`).
    `wobble_px` of straight lines. `shapes_db`, `lines_db`, `crossed_db`: PSNR; lines that were never there cost it.
    The outer 64 px, where nets see padding, do not count.
    """
    found: dict[str, float] = {}
    inner = np.s_[_BORDER_PX:-_BORDER_PX, _BORDER_PX:-_BORDER_PX]
    psnr = registry.load("metrics", "psnr")
    for kind in kinds:
        probe = draw(kind, seed, side)
        got = restorer([probe.frames])[0].counts
        if kind == "flat":
            found |= {f"grid_{period}": strength for period, strength in strengths(got[inner]).items()}
            continue
        if kind == "lines":
            found["wobble_px"] = wobble(got)
        found[f"{kind}_db"] = psnr(got[inner], probe.truth[inner])
    return found


def wobble(image: Pixels, angle_deg: float = ANGLE_DEG, period_px: float = PERIOD_PX) -> float:
    """Return how far bright parallel lines stray from straight ones: root mean square, px.

    The lines are those of the probe `lines`: one passes through the middle of the (y, x) image. Along each one its
    centre is found every pixel, as the centroid of what is brighter than its surroundings over half a period.
    """
    turn = np.deg2rad(angle_deg)
    along, across = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    middle = (np.array(image.shape[::-1]) - 1) / 2
    reach = int(np.hypot(*image.shape) / 2)
    places = np.arange(-reach, reach + 1.0)
    beside = np.arange(-period_px / 4, period_px / 4 + 0.25, 0.5)
    smooth = ndimage.gaussian_filter(image.astype(np.float64), 1.0)
    squares: list[NDArray[np.float64]] = []
    for number in range(-int(reach // period_px), int(reach // period_px) + 1):
        line = middle + number * period_px * across
        points = line[:, None, None] + along[:, None, None] * places[:, None] + across[:, None, None] * beside
        edge = np.array(image.shape[::-1])[:, None, None] - 1 - _BORDER_PX
        inside = ((points >= _BORDER_PX) & (points <= edge)).all((0, 2))
        if inside.sum() < 2 * period_px:
            continue
        profile = ndimage.map_coordinates(smooth, points[::-1, inside], order=1)
        squares.append(_strayed(profile, beside, places[inside]) ** 2)
    return float(np.sqrt(np.mean(np.concatenate(squares)))) if squares else 0.0


def _strayed(
    profile: NDArray[np.float64], beside: NDArray[np.float64], places: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of a line's centres from the straight line through them."""
    weight = np.maximum(profile - profile.min(1, keepdims=True), 0) ** 2
    centre = (weight * beside).sum(1) / np.maximum(weight.sum(1), 1e-12)
    strayed: NDArray[np.float64] = centre - np.polyval(np.polyfit(places, centre, 1), places)
    return strayed


def _drawn(kind: Kind, side: int, rng: np.random.Generator) -> Pixels:
    image = np.full((side, side), _GROUND, np.float32)
    if kind == "shapes":
        return _shapes(side, rng)
    for angle in {"flat": (), "lines": (ANGLE_DEG,), "crossed": (ANGLE_DEG, _OTHER_DEG)}[kind]:
        turn = np.deg2rad(angle)
        y, x = np.indices(image.shape) - (side - 1) / 2
        away = np.abs((y * np.cos(turn) - x * np.sin(turn) + PERIOD_PX / 2) % PERIOD_PX - PERIOD_PX / 2)
        cover = np.clip(0.5 + WIDTH_PX / 2 - away, 0, 1)
        image = np.maximum(image, _GROUND + (_LINE - _GROUND) * cover).astype(np.float32)
    return image


def _shapes(side: int, rng: np.random.Generator) -> Pixels:
    canvas = np.full((side * _FINER, side * _FINER), _GROUND, np.float32)
    t = np.linspace(0, 1, 65)[:, None]
    for _ in range(_CURVES):
        a, b, c = rng.uniform(0, side * _FINER, (3, 2))
        curve = ((1 - t) ** 2 * a + 2 * t * (1 - t) * b + t**2 * c).round().astype(np.int32)
        cv2.polylines(canvas, [curve], False, float(rng.uniform(0.15, 0.85)), round(_FINER * rng.uniform(2, 6)))
    for _ in range(_SPOTS):
        x, y = rng.integers(0, side * _FINER, 2)
        radius = round(_FINER * rng.uniform(3, 12))
        cv2.circle(canvas, (int(x), int(y)), radius, float(rng.uniform(0.15, 0.85)), -1)
    drawn: Pixels = cv2.resize(canvas, (side, side), interpolation=cv2.INTER_AREA)
    return drawn
