"""The fold as a degradation: its hints describe what it did."""

import numpy as np
import pytest
from scipy import ndimage

from refocal.core import registry
from refocal.core.values import UNIT, Example, Frames
from refocal.imaging import fold_geometry


def an_example(side: int = 220) -> Example:
    rng = np.random.default_rng(3)
    frames = np.stack([ndimage.gaussian_filter(rng.standard_normal((side, side)), 3) for _ in range(3)])
    frames = ((frames - frames.min()) / np.ptp(frames)).astype(np.float32)
    return Example(Frames(frames, 1, UNIT), frames[1].copy())


def folded(seed: int = 0, **options: object) -> Example:
    return registry.make("degradations", "fold", **options)(an_example(), np.random.default_rng(seed))


@pytest.mark.parametrize("options", [{}, {"folds": 2}, {"bend_px": 15.0}, {"wave_px": 4.0, "grey": 0.1}])
def test_the_flow_unfolds_the_frame_and_the_neighbours_stay(options: dict) -> None:
    before = an_example()
    for seed in range(4):
        seen = folded(seed, lost_px=[10.0, 40.0], dark_px=[5.0, 12.0], decay=0.05, **options)
        assert np.array_equal(seen.frames.counts[::2], before.frames.counts[::2])
        image, flow = seen.frames.image, seen.hints["flow"]
        assert image[seen.hints["dark"]].max() == pytest.approx(options.get("grey", 0.0))
        place = fold_geometry.pixels(image.shape)
        where = np.stack(place) + flow
        again = ndimage.map_coordinates(image, where, order=1, mode="nearest")
        inside = ((where > 60) & (where < 160)).all(0)
        shown = ndimage.map_coordinates(seen.hints["dark"].astype(float), where, order=1) == 0
        kept = inside & shown & ~seen.hints["lost"]
        if kept.any():
            assert np.quantile(np.abs(again - seen.truth)[kept], 0.99) < 0.02
        assert seen.hints["dark"].mean() > 0.005


def test_contrast_falls_beside_the_fold() -> None:
    plain, faded = folded(5), folded(5, contrast=0.3, contrast_px=60.0)
    (crease,) = faded.hints["folds"]
    s = np.abs(fold_geometry.distance(crease.points, *fold_geometry.pixels(plain.truth.shape))[0])
    near, far = (s > crease.dark_px) & (s < crease.dark_px + 15), s > crease.dark_px + 90
    assert faded.frames.image[near].std() < 0.6 * plain.frames.image[near].std()
    if far.any():
        assert faded.frames.image[far].std() > 0.75 * plain.frames.image[far].std()
