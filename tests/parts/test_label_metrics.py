"""Every metric of labels: the worked numbers, independent references, and what must not change a score."""

import inspect

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from metric_kinds import OF_LABELS
from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.parts.metrics import conventions

KINDS = OF_LABELS
HUGE = np.uint64(2**64 - 1)
LABELS = hnp.arrays(np.uint16, st.tuples(st.integers(3, 9), st.integers(3, 9)), elements=st.integers(1, 5))


def load(kind: str):
    return registry.load("metrics", kind)


@pytest.fixture(scope="module")
def cells() -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells; and the same with jittered borders, one merge and one split."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(128.0)] * 2, indexing="ij"), -1)
    spots = rng.uniform(0, 128, (25, 2))
    wobble = np.stack([ndimage.gaussian_filter(rng.standard_normal((128, 128)), 3) for _ in range(2)], -1) * 15
    truth, got = (np.square(g[:, :, None] - spots).sum(-1).argmin(-1) + 1 for g in (grid, grid + wobble))
    got[got == 3] = 4
    got[(got == 7) & (grid[..., 0] > spots[6, 0])] = 99
    return got.astype(np.uint32), truth.astype(np.uint32)


@pytest.mark.parametrize("kind", KINDS)
class TestEveryLabelMetric:
    def test_equal_partitions_are_perfect_whatever_their_numbers(self, kind: str, cells) -> None:
        got, truth = cells
        renamed = np.array([0, *np.random.default_rng(1).permutation(500)[:499]], np.uint64)
        assert load(kind)(truth, truth) == pytest.approx(0, abs=1e-12)
        assert load(kind)(got, truth) == pytest.approx(load(kind)(renamed[got] + np.uint64(2**40), truth), abs=1e-12)

    def test_leaves_its_arguments_alone_and_repeats_itself(self, kind: str, cells) -> None:
        before = cells[0].copy(), cells[1].copy()
        assert load(kind)(*cells) == load(kind)(*cells)
        assert all((a == b).all() for a, b in zip(before, cells, strict=True))

    def test_the_largest_id_is_an_id(self, kind: str, cells) -> None:
        got, truth = (labels.astype(np.uint64) for labels in cells)
        expected = load(kind)(got, truth)
        huge = load(kind)(np.where(got == 4, HUGE, got), np.where(truth == 5, HUGE, truth))
        assert huge == pytest.approx(expected, abs=1e-12)
        assert load(kind)(got, truth, ignore_truth=(2**64 - 1, -1, 0)) == expected

    def test_conventions_are_keywords_that_json_can_hold(self, kind: str) -> None:
        assert {"ignore_truth", "border_px", "zero"} <= conventions(load(kind)).keys()
        names = [p.name for p in inspect.signature(load(kind)).parameters.values() if p.kind is p.KEYWORD_ONLY]
        assert names == list(conventions(load(kind)))

    def test_bad_input_is_refused_in_one_line(self, kind: str, cells) -> None:
        got, truth = cells
        wrong = {
            "one shape": ((got[:-1], truth), {}),
            "integers": ((got.astype(float), truth), {}),
            "no pixel": ((got, np.zeros_like(truth)), {}),
            "border_px": ((got, truth), {"border_px": -1}),
            "zero": ((got, truth), {"zero": "nothing"}),
        }
        for word, (arguments, options) in wrong.items():
            with pytest.raises(BadOptionError, match=word) as caught:
                load(kind)(*arguments, **options)
            assert "\n" not in str(caught.value)

    def test_pixels_near_a_border_do_not_count(self, kind: str, cells) -> None:
        _, truth = cells
        wide = ndimage.grey_dilation(truth, 3)
        scores = [load(kind)(wide, truth, border_px=border) for border in (None, 0, 3)]
        assert scores[0] > scores[2]
        assert scores[1] >= scores[2] == pytest.approx(0, abs=1e-12)

    @settings(max_examples=30, deadline=None)
    @given(truth=LABELS, seed=st.integers(0, 99))
    def test_pixel_order_and_sections_do_not_matter(self, kind: str, truth, seed: int) -> None:
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
