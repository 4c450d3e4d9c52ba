"""Folded sections restored from their neighbours; what is not touched keeps its counts to the bit."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage

from drawn import sections
from refocal.core import registry
from refocal.core.errors import UnsupportedError, UsageError
from refocal.core.values import INVENTED, MOVED, RECORDED, UNIT, Contrast, Example, Frames
from refocal.imaging import fold_geometry
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.parts.restorers.fold import METHODS

SIDE = 300


@cache
def flat(count: int = 3) -> np.ndarray:
    return sections(count, SIDE, 0.02)


@cache
def folded(count: int = 3, seed: int = 4) -> Example:
    planes = flat(count)
    middle = count // 2
    fold = registry.make("degradations", "fold", dark_px=[6.0, 9.0], lost_px=[18.0, 24.0], decay=0.08)
    return fold(Example(Frames(planes, middle, UNIT), planes[middle]), np.random.default_rng(seed))


def as_counts(planes: np.ndarray, dtype: str = "uint8", **more: object) -> Frames:
    contrast = Contrast(1000, 9000) if dtype == "uint16" else Contrast.of(dtype)
    return Frames(contrast.counts(planes, dtype), len(planes) // 2, contrast, **more)


def psnr(got: np.ndarray, truth: np.ndarray) -> float:
    return float(-10 * np.log10(np.square(got / 255 - truth).mean()))


def restore(frames: Frames, **options: object):
    return registry.make("restorers", "fold", **options)([frames])[0]


def test_unfolding_beats_what_is_folded_and_tells_what_it_did() -> None:
    seen = folded()
    frames = as_counts(seen.frames.counts)
    got = restore(frames)
    before = psnr(frames.image, seen.truth)
    assert psnr(got.counts, seen.truth) > before + 5
    assert psnr(got.counts, seen.truth) > psnr(restore(frames, method="not_unfolded").counts, seen.truth)
    assert set(np.unique(got.origin)) <= {RECORDED, MOVED, INVENTED}
    assert np.array_equal(got.counts[got.origin == RECORDED], frames.image[got.origin == RECORDED])
    assert (got.origin[seen.hints["lost"]] == INVENTED).mean() > 0.8
    assert 0 < (got.origin == INVENTED).mean() < 3 * seen.hints["lost"].mean()


def test_the_flow_tells_from_where_pixels_were_moved() -> None:
    seen = folded()
    got = restore(as_counts(seen.frames.counts))
    assert got.flow.shape == seen.hints["flow"].shape
    moved = got.origin == MOVED
    assert np.hypot(*(got.flow - seen.hints["flow"]))[moved].mean() < 0.25 * np.hypot(*seen.hints["flow"])[moved].mean()
    assert not got.flow[:, got.origin == RECORDED].any()
    y, x = np.indices(moved.shape)
    again = ndimage.map_coordinates(seen.frames.image, (y + got.flow[0], x + got.flow[1]), order=1, mode="nearest")
    assert np.abs(got.counts[moved] / 255 - again[moved]).mean() < 0.02
    assert restore(as_counts(flat())).flow is None


def test_far_from_the_fold_nothing_changes() -> None:
    frames = as_counts(folded().frames.counts)
    got = restore(frames, around_px=60)
    (crease,) = folded().hints["folds"]
    far = np.abs(fold_geometry.distance(crease.points, *fold_geometry.pixels((SIDE, SIDE)))[0]) > 75
    assert far.any()
    assert np.array_equal(got.counts[far], frames.image[far])
    assert not got.origin[far].any()


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_every_method_fills_the_dark_band(method: str, dtype: str) -> None:
    frames = as_counts(folded().frames.counts, dtype)
    got = restore(frames, method=method)
    band = folded().hints["dark"]
    assert got.counts.dtype == frames.counts.dtype
    assert frames.contrast.unit(got.counts)[band].mean() > 0.35
    assert (got.origin > 0)[band].mean() > 0.9


def test_a_flat_section_comes_back_as_it_is() -> None:
    frames = as_counts(flat())
    got = restore(frames)
    assert np.array_equal(got.counts, frames.image)
    assert not got.origin.any()


def test_one_neighbour_is_enough() -> None:
    planes = folded().frames.counts[1:]
    frames = Frames(planes, 0, UNIT)
    assert psnr(restore(frames).counts * 255, folded().truth) > psnr(planes[0] * 255, folded().truth) + 4


def test_without_a_neighbour_the_reason_is_told() -> None:
    with pytest.raises(UnsupportedError, match="no neighbour"):
        restore(as_counts(folded().frames.counts[1:2]))
    assert restore(as_counts(folded().frames.counts[1:2]), method="inpainting").origin.any()


def test_a_neighbour_folded_at_the_same_place_is_passed_over() -> None:
    wide = folded(5)
    planes = wide.frames.counts.copy()
    planes[1] = planes[2]  # the previous section has the same fold
    got = restore(as_counts(planes))
    assert psnr(got.counts, wide.truth) > psnr(planes[2] * 255, wide.truth) + 4
    both = planes[1:4].copy()
    both[2] = both[1]
    with pytest.raises(UnsupportedError, match="frame 0 has a fold at the same place"):
        restore(as_counts(both))


@pytest.mark.parametrize("declared", [True, False])
def test_a_missing_section_is_invented_as_a_whole(declared: bool) -> None:
    planes = flat().copy()
    valid = np.ones(planes.shape, bool)
    planes[1] = 0.5 if not declared else planes[1]
    valid[1] = not declared
    got = restore(as_counts(planes, valid=valid))
    assert (got.origin == INVENTED).all()
    assert psnr(got.counts, flat()[1]) > 15


def test_two_folds_that_cross_are_both_restored() -> None:
    planes = flat().copy()
    planes[1, 140:156] = 0
    planes[1, :, 90:104] = 0
    got = restore(as_counts(planes))
    assert (got.counts < 20).mean() < 0.01


@pytest.mark.parametrize("corner", range(4))
def test_a_fold_across_a_corner_is_restored_to_the_border(corner: int) -> None:
    planes = np.rot90(flat(), corner, (1, 2)).copy()
    y, x = np.indices(planes.shape[1:])
    band = np.abs(y + x - 150) < 12
    planes[1, np.rot90(band, corner)] = 0
    got = restore(as_counts(planes))
    assert (got.counts < 20).mean() < 0.002
    assert psnr(got.counts, np.rot90(flat()[1], corner)) > psnr(planes[1] * 255, np.rot90(flat()[1], corner)) + 5


@pytest.mark.parametrize("where", [np.s_[:, 0:14], np.s_[0:9, :]])
def test_a_black_border_is_no_fold(where: tuple[slice, slice]) -> None:
    planes = flat().copy()
    planes[(1, *where)] = 0
    frames = as_counts(planes)
    assert np.array_equal(restore(frames).counts, frames.image)


@pytest.mark.parametrize("wrong", [{"method": "magic"}, {"around_px": 3}, {"interpolation": "no-such-model"}])
def test_bad_options_are_refused(wrong: dict) -> None:
    with pytest.raises(UsageError, match=r"method|around_px|no-such-model"):
        registry.make("restorers", "fold", **wrong)


def test_trained_nets_take_their_parts(tmp_path: Path) -> None:
    kinds = {
        "interpolation": ("sepconv", {"channels": 1, "width": 4, "levels": 2, "taps": 5}),
        "unfolding": ("unfold", {"channels": 1, "width": 4, "levels": 2}),
        "fusion": ("fuse", {"channels": 1, "width": 4, "image_residual": True}),
        "inpaint": ("pconv", {"width": 4, "levels": 3}),
    }
    models = {}
    for role, (kind, options) in kinds.items():
        torch.manual_seed(0)
        net = registry.make("nets", kind, **options).eval()
        about = header.ModelHeader(name=role, net=kind, options=options, reach=onnx_graph.reach_of(net), channels=2)
        torch_weights.save(net, about, tmp_path / f"{role}.safetensors")
        models[role] = str(tmp_path / f"{role}.safetensors")
    frames = as_counts(folded().frames.counts)
    for method in ("full", "inpainting", "interpolation"):
        got = restore(frames, runtime="torch_model", method=method, around_px=80, **models)
        assert np.array_equal(got.counts[got.origin == RECORDED], frames.image[got.origin == RECORDED])
        assert (got.origin[folded().hints["dark"]] > 0).mean() > 0.9
        assert not np.array_equal(got.counts, restore(frames, method=method, around_px=80).counts)
