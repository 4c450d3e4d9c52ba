"""Degradations against physics and against independent references."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, signal
from skimage.measure import moments_central

from refocal.core import registry
from refocal.core.values import UNIT, Example, Frames
from refocal.parts.degradations import _psf

WIDTHS = st.floats(0.6, 8.0)


def make(kind, **options):
    return registry.make("degradations", kind, **options)


def seen(image, kind, seed=0, pixel_nm=None, **options):
    image = np.asarray(image, np.float32)
    example = Example(Frames(image[None], contrast=UNIT, pixel_nm=pixel_nm), image)
    return make(kind, **options)(example, np.random.default_rng(seed))


def tissue(shape=(96, 80), seed=1, smooth=1.5):
    image = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(shape), smooth)
    return np.clip(0.5 + 0.2 * image / image.std(), 0.05, 0.95).astype(np.float32)


def covariance(kernel):
    """The (x, y) covariance of a kernel, by another package's moments."""
    m = moments_central(kernel, order=2) / kernel.sum()
    return np.array([[m[0, 2], m[1, 1]], [m[1, 1], m[2, 0]]])


def sigma(kernel):
    return np.sqrt(np.trace(covariance(kernel)) / 2)


def is_kernel(kernel):
    assert kernel.ndim == 2
    assert kernel.shape[0] == kernel.shape[1]
    assert kernel.shape[0] % 2 == 1
    assert kernel.min() >= 0
    assert kernel.sum() == pytest.approx(1, abs=1e-9)


@given(WIDTHS)
@settings(max_examples=25, deadline=None)
def test_gaussian_and_disc_have_the_width_that_was_asked_for(width):
    for kernel in (_psf.gaussian(np.eye(2) * width**2), _psf.disc(width)):
        is_kernel(kernel)
        assert sigma(kernel) == pytest.approx(width, rel=0.02)
        assert _psf.width(kernel) == pytest.approx(sigma(kernel), rel=1e-6)


@given(st.floats(0, 8), st.booleans(), st.floats(0.5, 100), st.floats(0.5, 30), st.floats(1, 30))
@settings(max_examples=5, deadline=None)
def test_every_wave_is_a_kernel(width, under, pixel_nm, energy_kv, alpha_mrad):
    signed = -width if under else width
    kernel = _psf.wave(signed, 0.3, 20, pixel_nm=pixel_nm, energy_kv=energy_kv, alpha_mrad=alpha_mrad)
    is_kernel(kernel)


def test_wave_tends_to_the_geometric_disc_at_large_defocus():
    for width in (6.0, -6.0, 16.0):
        kernel = _psf.wave(width)
        assert sigma(kernel) == pytest.approx(abs(width), rel=0.05)
        r = kernel.shape[0] // 2
        y, x = np.mgrid[-r : r + 1, -r : r + 1]
        assert kernel[np.hypot(x, y) <= 2 * abs(width) + 1.5].sum() > 0.93
        inner = kernel[np.hypot(x, y) <= np.sqrt(2) * abs(width)].sum()
        assert inner == pytest.approx(0.5, abs=0.08)  # half of the area holds half of the electrons


def test_wave_in_focus_is_limited_by_diffraction_at_the_aperture():
    # The radius that holds half of the electrons of an Airy disc is 0.535 * 0.5 wavelength / aperture, from its
    # encircled energy 1 - J0^2 - J1^2 = 1/2 at v = 1.66 (Born and Wolf, 8.5.2).
    energy, alpha, pixel = 1.5, 1.0, 2.0
    wavelength = 1.2264 / np.sqrt(1500 * (1 + 0.978e-6 * 1500))
    kernel = _psf.wave(0, pixel_nm=pixel, energy_kv=energy, alpha_mrad=alpha, energy_spread_ev=0, source_px=0)
    r = kernel.shape[0] // 2
    y, x = np.mgrid[-r : r + 1, -r : r + 1] * pixel
    half = 1.66 * wavelength / (2 * np.pi * alpha * 1e-3)
    assert kernel[np.hypot(x, y) <= half].sum() == pytest.approx(0.5, abs=0.08)


def test_coma_is_one_sided_and_stays_centred():
    kernel = _psf.wave(0.3, coma_px=15, angle_deg=0)
    is_kernel(kernel)
    r = kernel.shape[0] // 2
    x = np.arange(-r, r + 1)
    across, down = kernel.sum(0), kernel.sum(1)
    assert abs((across * x).sum()) < 0.4
    assert abs((across * x**3).sum()) > 20 * abs((down * x**3).sum()) + 1


