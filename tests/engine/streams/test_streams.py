"""Streams of any make: frames are found where they lie, windows keep order, crops hold what all frames show."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from refocal.core.errors import UnsupportedError
from refocal.core.values import Contrast
from refocal.imaging import shift_registration
from refocal.imaging.grid_bars import tissue
from refocal.imaging.intensity_window import propose, windowed

SIDE = 224


def world(seed, side=420):
    rng = np.random.default_rng(seed)
    fine, broad = (ndimage.gaussian_filter(rng.standard_normal((side, side)), s) for s in (2.5, 8))
    image = 128 + 45 * fine / fine.std() + 20 * broad / broad.std()
    return image.astype(np.float32)


def frame(image, at, noise, seed):
    """Cut a frame at a fraction of a pixel, blurred alike in all directions, noisy."""
    moved = ndimage.shift(image, (-at[0], -at[1]), order=3, mode="nearest")[100 : 100 + SIDE, 100 : 100 + SIDE]
    noisy = moved + noise * np.random.default_rng(seed).standard_normal(moved.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


@settings(max_examples=12, deadline=None)
@given(st.floats(-90, 90), st.floats(-90, 90), st.floats(0, 20), st.integers(0, 1000))
def test_shifts_up_to_90_px_are_recovered_to_a_twentieth_of_a_pixel(dy, dx, noise, seed):
    image = world(seed % 5)
    one, two = frame(image, (0, 0), noise, seed), frame(image, (dy, dx), noise, seed + 1)
    before = one.copy(), two.copy()
    soft = shift_registration.softened(one), shift_registration.softened(two)
    copies = soft[0].copy(), soft[1].copy()
    shift, likeness = shift_registration.coarse(*soft)
    found = shift_registration.refine(*soft, shift)
    # The frame shows at p + shift what the reference shows at p, so it was taken at minus the shift.
    assert found.shift == pytest.approx((-dy, -dx), abs=0.05)
    assert likeness > 0.5
    for given_, kept in zip((one, two, *soft), (*before, *copies), strict=True):
        np.testing.assert_array_equal(given_, kept)


def test_a_rotation_is_found_where_it_is_asked_for():
    image = world(1)
    turned = ndimage.rotate(image, 1.0, reshape=False, order=3, mode="nearest")
    one, two = (shift_registration.softened(frame(i, (0, 0), 4, 3)) for i in (image, turned))
    warp = shift_registration.refine(one, two, (0.0, 0.0), "euclidean").warp
    assert abs(np.rad2deg(np.arctan2(warp[1, 0], warp[0, 0]))) == pytest.approx(1.0, abs=0.02)
    box = shift_registration.intersection((SIDE, SIDE), [warp])
    seen = shift_registration.resampled(frame(turned, (0, 0), 0, 0), warp, box)
    truth = frame(image, (0, 0), 0, 0)[box.slices]
    assert np.abs(seen - truth).mean() < 2.5


def test_other_places_and_empty_frames_are_refused():
    one, other = (shift_registration.softened(frame(world(seed), (0, 0), 5, seed)) for seed in (1, 2))
    for two in (other, np.zeros_like(one)):
        with pytest.raises(UnsupportedError, match="another place"):
            shift_registration.coarse(one, two)
    with pytest.raises(UnsupportedError, match="registration"):
        shift_registration.refine(one, np.zeros_like(one), (0.0, 0.0))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(-30, 30), st.floats(-30, 30)), max_size=5))
def test_all_frames_show_the_intersection(shifts):
    shape = (48, 40)
    warps = [np.array([[1, 0, dx], [0, 1, dy]], np.float32) for dy, dx in shifts]
    box = shift_registration.intersection(shape, warps)
    for dy, dx in [(0.0, 0.0), *shifts]:
        for axis, shift in ((0, dy), (1, dx)):
            if min(box.shape):
                assert box.start[axis] + shift >= -1e-4
                assert box.stop[axis] - 1 + shift <= shape[axis] - 1 + 1e-4


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 9), st.integers(1, 9))
def test_the_largest_box_is_the_largest(seed, height, width):
    mask = np.random.default_rng(seed).random((height, width)) < 0.7
    boxes = [
        (y, x, b, r)
        for y in range(height) for b in range(y + 1, height + 1)
        for x in range(width) for r in range(x + 1, width + 1)
        if mask[y:b, x:r].all()
    ]  # fmt: skip
    best = max(((b - y) * (r - x) for y, x, b, r in boxes), default=0)
    box = shift_registration.largest_box(mask)
    assert box.shape[0] * box.shape[1] == best
    assert mask[box.slices].all()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["uint8", "uint16", "int16", "float32"]), st.booleans())
def test_a_proposed_window_holds_the_specimen_and_blackens_the_bars(seed, dtype, bars):
    rng = np.random.default_rng(seed)
    low, span = {"uint8": (20, 200), "uint16": (300, 3500), "int16": (-900, 1500), "float32": (-2.0, 9.0)}[dtype]
    unit = 0.55 + 0.1 * ndimage.gaussian_filter(rng.standard_normal((96, 96)), 3) / 0.1 * 0.5
    unit = np.clip(unit + 0.04 * rng.standard_normal(unit.shape), 0.3, 1)
    if bars:
        unit[:16] = np.clip(0.01 + 0.02 * rng.standard_normal((16, 96)), 0, 1)
    counts = (low + span * unit).astype(dtype)
    window = propose([counts])
    eight = windowed(counts, window)
    assert eight.dtype == np.uint8
    assert (eight == 255).mean() <= 0.03
    if bars:
        assert (eight[:16] == 0).mean() > 0.9
        assert (eight[16:] == 0).mean() < 0.05
    order = np.argsort(counts, axis=None)
    assert (np.diff(eight.ravel()[order].astype(int)) >= 0).all()


def test_frames_of_one_value_propose_no_window():
    with pytest.raises(ValueError, match="grey value"):
        propose([np.zeros((32, 32), np.uint16)])


def test_windows_do_not_care_for_the_sign_of_counts():
    counts = np.arange(-500, 500, dtype=np.int16).reshape(20, 50)
    assert windowed(counts, Contrast(-500, 499))[0, 0] == 0
    assert windowed(counts, Contrast(-500, 499))[-1, -1] == 255


def test_the_grid_mask_ignores_specks_and_its_erosion_is_that_of_two_discs():
    eight = np.full((160, 160), 90, np.uint8)
    eight[:40] = 0
    eight[100, 70] = 0  # a dark pixel of the tissue
    eight[10, 10] = 80  # a bright one of the bar
    mask = tissue(eight)
    assert not mask[:40].any()
    assert mask[40:].all()
    radius = 9
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    disc = y**2 + x**2 <= radius**2
    eroded = ndimage.binary_erosion(mask, disc, 2, border_value=1)
    ours = tissue(eight, 2 * radius)
    assert (eroded != ours).mean() < 0.01
    assert tissue(np.full((64, 64), 5, np.uint8), 1000).all()
