"""What every metric of label images promises: equal partitions are perfect, and conventions are keywords."""

import inspect
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import Labels
from refocal.parts.metrics import conventions
from refocal.testing._part import PartContract

HUGE = np.uint64(2**64 - 1)


class LabelMetricContract(PartContract):
    """A metric of labels annotates its parameters as `Labels`, and is 0 for equal partitions."""

    family: ClassVar[str] = "metrics"

    def test_equal_partitions_are_perfect_whatever_their_numbers(self, kind: str) -> None:
        metric, (got, truth) = registry.load(self.family, kind), cells()
        renamed = np.array([0, *np.random.default_rng(1).permutation(500)[:499]], np.uint64)
        assert metric(truth, truth) == pytest.approx(0, abs=1e-12)
        assert metric(got, truth) == pytest.approx(metric(renamed[got] + np.uint64(2**40), truth), abs=1e-12)

    def test_it_leaves_its_arguments_alone_and_repeats_itself(self, kind: str) -> None:
        metric, (got, truth) = registry.load(self.family, kind), cells()
        before = got.copy(), truth.copy()
        assert metric(got, truth) == metric(got, truth)
        assert all((a == b).all() for a, b in zip(before, (got, truth), strict=True))

    def test_the_largest_id_is_an_id(self, kind: str) -> None:
        metric, (got, truth) = registry.load(self.family, kind), (labels.astype(np.uint64) for labels in cells())
        expected = metric(got, truth)
        huge = metric(np.where(got == 4, HUGE, got), np.where(truth == 5, HUGE, truth))
        assert huge == pytest.approx(expected, abs=1e-12)
        assert metric(got, truth, ignore_truth=(2**64 - 1, -1, 0)) == expected

    def test_conventions_are_keywords_that_json_can_hold(self, kind: str) -> None:
        metric = registry.load(self.family, kind)
        assert {"ignore_truth", "border_px", "zero"} <= conventions(metric).keys()
        names = [p.name for p in inspect.signature(metric).parameters.values() if p.kind is p.KEYWORD_ONLY]
        assert names == list(conventions(metric))

    def test_bad_input_is_refused_in_one_line(self, kind: str) -> None:
        got, truth = cells()
        wrong: dict[str, tuple[tuple[NDArray[Any], NDArray[Any]], dict[str, Any]]] = {
            "one shape": ((got[:-1], truth), {}),
            "integers": ((got.astype(float), truth), {}),
            "no pixel": ((got, np.zeros_like(truth)), {}),
            "border_px": ((got, truth), {"border_px": -1}),
            "zero": ((got, truth), {"zero": "nothing"}),
        }
        for word, (arguments, options) in wrong.items():
            with pytest.raises(BadOptionError, match=word) as caught:
                registry.load(self.family, kind)(*arguments, **options)
            assert "\n" not in str(caught.value)

    def test_pixels_near_a_border_do_not_count(self, kind: str) -> None:
        metric, (_, truth) = registry.load(self.family, kind), cells()
        wide = ndimage.maximum_filter(truth, 3)
        scores = [metric(wide, truth, border_px=border) for border in (None, 0, 3)]
        assert scores[0] > scores[2]
        assert scores[1] >= scores[2] == pytest.approx(0, abs=1e-12)

    def test_pixel_order_and_sections_do_not_matter(self, kind: str) -> None:
        metric, rng = registry.load(self.family, kind), np.random.default_rng(2)
        for _ in range(10):
            got, truth = rng.integers(0, 4, (7, 9)), rng.integers(1, 6, (7, 9))
            order = rng.permutation(truth.size)
            mixed = [a.ravel()[order].reshape(truth.shape) for a in (got, truth)]
            assert metric(*mixed) == pytest.approx(metric(got, truth), abs=1e-12)
            assert metric(got[None], truth[None]) == metric(got, truth)


@cache
def cells() -> tuple[Labels, Labels]:
    """Return Voronoi cells with jittered borders, one merge and one split; and the same without."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(128.0)] * 2, indexing="ij"), -1)
    spots = rng.uniform(0, 128, (25, 2))
    wobble = np.stack([ndimage.gaussian_filter(rng.standard_normal((128, 128)), 3) for _ in range(2)], -1) * 15
    truth, got = (np.square(g[:, :, None] - spots).sum(-1).argmin(-1) + 1 for g in (grid, grid + wobble))
    got[got == 3] = 4
    got[(got == 7) & (grid[..., 0] > spots[6, 0])] = 99
    return got.astype(np.uint32), truth.astype(np.uint32)