def test_pixel_size_and_beam_reach_the_wave_optical_probe():
    image = tissue()
    coarse, fine = (seen(image, "defocus", profile="wave", sigma_px=1, pixel_nm=p) for p in (10.0, 2.0))
    assert sigma(coarse.hints["kernel"]) < sigma(fine.hints["kernel"])
    slow, fast = (seen(image, "defocus", profile="wave", sigma_px=0, energy_kv=e) for e in (0.5, 30))
    assert sigma(fast.hints["kernel"]) < sigma(slow.hints["kernel"])


@pytest.mark.parametrize("profile", ["gaussian", "disc", "wave"])
@pytest.mark.parametrize("width", [0.3, 2.0, 5.0])
def test_blur_keeps_constants_and_the_mean(profile, width):
    constant = seen(np.full((40, 50), 0.3), "defocus", sigma_px=width, profile=profile).frames.counts
    np.testing.assert_allclose(constant, 0.3, atol=1e-5)
    image = np.full((128, 128), 0.25, np.float32)
    image[50:78, 50:78] = tissue((28, 28))
    blurred = seen(image, "defocus", sigma_px=width, profile=profile).frames.counts
    assert blurred.mean() == pytest.approx(image.mean(), rel=1e-3)


def test_defocus_is_scipys_gaussian():
    image = tissue()
    blurred = seen(image, "defocus", sigma_px=2.0).frames.image
    np.testing.assert_allclose(blurred, ndimage.gaussian_filter(image, 2.0, mode="mirror"), atol=2e-4)


@given(WIDTHS, st.floats(0.2, 0.8), st.floats(0, 180))
@settings(max_examples=25, deadline=None)
def test_astigmatism_turns_by_90_degrees_with_the_sign_of_defocus(d, share, angle):
    a = share * d
    over, under = (
        seen(np.zeros((3, 3)), "astigmatism", defocus_px=s * d, astigmatism_px=a, angle_deg=angle).hints["kernel"]
        for s in (1, -1)
    )
    is_kernel(over)
    quarter = np.array([[0, -1], [1, 0]])
    np.testing.assert_allclose(covariance(under), quarter @ covariance(over) @ quarter.T, atol=1e-3 * d**2)
    if d - a > 0.6:  # narrower Gaussians are not resolved by the pixels
        np.testing.assert_allclose(np.linalg.eigvalsh(covariance(over)), [(d - a) ** 2, (d + a) ** 2], rtol=0.05)
        long = np.linalg.eigh(covariance(over))[1][:, 1]
        turn = np.deg2rad(angle)
        assert abs(long @ [np.cos(turn), np.sin(turn)]) == pytest.approx(1, abs=0.01)


def test_astigmatism_is_isotropic_in_focus():
    kernel = seen(np.zeros((3, 3)), "astigmatism", defocus_px=0, astigmatism_px=2, angle_deg=33).hints["kernel"]
    np.testing.assert_allclose(covariance(kernel), 4 * np.eye(2), atol=0.01)


@pytest.mark.parametrize("profile", ["gaussian", "disc"])
@pytest.mark.parametrize("signed", [1.7, -1.7, 0.0])
def test_field_defocus_without_a_gradient_is_defocus(profile, signed):
    image = tissue()
    field = seen(image, "field_defocus", defocus_px=signed, tilt_px=0, curvature_px=0, profile=profile)
    kernel = _psf.disc(abs(signed)) if profile == "disc" else _psf.gaussian(np.eye(2) * signed**2)
    np.testing.assert_allclose(field.frames.image, _psf.convolve(image, kernel), atol=1e-6)
    np.testing.assert_allclose(field.hints["sigma_map"], abs(signed), rtol=1e-6)
    assert field.hints["sigma_px"] == pytest.approx(abs(signed))


def test_field_defocus_has_the_width_of_its_map_everywhere():
    points = np.zeros((129, 129), np.float32)
    points[16::32, 16::32] = 1
    field = seen(points, "field_defocus", defocus_px=2.0, tilt_px=2.0, curvature_px=0.5, seed=3)
    for y in range(16, 129, 32):
        for x in range(16, 129, 32):
            spot = field.frames.image[y - 16 : y + 17, x - 16 : x + 17]
            assert sigma(spot) == pytest.approx(field.hints["sigma_map"][y, x], rel=0.06)


def test_field_defocus_passes_through_focus():
    field = seen(tissue((64, 64)), "field_defocus", defocus_px=0, tilt_px=6, curvature_px=0, angle_deg=0)
    np.testing.assert_allclose(field.hints["sigma_map"][5], np.abs(np.arange(64) - 31.5) / 64 * 6, atol=1e-5)


