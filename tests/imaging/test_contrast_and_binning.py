"""The contrast of counts, and binning."""

import numpy as np
import pytest

from refocal.imaging.binning import binned
from refocal.imaging.contrast import percentile_contrast


def test_the_contrast_leaves_out_the_darkest_and_the_brightest_thousandth() -> None:
    counts = np.arange(10_001, dtype=np.uint16).reshape(73, 137)
    contrast = percentile_contrast(counts)
    assert (contrast.low, contrast.high) == pytest.approx((10, 9990))


@pytest.mark.parametrize("narrowest", [1.0, 1e-6])
def test_counts_of_one_value_still_have_a_contrast(narrowest: float) -> None:
    contrast = percentile_contrast(np.full(100, 7, np.uint16), narrowest)
    assert (contrast.low, contrast.high) == (7, 7 + narrowest)


@pytest.mark.parametrize(
    ("dtype", "result"), [(np.float32, np.float32), (np.float64, np.float64), (np.uint8, np.float64)]
)
def test_binning_is_the_mean_of_squares_and_cuts_what_is_left_over(dtype: type, result: type) -> None:
    image = np.random.default_rng(0).integers(0, 200, (11, 8)).astype(dtype)
    made = binned(image, 3)
    assert made.shape == (3, 2)
    assert made.dtype == result
    assert made[2, 1] == pytest.approx(image[6:9, 3:6].astype(float).mean())
    np.testing.assert_array_equal(binned(image, 1), image)
    assert binned(image, 12).size == 0
