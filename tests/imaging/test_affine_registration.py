"""A known affine map, blur, gain and noise are found again; what shows another field is not taken for the same."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from refocal.core.errors import UnsupportedError
from refocal.imaging.affine_registration import Fit, inner, moved, register

SIDE, EDGE = 192, 32


def drawn(seed: int, side: int) -> np.ndarray:
    """Cells of several sizes, without noise."""
    rng = np.random.default_rng(seed)
    layers = [ndimage.gaussian_filter(rng.standard_normal((side, side)), width) for width in (1.2, 3, 8)]
    return sum((90 + 40 * np.tanh(3 * layer / layer.std()) for layer in layers), np.zeros(())) / 3


def recorded(seed: int, linear: np.ndarray, shift: np.ndarray, sigma_px: float, noise: float):
    """Return a sharp image, a soft one of the same field under an affine map, and the map; spline interpolation."""
    rng = np.random.default_rng(seed)
    field = drawn(seed, SIDE + 2 * EDGE)
    centre = np.full(2, (SIDE - 1) / 2)
    offset = centre - linear @ centre + shift
    # SciPy's coordinates are (y, x); the field begins EDGE pixels before the images.
    flip = linear[::-1, ::-1]
    soft = ndimage.affine_transform(field, flip, (offset + EDGE - linear @ np.full(2, EDGE))[::-1], order=5)
    soft = 0.8 * ndimage.gaussian_filter(soft, sigma_px) + 15
    sharp, soft = (i[EDGE:-EDGE, EDGE:-EDGE] + noise * rng.standard_normal((SIDE, SIDE)) for i in (field, soft))
    return sharp.astype(np.float32), soft.astype(np.float32), np.column_stack([linear, offset])


def apart_px(one: np.ndarray, other: np.ndarray) -> float:
    """Return how far two maps send places apart, root mean square over corners, edges and centre."""
    places = np.array([[x, y, 1] for x in (0, SIDE / 2, SIDE) for y in (0, SIDE / 2, SIDE)])
    return float(np.sqrt(np.square(places @ (one - other).T).sum(1).mean()))


@settings(max_examples=8, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 1000),
    stretch=st.tuples(*[st.floats(-0.02, 0.02)] * 3),
    degrees=st.floats(-1.5, 1.5),
    shift=st.tuples(*[st.floats(-12, 12)] * 2),
    sigma_px=st.floats(1, 3),
)
def test_a_known_map_is_found_again(seed, stretch, degrees, shift, sigma_px) -> None:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    linear = turn @ np.array([[1 + stretch[0], stretch[2]], [0, 1 + stretch[1]]])
    sharp, soft, matrix = recorded(seed, linear, np.array(shift), sigma_px, noise=5)
    fit = register(sharp, soft)
    assert apart_px(fit.matrix, matrix) < 0.2
    assert fit.residual < 0.05
    assert fit.blur_px == pytest.approx(sigma_px, abs=0.6)
    assert fit.gain == pytest.approx(0.8, abs=0.04)
    assert fit.local_px < 0.5
    assert fit.scale == pytest.approx((1 + stretch[0], 1 + stretch[1]), abs=5e-3)
    assert fit.rotation_deg == pytest.approx(degrees, abs=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_another_field_is_no_match(seed: int) -> None:
    noise = np.random.default_rng(seed).standard_normal((2, SIDE, SIDE)) * 6
    one, other = ((drawn(s, SIDE) + n).astype(np.float32) for s, n in zip((seed, seed + 50), noise, strict=True))
    try:
        residual = register(one, other).residual
    except UnsupportedError:
        residual = 1.0  # it did not even converge
    assert residual > 0.5


def test_the_moved_image_lies_on_the_soft_one_and_is_still_sharp() -> None:
    sharp, soft, _ = recorded(3, np.array([[1.01, 0.004], [-0.006, 0.995]]), np.array([5.3, -7.6]), 2.0, noise=0)
    fit = register(sharp, soft)
    part = inner(fit.matrix, soft.shape)
    assert 0.8 * SIDE**2 < part.area < (SIDE - 4) * (SIDE - 6)
    box = (slice(part.top, part.bottom), slice(part.left, part.right))
    truth = moved(sharp, fit)
    again = cv2.GaussianBlur(truth, (0, 0), 2.0)
    assert np.abs(again - soft)[box][8:-8, 8:-8].mean() < 0.5
    detail = [np.abs(np.diff(image[box], axis=1)).mean() for image in (truth / fit.gain, sharp, soft / fit.gain)]
    assert detail[0] > 0.95 * detail[1] > 1.5 * detail[2]


def test_the_rectangle_reads_nothing_outside_of_the_sharp_image() -> None:
    matrix = np.array([[0.99, 0.03, 4.0], [-0.02, 1.01, -6.0]])
    part = inner(matrix, (100, 140))
    rows, columns = np.mgrid[part.top : part.bottom, part.left : part.right]
    x, y = matrix[:, :2] @ np.stack([columns.ravel(), rows.ravel()]) + matrix[:, 2:]
    assert 3.99 <= x.min() <= x.max() <= 135.01
    assert 3.99 <= y.min() <= y.max() <= 95.01
    assert part.area > 0.8 * 100 * 140
    assert inner(np.array([[1.0, 0, 500], [0, 1, 0]]), (100, 140)).area == 0


def test_shear_and_scale_are_read_off_the_map() -> None:
    fit = Fit(np.array([[1.02, 0.03, 0], [0, 0.98, 0]]), 0.0, 0.0, 0.0, 1.0, 0.0)
    assert fit.scale == pytest.approx((1.02, 0.98))
    assert fit.shear == pytest.approx(0.03 / np.hypot(0.03, 0.98))
    assert fit.rotation_deg == 0


@pytest.mark.parametrize(
    ("sharp", "soft", "words"),
    [
        (np.ones((64, 64)), np.ones((64, 65)), "sizes differ: .*64x64.*64x65"),
        (np.ones((20, 64)), np.ones((20, 64)), "too small"),
        (np.ones((64, 64)), np.eye(64), "flat"),
        (np.full((64, 64), np.nan), np.eye(64), "finite"),
    ],
)
def test_what_cannot_be_registered_is_said(sharp: np.ndarray, soft: np.ndarray, words: str) -> None:
    with pytest.raises(UnsupportedError, match=words) as caught:
        register(sharp.astype(np.float32), soft.astype(np.float32))
    assert "\n" not in str(caught.value)