@pytest.mark.parametrize("level", [2.0, 15.0])
def test_gaussian_noise_has_the_stated_sigma(level):
    noisy = seen(np.full((256, 256), 0.5), "gaussian_noise", sigma=level)
    assert noisy.frames.counts.std() * 255 == pytest.approx(level, rel=0.02)
    assert noisy.frames.counts.mean() == pytest.approx(0.5, abs=2e-3)
    assert noisy.hints["noise"] == pytest.approx(level)


@pytest.mark.parametrize(("electrons", "fano", "level"), [(50, 1, 0.5), (700, 1.7, 0.8), (300, 2, 0.1)])
def test_shot_noise_variance_is_fano_times_mean_over_electrons(electrons, fano, level):
    counted = seen(np.full((300, 300), level), "shot_noise", electrons=electrons, fano=fano)
    assert counted.frames.counts.mean() == pytest.approx(level, rel=0.01)
    assert counted.frames.counts.var() == pytest.approx(fano * level / electrons, rel=0.03)
    assert counted.hints["noise"] == pytest.approx(255 * np.sqrt(fano * level / electrons), rel=1e-3)


def test_gran_protocol_is_the_papers_kernel_and_noise():
    image = tissue((160, 150))
    r = np.arange(-12, 13)
    kernel = np.exp(-(r[:, None] ** 2 + r[None, :] ** 2) / (2 * 1.6**2))
    kernel /= kernel.sum()
    expected = ndimage.correlate(image.astype(float), kernel, mode="mirror")
    degraded = seen(image, "gran_protocol", round_to_8_bit=False)
    np.testing.assert_allclose(degraded.hints["kernel"], kernel, atol=1e-5)
    noise = (degraded.frames.image - expected) * 255
    assert noise.std() == pytest.approx(2, rel=0.03)
    assert abs(noise.mean()) < 0.05
    assert abs(np.corrcoef(noise[:, 1:].ravel(), noise[:, :-1].ravel())[0, 1]) < 0.03
    np.testing.assert_allclose(_psf.convolve(image, kernel), expected, atol=1e-5)
    rounded = seen(image, "gran_protocol").frames.image * 255
    np.testing.assert_allclose(rounded, np.clip(np.rint(degraded.frames.image * 255), 0, 255), atol=1e-4)


@pytest.mark.parametrize("memory", [0.0, 0.3, 0.6])
def test_bandwidth_is_the_one_pole_filter(memory):
    image = tissue((20, 120))
    slow = seen(image, "bandwidth", memory=memory, delayed=True).frames.image
    expected = signal.lfilter([1 - memory], [1, -memory], image, axis=1)
    np.testing.assert_allclose(slow[:, 30:], expected[:, 30:], atol=1e-3)
    smooth = tissue((20, 120), smooth=4)
    prompt = seen(smooth, "bandwidth", memory=memory).frames.image
    delays = [np.abs(prompt[:, 20:-20] - np.roll(smooth, d, 1)[:, 20:-20]).mean() for d in (-1, 0, 1)]
    assert np.argmin(delays) == 1
    np.testing.assert_allclose(seen(np.full((4, 40), 0.4), "bandwidth", memory=memory).frames.image, 0.4, atol=1e-5)


def test_bandwidth_tells_what_is_left_of_the_noise():
    steps = [{"kind": "gaussian_noise", "sigma": 10}, {"kind": "bandwidth", "memory": 0.5}]
    slow = seen(np.full((256, 256), 0.5), "chain", steps=steps)
    assert slow.frames.counts.std() * 255 == pytest.approx(slow.hints["noise"], rel=0.02)


@pytest.mark.parametrize(
    ("kind", "options"),
    [("drift", {"drift_px": 6, "settle_px": 4}), ("jitter", {"shift_px": 0.5}), ("vibration", {"amplitude_px": 2})],
)
def test_the_displacement_tells_where_every_pixel_was_taken(kind, options):
    y, x = np.mgrid[:96, :80].astype(np.float32)
    moved = seen(x + 0.5 * y, kind, seed=4, **options)
    down, across = moved.hints["displacement_px"][0]
    expected = (x + across) + 0.5 * (y + down)
    inner = np.s_[20:-20, 20:-20]
    np.testing.assert_allclose(moved.frames.image[inner], expected[inner], atol=0.02)
    assert np.abs(moved.hints["displacement_px"]).max() > 0.1


