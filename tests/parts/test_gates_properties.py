"""What must not move the focus gate, and what must."""

import re

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from drawn import structure
from refocal.core import registry
from refocal.core.values import Contrast, Frames, Grade

SIDE = 256
seeds = st.integers(0, 2**32 - 1)
slopes = st.floats(1.0, 1.4)
few = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, sigma, mode="wrap")


def grade(image: np.ndarray, dtype: type = np.float32) -> Grade:
    if np.issubdtype(dtype, np.integer):
        image = image.round().clip(0, np.iinfo(dtype).max)
    return registry.make("gates", "sharpness")(Frames(image.astype(dtype)[None], contrast=Contrast.of(dtype)))


def sigma(image: np.ndarray) -> float:
    found = grade(image).sigma_px
    assert found is not None
    return found


@few
@example(seed=30151, slope=1.03125, start=0.5, more=1.0)  # nothing coarser than 8 px, where chance looked like shading
@given(seed=seeds, slope=slopes, start=st.floats(0.5, 2.0), more=st.floats(0.5, 1.5))
def test_more_blur_reads_softer(seed: int, slope: float, start: float, more: float) -> None:
    image = structure(seed, SIDE, slope)
    assert sigma(blurred(image, start + more)) > sigma(blurred(image, start))


@few
@given(seed=seeds, slope=slopes, blur=st.floats(0.5, 1.5), noise=st.floats(0, 4))
def test_white_noise_moves_nothing(seed: int, slope: float, blur: float, noise: float) -> None:
    image = blurred(structure(seed, SIDE, slope), blur)
    noisy = image + noise * np.random.default_rng(seed).standard_normal(image.shape)
    # What remains is chance: 256 px a side, 3 standard errors of the finest increment at the largest noise.
    assert sigma(noisy) == pytest.approx(sigma(image), abs=0.3)


@few
@given(seed=seeds, slope=slopes, scale=st.floats(0.1, 50), offset=st.floats(-1000, 1000), noise=st.floats(0, 6))
def test_contrast_and_polarity_change_nothing(
    seed: int, slope: float, scale: float, offset: float, noise: float
) -> None:
    image = blurred(structure(seed, SIDE, slope), 1.5) + noise * np.random.default_rng(seed).standard_normal(
        (SIDE, SIDE)
    )
    first = sigma(image)
    assert sigma(-image) == pytest.approx(first, abs=0.01)
    assert sigma(scale * image + offset) == pytest.approx(first, abs=0.01)


@few
@given(seed=seeds, slope=slopes, across=st.floats(1.5, 2.5))
def test_transposing_swaps_the_axes(seed: int, slope: float, across: float) -> None:
    image = ndimage.gaussian_filter(structure(seed, SIDE, slope), (1.0, across), mode="wrap")
    one, other = grade(image), grade(image.T)
    assert one.anisotropy == pytest.approx(other.anisotropy, abs=1e-3)
    assert one.angle_deg is not None
    assert other.angle_deg is not None
    difference = (one.angle_deg + other.angle_deg - 90) % 180
    assert min(difference, 180 - difference) < 0.5


@few
@given(
    seed=seeds,
    level=st.floats(60, 200),
    noise=st.floats(0, 15),
    gradient=st.tuples(st.floats(-0.1, 0.1), st.floats(-0.1, 0.1)),
    vignette=st.floats(0, 20),
    dtype=st.sampled_from([np.uint8, np.uint16, np.float32]),
)
def test_a_blank_tile_never_alarms(
    seed: int, level: float, noise: float, gradient: tuple[float, float], vignette: float, dtype: type
) -> None:
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    shading = SIDE / 2 * (gradient[0] * y + gradient[1] * x) - vignette * (x**2 + y**2) / 2
    image = level + shading + noise * np.random.default_rng(seed).standard_normal((SIDE, SIDE))
    assert grade(image, dtype).verdict == "no_content"


@few
@given(
    shape=st.tuples(st.integers(1, 70), st.integers(1, 70)),
    dtype=st.sampled_from([np.uint8, np.uint16, np.int16, np.float32, np.float64]),
    values=st.sampled_from([(0, 1), (0, 255), (100, 101), (-5, 5)]),
    seed=seeds,
)
def test_never_raises(shape: tuple[int, int], dtype: type, values: tuple[int, int], seed: int) -> None:
    counts = np.random.default_rng(seed).integers(*values, size=shape).astype(dtype)
    before = counts.copy()
    gate = registry.make("gates", "sharpness")
    frames = Frames(counts[None], contrast=Contrast.of(dtype))
    assert gate(frames) == gate(frames)
    np.testing.assert_array_equal(counts, before)


def tissue(seed: int) -> np.ndarray:
    image = blurred(structure(seed, SIDE, 1.2), 1.0) + 4 * np.random.default_rng(seed).standard_normal((SIDE, SIDE))
    return image.round().clip(0, 255).astype(np.uint8)


def named(image: np.ndarray) -> str:
    return registry.make("gates", "sharpness")(Frames(image[None])).reason.partition("scan fault: ")[2]


@few
@given(seed=seeds, start=st.integers(0, SIDE - 8), rows=st.integers(2, 60), level=st.integers(0, 255))
def test_constant_rows_are_named(seed: int, start: int, rows: int, level: int) -> None:
    image = tissue(seed)
    assert not named(image)
    image[start : start + rows] = level
    count = len(image[start : start + rows])
    assert named(image) == f"{count} rows are constant or missing, from row {start}"


def test_most_shifted_rows_are_named_and_where() -> None:
    found = []
    for seed in range(24):
        image, start, way = tissue(seed), 20 + 9 * seed, (-40, -11, 7, 25)[seed % 4]
        image[start:] = np.roll(image[start:], way, axis=1)
        if said := re.fullmatch(r"rows are shifted by (\d+) px from row (\d+)", named(image)):
            found.append((int(said[1]) - abs(way), int(said[2]) - start))
    assert len(found) >= 18
    assert np.median(np.abs(found), axis=0).max() <= 1
