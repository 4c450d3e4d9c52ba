"""Every segmenter: input untouched, size kept, deterministic, cells found; and agglomeration against brute force."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import Frames
from refocal.models import runtimes
from refocal.parts.segmenters import _answers
from refocal.parts.segmenters._agglomerate import agglomerate, contacts
from refocal.testing import SegmenterContract
from refocal.testing.segmenters import Bright, Links, columns


@pytest.fixture(scope="module")
def volume() -> tuple[Frames, np.ndarray]:
    return columns()


class TestEverySegmenter(SegmenterContract):
    kinds = registry.names("segmenters")


@pytest.mark.parametrize(
    ("kind", "net", "wrong"),
    [("contour_watershed", Bright, {"seed_level": 2}), ("affinity_agglomeration", Links, {"threshold": 2})],
)
def test_every_pixel_is_of_a_cell_and_levels_lie_between_0_and_1(kind: str, net, wrong: dict, volume) -> None:
    assert (registry.make("segmenters", kind, model=net())(volume[0]) > 0).all()
    with pytest.raises(BadOptionError, match="between 0 and 1"):
        registry.make("segmenters", kind, model=net(), **wrong)


def test_sections_of_the_watershed_have_their_own_cells(volume) -> None:
    frames, _ = volume
    found = registry.make("segmenters", "contour_watershed", model=Bright())(frames)
    assert not np.isin(found[0], found[1]).any()


def test_small_cells_go_to_their_neighbours(volume) -> None:
    frames, _ = volume
    net = Bright()
    many = registry.make("segmenters", "contour_watershed", model=net, smallest_px=0)(frames)
    few = registry.make("segmenters", "contour_watershed", model=net, smallest_px=500)(frames)
    assert 0 < len(np.unique(few[0])) < len(np.unique(many[0]))
    assert np.bincount(few[0].ravel())[1:].min() >= 500
    assert (few > 0).all()
    masked = registry.make("segmenters", "contour_watershed", model=net, mask_level=0.3)(frames)
    assert (masked[0] == 0).any()


def test_a_column_is_one_cell_in_all_sections(volume) -> None:
    frames, truth = volume
    for score in ("mean", "median"):
        if score == "median":
            pytest.importorskip("waterz")
        found = registry.make("segmenters", "affinity_agglomeration", model=Links(), score=score)(frames)
        inside = ndimage.binary_erosion(truth == 6, np.ones((1, 3, 3)), iterations=4)
        assert len(np.unique(found[inside])) == 1


def test_tiles_do_not_show(volume) -> None:
    torch.manual_seed(0)
    net = registry.make("nets", "contour", width=4, levels=2).eval()
    graph = runtimes.open_graph(net, "torch")
    image = np.random.default_rng(0).random((1, 150, 173), np.float32)
    whole, tiled = (_answers.by_tiles(image, graph, tile_px=px) for px in (1000, 40))
    assert whole.shape == (2, 150, 173)
    np.testing.assert_allclose(tiled, whole, atol=1e-5)


def brute_force(affinities: np.ndarray, fragments: np.ndarray, threshold: float) -> np.ndarray:
    """Measure every contact anew after every merge."""
    labels = fragments.copy()
    while True:
        best: tuple[float, int, int] = (threshold, 0, 0)
        found: dict[tuple[int, int], list[float]] = {}
        for axis in range(3):
            for index in np.ndindex(labels.shape):
                before = tuple(i - (a == axis) for a, i in enumerate(index))
                if before[axis] >= 0 and labels[index] != labels[before]:
                    pair = tuple(sorted((int(labels[index]), int(labels[before]))))
                    found.setdefault(pair, []).append(float(affinities[(axis, *index)]))
        means = {pair: np.mean(values) for pair, values in found.items()}
        best = max(((mean, *pair) for pair, mean in means.items()), default=best)
        if not means or best[0] < threshold:
            return labels
        labels[labels == best[2]] = best[1]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), threshold=st.floats(0.2, 0.8))
def test_agglomeration_equals_brute_force(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    fragments = rng.integers(1, 7, (2, 3, 4)).astype(np.int32)
    affinities = rng.random((3, 2, 3, 4)).astype(np.float32)
    pairs, sums, sizes = contacts(affinities, fragments)
    cell = agglomerate(int(fragments.max()) + 1, pairs, sums, sizes, threshold)[fragments]
    expected = brute_force(affinities, fragments, threshold)
    arand = registry.load("metrics", "arand")
    assert arand(cell + 1, expected) == pytest.approx(0, abs=1e-12)


def test_waterz_agrees_on_the_partition_of_clear_affinities() -> None:
    pytest.importorskip("waterz")
    rng = np.random.default_rng(1)
    fragments = (np.arange(4 * 12 * 12).reshape(4, 12, 12) // 48 + 1).astype(np.int32)
    affinities = np.where(rng.random((3, 4, 12, 12)) < 0.5, 0.9, 0.9).astype(np.float32)
    affinities[:, 2] = 0.1
    one, two = (
        registry.make("segmenters", "affinity_agglomeration", model=Links(), score=s) for s in ("mean", "median")
    )
    pairs, sums, sizes = contacts(affinities, fragments)
    mean = agglomerate(int(fragments.max()) + 1, pairs, sums, sizes, one.threshold)[fragments]
    from refocal.parts.segmenters.affinity_agglomeration import _median

    median = _median(affinities, fragments, two.threshold)
    assert registry.load("metrics", "arand")(mean + 1, median) == pytest.approx(0, abs=1e-12)