def test_displacements_add_up():
    y, x = np.mgrid[:96, :96].astype(np.float32)
    steps = [{"kind": "drift", "drift_px": 6, "settle_px": 0}, {"kind": "drift", "drift_px": 6, "settle_px": 0}]
    moved = seen(x * y / 96, "chain", steps=steps)
    down, across = moved.hints["displacement_px"][0]
    inner = np.s_[15:-15, 15:-15]
    np.testing.assert_allclose(moved.frames.image[inner], ((y + down) * (x + across) / 96)[inner], atol=0.02)


def test_jitter_moves_whole_rows_by_the_stated_sigma():
    shifts = seen(np.zeros((4000, 2)), "jitter", shift_px=0.5, correlation=0.6).hints["displacement_px"][0]
    assert not shifts[0].any()
    assert np.ptp(shifts[1], axis=1).max() == 0
    rows = shifts[1, :, 0]
    assert rows.std() == pytest.approx(0.5, rel=0.06)
    assert np.corrcoef(rows[1:], rows[:-1])[0, 1] == pytest.approx(0.6, abs=0.05)


def test_vibration_stays_within_its_amplitude_and_follows_the_mains():
    options = {"amplitude_px": 1.5, "tones": 0, "mains_hz": 50, "dwell_ns": 200, "line_px": 3128}
    field = seen(np.zeros((640, 4)), "vibration", **options).hints["displacement_px"][0]
    length = np.hypot(*field)
    assert length.max() == pytest.approx(1.5, rel=0.02)
    rows = field[np.abs(field).max((1, 2)).argmax(), :, 0]
    period = 1 / 50 / (200e-9 * 3128)
    peak = np.abs(np.fft.rfft(rows)).argmax()
    assert 640 / peak == pytest.approx(period, rel=0.06)


def test_drift_keeps_the_middle_and_shears_by_its_way():
    field = seen(np.zeros((101, 60)), "drift", drift_px=10, settle_px=0, angle_deg=0).hints["displacement_px"][0]
    assert np.abs(field[:, 50, 30]).max() < 0.02
    assert np.ptp(field[1]) == pytest.approx(10, rel=0.02)
    assert np.abs(field[0]).max() < 1e-6


