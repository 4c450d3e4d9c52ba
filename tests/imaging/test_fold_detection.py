"""Folds are found where they are, and nowhere else."""

import numpy as np
import pytest
from scipy import ndimage

from refocal.core import registry
from refocal.core.values import UNIT, Contrast, Example, Frames
from refocal.imaging import fold_geometry
from refocal.imaging.fold_detection import Search
from refocal.parts.formats import open_image


def tissue(side: int = 360, seed: int = 0) -> np.ndarray:
    """Membranes and dark organelles on grey, contrast units."""
    rng = np.random.default_rng(seed)
    cells = np.abs(ndimage.gaussian_filter(rng.standard_normal((side, side)), 6, mode="wrap"))
    walls = np.exp(-((cells / 0.006) ** 2))
    blobs = ndimage.gaussian_filter(rng.standard_normal((side, side)), 7, mode="wrap") > 0.06
    drawn = 0.6 - 0.35 * walls - 0.3 * ndimage.gaussian_filter(blobs.astype(float), 1)
    return np.clip(drawn + rng.normal(0, 0.03, drawn.shape), 0, 1).astype(np.float32)


def folded(seed: int, **options: object) -> tuple[np.ndarray, Example]:
    flat = tissue(seed=seed)
    rng = np.random.default_rng(seed)
    seen = registry.make("degradations", "fold", **options)(Example(Frames(flat[None], contrast=UNIT), flat), rng)
    noisy = seen.frames.image + rng.normal(0, 0.03, flat.shape)
    return np.clip(noisy, 0, 1).astype(np.float32), seen


@pytest.mark.parametrize("seed", range(8))
def test_a_simulated_fold_is_found_with_its_direction_and_covered(seed: int) -> None:
    image, seen = folded(seed, dark_px=[5.0, 20.0], lost_px=[10.0, 50.0], wave_px=[0.0, 3.0], grey=[0.0, 0.1])
    first = Search()(image)[0]
    (crease,) = seen.hints["folds"]
    (x0, y0), (x1, y1) = crease.points[0], crease.points[-1]
    off = abs(first.angle_deg - np.degrees(np.arctan2(y1 - y0, x1 - x0)) % 180)
    assert min(off, 180 - off) < 2
    dark = seen.hints["dark"]
    assert (first.cover(image.shape) & dark).sum() >= 0.95 * dark.sum()
    assert first.confidence > 0.5


def test_two_crossing_folds_are_both_found() -> None:
    image = tissue()
    image[170:190] = 0.03
    image[:, 90:114] = 0.03
    found = Search()(image)
    assert sorted(round(f.angle_deg) % 180 for f in found) == [0, 90]


@pytest.mark.parametrize("seed", range(6))
def test_tissue_alone_raises_no_alarm(seed: int) -> None:
    assert Search()(tissue(seed=seed)) == []


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((200, 200), np.float32),
        np.full((200, 200), 0.5, np.float32),
        np.zeros((4, 900), np.float32),
        np.zeros((0, 0), np.float32),
        np.full((64, 64), np.nan, np.float32),
    ],
)
def test_what_is_no_section_has_no_folds(image: np.ndarray) -> None:
    assert Search()(image) == []


def test_the_edge_of_the_section_is_no_fold() -> None:
    image = tissue()
    image[:25] = 0
    image[:, :9] = 0
    assert Search()(image) == []


@pytest.mark.parametrize("points", [((-40.0, 80.0), (330.0, 400.0)), ((20.0, -30.0), (190.0, 400.0))])
def test_a_wide_straight_fold_is_straight_and_covered_to_its_corners(points: tuple) -> None:
    image = tissue()
    band = np.abs(fold_geometry.distance(points, *fold_geometry.pixels(image.shape))[0]) <= 24
    image[band] = 0.03
    (found,) = Search()(image)
    (x0, y0), (x1, y1) = found.points
    s, _ = fold_geometry.distance(points, np.array([y0, y1]), np.array([x0, x1]))
    assert np.abs(s).max() < 1.5
    assert found.cover(image.shape)[band].all()


def test_a_bent_fold_is_followed() -> None:
    image, seen = folded(0, dark_px=9.0, lost_px=24.0, bend_px=14.0)
    first = Search()(image)[0]
    assert len(first.points) > 2
    dark = seen.hints["dark"]
    assert (first.cover(image.shape) & dark).sum() >= 0.95 * dark.sum()
    assert first.cover(image.shape).sum() < 2.2 * dark.sum()


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_the_gate_tells_folded_from_flat(dtype: str) -> None:
    contrast = Contrast(1000, 9000) if dtype == "uint16" else Contrast.of(dtype)
    gate = registry.make("gates", "fold")
    grades = [
        gate(Frames(contrast.counts(image, dtype)[None], contrast=contrast)) for image in (folded(1)[0], tissue())
    ]
    assert [g.verdict for g in grades] == ["restore", "keep"]
    assert "half-width" in grades[0].reason


def test_the_real_fold_is_found_and_its_flat_neighbour_is_not(data) -> None:
    images = []
    for name in ("0", "1", "m"):
        with open_image(data / "real" / "folds" / f"DOLW7_{name}.png") as file:
            images.append(file.read().astype(np.float32) / 255)
    assert Search()(images[0]) == []
    found = Search()(images[1])
    covered = np.any([f.cover(images[1].shape) for f in found], axis=0)
    mask = images[2] > 0.5
    assert (covered & mask).sum() > 0.95 * mask.sum()
    assert (covered & ~mask).mean() < 0.06
