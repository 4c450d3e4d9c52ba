"""Every metric of labels: the worked numbers, independent references, and what must not change a score."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from metric_kinds import OF_LABELS
from refocal.core import registry
from refocal.testing import LabelMetricContract, label_metrics

KINDS = OF_LABELS
LABELS = hnp.arrays(np.uint16, st.tuples(st.integers(3, 9), st.integers(3, 9)), elements=st.integers(1, 5))


def load(kind: str):
    return registry.load("metrics", kind)


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray]:
    return label_metrics.cells()


class TestEveryLabelMetric(LabelMetricContract):
    kinds = KINDS


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=30, deadline=None)
@given(truth=LABELS, seed=st.integers(0, 99))
def test_pixel_order_and_sections_do_not_matter(kind: str, truth: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    got = rng.integers(0, 4, truth.shape)
    order = rng.permutation(truth.size)
    mixed = [a.ravel()[order].reshape(truth.shape) for a in (got, truth)]
    assert load(kind)(*mixed) == pytest.approx(load(kind)(got, truth), abs=1e-12)
    assert load(kind)(got[None], truth[None]) == load(kind)(got, truth)


def test_worked_numbers_of_36_pixels_with_background_and_unsegmented_ones() -> None:
    """4 pixels without a truth, 2 without a segment; the numbers come from four other implementations."""
    table = [(0, 1, 4), (1, 1, 10), (1, 4, 2), (2, 1, 2), (2, 2, 8), (3, 0, 2), (3, 3, 8)]
    truth, got = (np.repeat([row[i] for row in table], [row[2] for row in table]).reshape(6, 6) for i in (0, 1))
    assert load("arand")(got, truth) == pytest.approx(0.234727, abs=1e-6)
    assert load("arand")(got, truth, zero="label") == pytest.approx(0.230769, abs=1e-6)
    assert load("voi_split")(got, truth) == pytest.approx(0.694963, abs=1e-6)
    assert load("voi_merge")(got, truth) == pytest.approx(0.243758, abs=1e-6)
    assert load("voi_split")(got, truth, base=np.e) == pytest.approx(0.481712, abs=1e-6)
    assert load("voi_merge")(got, truth, base=np.e) == pytest.approx(0.168960, abs=1e-6)
    assert load("voi_split")(got, truth, ignore_truth=()) == pytest.approx(0.617745, abs=1e-6)
    assert load("voi_merge")(got, truth, ignore_truth=()) == pytest.approx(0.577242, abs=1e-6)
    assert load("voi")(got, truth + 1) == pytest.approx(1.194988, abs=2e-6)
    skimage = pytest.importorskip("skimage.metrics")
    assert skimage.adapted_rand_error(truth, got, ignore_labels=(0,))[0] == pytest.approx(0.257143, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(truth=LABELS, seed=st.integers(0, 99))
def test_brute_force_over_all_pairs_of_pixels(truth: np.ndarray, seed: int) -> None:
    got = np.random.default_rng(seed).integers(0, 4, truth.shape)
    g, s = truth.ravel(), got.ravel()
    same_cell = g[:, None] == g[None]
    alone = (s[:, None] == s[None]) & ((s[:, None] != 0) | np.eye(g.size, dtype=bool))
    for zero, same_segment in (("singletons", alone), ("label", s[:, None] == s[None])):
        both = (same_cell & same_segment).sum()
        expected = 1 - 2 * both / (same_cell.sum() + same_segment.sum())
        assert load("arand")(got, truth, zero=zero) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(one=LABELS, seed=st.integers(0, 99))
def test_symmetry(one: np.ndarray, seed: int) -> None:
    """Exchanging the two partitions exchanges split and merge."""
    two = np.random.default_rng(seed).integers(1, 4, one.shape)
    assert load("voi_split")(one, two) == pytest.approx(load("voi_merge")(two, one), abs=1e-12)
    assert load("arand")(one, two) == pytest.approx(load("arand")(two, one), abs=1e-12)
    assert load("voi")(one, two) == pytest.approx(load("voi_split")(one, two) + load("voi_merge")(one, two), abs=1e-12)


def test_merges_are_merges_and_splits_are_splits(cells) -> None:
    _, truth = cells
    merged = np.where(truth == 2, 1, truth)
    split = np.where((truth == 2) & (np.arange(128) % 2 == 0), 77, truth)
    assert load("voi_split")(merged, truth) == pytest.approx(0, abs=1e-12)
    assert load("voi_merge")(merged, truth) > 0
    assert load("voi_merge")(split, truth) == pytest.approx(0, abs=1e-12)
    assert load("voi_split")(split, truth) > 0
    # Four equal cells in one segment: precision 1/4, recall 1, two bits; every pixel alone: the other way round.
    quarters = np.kron([[1, 2], [3, 4]], np.ones((4, 4), int))
    assert load("arand")(np.ones_like(quarters), quarters) == pytest.approx(1 - 2 * 0.25 / 1.25)
    assert load("voi_merge")(np.ones_like(quarters), quarters) == pytest.approx(2)
    assert load("voi_split")(np.zeros_like(quarters), quarters, zero="singletons") == pytest.approx(4)


def test_scikit_image_says_the_same(cells) -> None:
    skimage = pytest.importorskip("skimage.metrics")
    got, truth = (labels.astype(int) for labels in cells)
    truth[:5] = 0
    split, merge = skimage.variation_of_information(truth, got, ignore_labels=(0,))
    assert load("voi_split")(got, truth) == pytest.approx(split, abs=1e-9)
    assert load("voi_merge")(got, truth) == pytest.approx(merge, abs=1e-9)
    everything = skimage.variation_of_information(truth, got)
    assert load("voi")(got, truth, ignore_truth=()) == pytest.approx(sum(everything), abs=1e-9)
    # Its sums leave out the pairs of a pixel with itself.
    kept = truth > 0
    n = np.unique(np.stack([got[kept], truth[kept]]), axis=1, return_counts=True)[1].astype(float)
    a, b = (np.unique(v[kept], return_counts=True)[1].astype(float) for v in (truth, got))
    reference = skimage.adapted_rand_error(truth, got, ignore_labels=(0,))[0]
    assert 1 - 2 * (n**2 - n).sum() / ((a**2 - a).sum() + (b**2 - b).sum()) == pytest.approx(reference, abs=1e-12)
    assert load("arand")(got, truth) == pytest.approx(reference, abs=1e-3)


def test_borders_are_those_of_each_section() -> None:
    stack = np.ones((2, 8, 8), int)
    stack[1] = 2  # a change from section to section is no border
    got = stack.copy()
    assert load("voi")(got, stack, border_px=3) == 0
    stack[0, :, 4:] = 3
    got = np.where(np.arange(8) < 5, 1, 3) * np.ones((2, 8, 1), int)
    got[1] = 2
    assert load("voi")(got, stack) > 0
    assert load("voi")(got, stack, border_px=0) == 0