@given(st.floats(0, 20), st.floats(0, 90), st.floats(0, 2), st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_motion_is_a_centred_kernel(length, bend, walk, seed):
    image = np.full((5, 5), 0.5)
    moved = seen(image, "motion", seed=seed, length_px=length, bend_deg=bend, walk_px=walk)
    kernel = moved.hints["kernel"]
    is_kernel(kernel)
    r = kernel.shape[0] // 2
    axis = np.arange(-r, r + 1)
    assert abs((kernel.sum(0) * axis).sum()) < 1e-6
    assert abs((kernel.sum(1) * axis).sum()) < 1e-6
    np.testing.assert_allclose(moved.frames.image, 0.5, atol=1e-5)


def test_straight_motion_is_a_line_of_its_length():
    kernel = seen(np.zeros((3, 3)), "motion", length_px=12, bend_deg=0, walk_px=0, angle_deg=30).hints["kernel"]
    values, vectors = np.linalg.eigh(covariance(kernel))
    assert values[1] == pytest.approx(12**2 / 12, rel=0.03)
    assert values[0] < 0.3  # splitting a position between pixels widens the line by less than a pixel
    assert abs(vectors[:, 1] @ [np.cos(np.pi / 6), np.sin(np.pi / 6)]) == pytest.approx(1, abs=0.01)


def test_charging_trails_along_x_only_behind_the_structure():
    image = np.full((65, 200), 0.3, np.float32)
    image[28:37, 60:70] = 0.8
    for sign in (1, -1):
        halo = seen(image, "charging", amplitude=20, decay_px=20, sign=sign).hints["halo"][0] * 255 * sign
        behind, before = halo[32, 72:90], halo[32, 30:58]
        assert behind.min() > 1.0
        assert behind.max() < 20
        assert (np.diff(behind) < 0).all()
        assert np.abs(before).max() < 0.5 * behind.min() + 1.0
        assert np.abs(halo[:15]).max() < 2


def test_charging_leaves_an_empty_field_alone():
    empty = seen(np.full((50, 60), 0.4), "charging", amplitude=20, deflection_px=2)
    np.testing.assert_allclose(empty.frames.counts, 0.4, atol=1e-5)


def test_stripes_change_rows_as_stated():
    striped = seen(np.full((3000, 3), 0.5), "stripes", offset=3, gain=0, correlation=0)
    rows = striped.frames.image
    assert np.ptp(rows, axis=1).max() < 1e-6
    assert rows[:, 0].std() * 255 == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(striped.hints["row_offset"][0], rows[:, 0] - 0.5, atol=1e-6)
    gained = seen(np.full((3000, 3), 0.5), "stripes", offset=0, gain=0.02, correlation=0).frames.image
    assert gained[:, 0].std() / 0.5 == pytest.approx(0.02, rel=0.05)


def test_background_is_smooth_and_bounded():
    image = tissue((80, 90))
    lit = seen(image, "background", unevenness=0.1, vignetting=0.2)
    gain = lit.hints["gain_map"]
    np.testing.assert_allclose(lit.frames.image, image * gain, rtol=1e-5)
    assert 0.7 < gain.min() <= gain.max() < 1.11
    assert np.abs(np.diff(gain, axis=1)).max() < 0.02
    same = seen(image, "background", unevenness=0, vignetting=0, gain=1).frames.image
    np.testing.assert_allclose(same, image)


@pytest.mark.parametrize("fault", ["shifted", "constant", "missing"])
def test_a_scan_fault_spoils_its_rows_and_no_others(fault):
    image = tissue()
    spoilt = seen(image, "scan_fault", fault=fault, rows=9, shift_px=20)
    lost = spoilt.hints["lost"]
    assert lost.all(1).sum() == 9 == lost.any(1).sum()
    np.testing.assert_array_equal(spoilt.frames.image[~lost], image[~lost])
    rows = spoilt.frames.image[lost]
    if fault == "missing":
        assert not rows.any()
        assert lost[0].all() or lost[-1].all()
    elif fault == "constant":
        assert np.ptp(rows) == 0
    else:
        first, moved = image[lost].reshape(9, -1), rows.reshape(9, -1)
        assert np.array_equal(moved[:, 20:], first[:, :-20]) or np.array_equal(moved[:, :-20], first[:, 20:])


def test_quantise_rounds_and_clips_to_the_levels():
    values = np.array([[-0.2, 0.0, 0.5001, 1.0, 1.4]], np.float32)
    np.testing.assert_allclose(seen(values, "quantise", bits=8).frames.image * 255, [[0, 0, 128, 255, 255]], atol=1e-4)


def test_the_blurs_of_a_chain_add_up_in_the_hints():
    steps = [{"kind": "defocus", "sigma_px": 1.5}, {"kind": "defocus", "sigma_px": 2.0}]
    image = tissue()
    both = seen(image, "chain", steps=steps)
    assert both.hints["sigma_px"] == pytest.approx(2.5)
    is_kernel(both.hints["kernel"])
    assert sigma(both.hints["kernel"]) == pytest.approx(2.5, rel=0.01)
    once = seen(image, "defocus", sigma_px=2.5).frames.image
    np.testing.assert_allclose(both.frames.image[15:-15, 15:-15], once[15:-15, 15:-15], atol=2e-3)


def test_a_chain_draws_probabilities_and_choices_as_stated():
    stamp = [{"kind": "quantise", "offset": 255}, {"kind": "quantise", "offset": -255}]
    chain = make("chain", steps=[{"choice": stamp, "weights": [3, 1], "probability": 0.5}])
    image = np.full((1, 1), 0.5, np.float32)
    example = Example(Frames(image[None], contrast=UNIT), image)
    rng = np.random.default_rng(0)
    results = [float(chain(example, rng).frames.counts[0, 0, 0]) for _ in range(4000)]
    assert np.mean(np.equal(results, 0.5)) == pytest.approx(0.5, abs=0.03)
    assert np.mean(np.equal(results, 1.0)) == pytest.approx(0.375, abs=0.03)


@pytest.mark.parametrize("width", [0.0, 1.0, [0.5, 3.0]])
def test_sem_acquisition_keeps_to_its_blur_and_tells_its_noise(width):
    image = tissue((64, 64))
    low, high = (width, width) if isinstance(width, float) else width
    for seed in range(25):
        taken = seen(image, "sem_acquisition", seed=seed, sigma_px=width)
        assert 0.3 * low <= taken.hints["sigma_px"] <= 1.2 * high + 1e-6
        assert 0.5 < taken.hints["noise"] < 40
        levels = taken.frames.counts * 255
        np.testing.assert_allclose(levels, np.rint(levels), atol=1e-3)


def test_sem_acquisition_measures_the_noise_that_it_tells():
    image = np.full((128, 128), 0.5, np.float32)
    for seed in range(4):
        taken = seen(image, "sem_acquisition", seed=seed, charging=0, geometry=0)
        across_rows = taken.frames.image - taken.frames.image.mean(1, keepdims=True)
        assert across_rows.std() * 255 == pytest.approx(taken.hints["noise"], rel=0.05, abs=0.1)
