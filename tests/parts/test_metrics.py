"""Every metric: truth beats spoilt images, independent references agree, shapes that differ are refused."""

import numpy as np
import pytest
from scipy import ndimage

from metric_kinds import OF_IMAGES
from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.testing import MetricContract, metrics


class TestEveryMetric(MetricContract):
    kinds = OF_IMAGES


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return metrics.truth()


@pytest.fixture(scope="module")
def spoilt() -> np.ndarray:
    return metrics.worse()


@pytest.mark.parametrize("kind", ["ssim", "ms_ssim", "frc"])
def test_too_small_is_refused(kind: str) -> None:
    tiny = np.zeros((8, 64), np.float32)
    with pytest.raises(BadOptionError, match="at least"):
        registry.load("metrics", kind)(tiny, tiny)


def test_psnr_and_ssim_agree_with_scikit_image(truth: np.ndarray, spoilt: np.ndarray) -> None:
    reference = pytest.importorskip("skimage.metrics")
    psnr, ssim = registry.load("metrics", "psnr"), registry.load("metrics", "ssim")
    assert psnr(spoilt, truth) == pytest.approx(
        reference.peak_signal_noise_ratio(truth, spoilt, data_range=1), abs=1e-4
    )
    expected = reference.structural_similarity(
        truth.astype(float),
        spoilt.astype(float),
        data_range=1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    assert ssim(spoilt, truth) == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_agrees_with_torchmetrics(truth: np.ndarray, spoilt: np.ndarray) -> None:
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("torchmetrics.functional.image")
    a, b = (torch.from_numpy(v)[None, None].double() for v in (spoilt, truth))
    expected = float(image.multiscale_structural_similarity_index_measure(a, b, data_range=1.0, normalize=None))
    assert registry.load("metrics", "ms_ssim")(spoilt, truth) == pytest.approx(expected, abs=2e-3)


def test_frc_finds_the_frequency_at_which_noise_takes_over(truth: np.ndarray) -> None:
    frc = registry.load("metrics", "frc")
    rng = np.random.default_rng(5)
    spectrum = np.fft.rfft2(truth)
    frequency = np.hypot(np.fft.fftfreq(300)[:, None], np.fft.rfftfreq(384)[None])
    other = np.fft.rfft2(truth.std() * rng.standard_normal(truth.shape))
    cut = np.fft.irfft2(np.where(frequency < 0.2, spectrum, other), s=truth.shape)
    assert frc(cut.astype(np.float32), truth) == pytest.approx(0.2, abs=0.01)
    assert frc(truth, truth) == 0.5
    assert frc(rng.random(truth.shape).astype(np.float32), truth) < 0.05


def test_seam_sees_borders_only_at_its_spacing(truth: np.ndarray) -> None:
    seam = registry.load("metrics", "seam")
    rng = np.random.default_rng(6)
    noisy = truth + 0.02 * rng.standard_normal(truth.shape).astype(np.float32)
    stepped = noisy.copy()
    stepped[100:] += 0.1
    assert seam(truth, truth) == 1
    assert seam(noisy, truth, spacing=100) == pytest.approx(1, abs=0.1)
    assert seam(stepped, truth, spacing=100) > 1.5
    assert seam(stepped, truth, spacing=64) == pytest.approx(1, abs=0.15)
    with pytest.raises(BadOptionError, match="spacing"):
        seam(truth, truth, spacing=1)


def test_equal_images_are_perfect(truth: np.ndarray) -> None:
    scores = {kind: registry.load("metrics", kind)(truth, truth) for kind in ("psnr", "ssim", "ms_ssim")}
    assert scores == {"psnr": np.inf, "ssim": pytest.approx(1), "ms_ssim": pytest.approx(1)}


def test_fid_is_the_distance_of_two_normal_distributions() -> None:
    from refocal.parts.metrics.fid import frechet

    linalg = pytest.importorskip("scipy.linalg")
    rng = np.random.default_rng(7)
    one, two = rng.standard_normal((400, 5)) @ rng.standard_normal((5, 5)), rng.standard_normal((300, 5)) + 2
    c, d = np.cov(one, rowvar=False), np.cov(two, rowvar=False)
    shift = one.mean(0) - two.mean(0)
    expected = shift @ shift + np.trace(c + d - 2 * linalg.sqrtm(c @ d).real)
    assert frechet(one, two) == pytest.approx(expected, rel=1e-9)
    assert frechet(one, one) == pytest.approx(0, abs=1e-9)
    assert frechet(one, one + 3) == pytest.approx(45)


def test_fid_grows_with_blur_takes_any_features_and_needs_tiles(truth: np.ndarray) -> None:
    fid = registry.load("metrics", "fid")
    scores = [fid(ndimage.gaussian_filter(truth, s), truth) for s in (0.5, 1, 2)]
    assert scores == sorted(scores)
    mean_only = fid(truth + 0.5, truth, features=lambda tiles: tiles.mean((1, 2))[:, None])
    assert mean_only == pytest.approx(0.25, rel=1e-4)
    with pytest.raises(BadOptionError, match="two tiles"):
        fid(truth[:64, :64], truth[:64, :64])
    with pytest.raises(BadOptionError, match="at least 64 px"):
        fid(truth[:40], truth[:40])
