"""Shared fixtures: the folder of real images, and small drawn ones."""

import os
from pathlib import Path

# Small arrays gain nothing from threads, and several test workers would fight for the cores. Before any import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

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
