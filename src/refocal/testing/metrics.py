"""What every metric of images promises: truth beats degraded images, and other shapes are refused."""

import inspect
from functools import cache
from typing import ClassVar

import numpy as np
import pytest
from scipy import ndimage

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import Pixels
from refocal.testing._part import PartContract


class MetricContract(PartContract):
    """The docstring of the metric, or of its module, says "higher is better" or "lower is better"."""

    family: ClassVar[str] = "metrics"

    def test_it_says_which_scores_are_better(self, kind: str) -> None:
        assert _better(kind) in ({"higher"}, {"lower"})

    def test_truth_beats_degraded_images(self, kind: str) -> None:
        metric, true, degraded = registry.load(self.family, kind), truth(), worse()
        before = true.copy(), degraded.copy()
        perfect, bad = metric(true, true), metric(degraded, true)
        assert isinstance(bad, float)
        assert np.isfinite(bad)
        assert perfect < bad if "lower" in _better(kind) else perfect > bad
        assert metric(degraded, true) == bad
        np.testing.assert_array_equal(true, before[0])
        np.testing.assert_array_equal(degraded, before[1])

    @pytest.mark.parametrize("shape", [(300, 383), (1, 300, 384), (384, 300)])
    def test_another_shape_is_refused_in_one_line(self, kind: str, shape: tuple[int, ...]) -> None:
        with pytest.raises(BadOptionError, match="shape") as caught:
            registry.load(self.family, kind)(np.zeros(shape, np.float32), truth())
        assert "\n" not in str(caught.value)


@cache
def truth() -> Pixels:
    """Return a (300, 384) image with structure on several scales."""
    rng = np.random.default_rng(3)
    drawn = np.sum([ndimage.gaussian_filter(rng.standard_normal((300, 384)), s) * s for s in (1, 2, 4, 8)], axis=0)
    image: Pixels = (0.5 + 0.15 * drawn / drawn.std()).clip(0, 1).astype(np.float32)
    return image


@cache
def worse() -> Pixels:
    """Return the same with noise, and a brightness per 256-px tile, which shows as seams."""
    rng = np.random.default_rng(4)
    tiles = np.kron(np.array([[0.1, -0.1], [-0.1, 0.1]]), np.ones((256, 256)))[:300, :384]
    return (truth() + tiles + 0.1 * rng.standard_normal((300, 384))).astype(np.float32)


def _better(kind: str) -> set[str]:
    metric = registry.load("metrics", kind)
    text = f"{getattr(inspect.getmodule(metric), '__doc__', '')} {metric.__doc__}".lower()
    return {word for word in ("higher", "lower") if f"{word} is better" in " ".join(text.split())}
