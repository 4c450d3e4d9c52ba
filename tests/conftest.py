"""Shared fixtures: the folder of real images, and small drawn ones."""

import os
from pathlib import Path

# Small arrays gain nothing from threads, and several test workers would fight for the cores. Before any import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest
from hypothesis import settings

# A run here must tell whether a change broke something; HYPOTHESIS_PROFILE=search looks for new counterexamples.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("REFOCAL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real electron-microscopy images; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real images at {DATA}; set REFOCAL_DATA to the folder that holds them")
    return DATA


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20260101)


def drawn(seed: int, side: int = 192, noise: float = 4.0) -> np.ndarray:
    """A sharp 8-bit image with structure on every scale."""
    rng = np.random.default_rng(seed)
    ky, kx = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    spectrum = np.fft.rfft2(rng.standard_normal((side, side))) / np.maximum(np.hypot(ky, kx), 1 / 24) ** 1.2
    image = np.fft.irfft2(spectrum, s=(side, side))
    image = 128 + 30 * (image - image.mean()) / image.std() + noise * rng.standard_normal((side, side))
    return image.round().clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration file, made on drawn tiles of 8 nm pixels with a cheap restorer."""
    from refocal import families
    from refocal.calibrate import calibrate, write
    from refocal.calibrate.good import good_tiles
    from refocal.calibrate.ladder import Ladder
    from refocal.formats import create_image
    from refocal.values import ImageInfo

    folder = tmp_path_factory.mktemp("good")
    for seed in range(5):
        image = drawn(seed)
        create_image(folder / f"{seed}.tif", [image], ImageInfo((1, *image.shape), image.dtype, 8.0))
    restorer = families.make("restorers", "wiener")
    ladder = Ladder(crop_px=128, each=40)
    made = calibrate(good_tiles([folder]), restorer, name="wiener", date="2026-01-01", ladder=ladder)
    write(made.calibration, folder / "calibration.json")
    return folder / "calibration.json"
