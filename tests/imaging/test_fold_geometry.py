"""Folding and unfolding: exactly inverse, for every direction of the line, for bent lines and for several folds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from refocal.imaging import fold_geometry
from refocal.imaging.fold_geometry import Fold

SIDE = 160
Y, X = fold_geometry.pixels((SIDE, SIDE))


@st.composite
def folds(draw, decay=(1e-4, 0.1)) -> Fold:
    angle = draw(st.one_of(st.sampled_from([0, 90, 45, 180, 270]), st.floats(0, 360)))
    x, y = draw(st.floats(40, 120)), draw(st.floats(40, 120))
    dx, dy = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
    if angle % 90 == 0:
        dx, dy = round(dx), round(dy)
    dark = draw(st.floats(0.5, 20))
    return Fold(
        ((x - 60 * dx, y - 60 * dy), (x + 60 * dx, y + 60 * dy)),
        dark,
        dark + draw(st.floats(1, 40)),
        draw(st.floats(*decay)),
    )


@settings(max_examples=40, deadline=None)
@given(folds())
def test_folding_undoes_unfolding_outside_the_lost_band(fold: Fold) -> None:
    out = fold_geometry.unfolding([fold], Y, X)
    back = fold_geometry.folding([fold], Y + out[0], X + out[1])
    kept = ~fold_geometry.lost([fold], Y, X)
    assert np.abs(out + back)[:, kept].max(initial=0) < 1e-9


@settings(max_examples=25, deadline=None)
@given(st.lists(folds(), min_size=2, max_size=3))
def test_so_it_does_for_several_folds_that_cross(several: list[Fold]) -> None:
    out = fold_geometry.unfolding(several, Y, X)
    back = fold_geometry.folding(several, Y + out[0], X + out[1])
    kept = ~fold_geometry.lost(several, Y, X)
    assert np.abs(out + back)[:, kept].max(initial=0) < 1e-9


@settings(max_examples=30, deadline=None)
@given(folds())
def test_content_moves_towards_the_line_on_both_sides(fold: Fold) -> None:
    s, normal = fold_geometry.distance(fold.points, Y, X)
    away = (fold_geometry.folding([fold], Y, X) * normal).sum(0) * np.sign(s)
    assert away.min() >= -1e-12
    back = (fold_geometry.unfolding([fold], Y, X) * normal).sum(0) * np.sign(s)
    assert back.max() <= 1e-12
    assert np.allclose((normal**2).sum(0), 1)


@settings(max_examples=30, deadline=None)
@given(folds(decay=(0.01, 0.1)))
def test_the_unfolding_is_continuous_and_the_lost_band_samples_the_dark_one(fold: Fold) -> None:
    out = fold_geometry.unfolding([fold], Y, X)
    # Inside, the displacement grows by (w2 - w1) / w2 < 1 px a pixel; outside it falls by the decay.
    assert max(np.abs(np.diff(out, axis=axis)).max() for axis in (1, 2)) <= 1 + 1e-9
    hidden = fold_geometry.lost([fold], Y, X)
    s, _ = fold_geometry.distance(fold.points, *(np.stack((Y, X)) + out)[:, hidden])
    assert np.abs(s).max(initial=0) <= fold.dark_px + 1e-9
    assert fold_geometry.dark([fold], Y, X).sum() <= hidden.sum() + 1


def test_what_was_at_the_edge_of_the_lost_band_is_at_the_edge_of_the_dark_one() -> None:
    fold = Fold(((0.0, 80.0), (159.0, 80.0)), 12, 40, 0.05)
    out = fold_geometry.unfolding([fold], np.array([80.0 + 40, 80.0 - 40]), np.array([33.0, 33.0]))
    assert out[0] == pytest.approx([-28, 28])
    assert out[1] == pytest.approx([0, 0])


def test_the_order_of_the_points_does_not_matter() -> None:
    one = Fold(((10.0, 3.0), (90.0, 140.0)), 8, 30, 0.03)
    other = Fold(one.points[::-1], 8, 30, 0.03)
    np.testing.assert_allclose(fold_geometry.folding([one], Y, X), fold_geometry.folding([other], Y, X), atol=1e-12)


def test_a_straight_line_with_points_between_is_the_same_line() -> None:
    fine = Fold(tuple((float(t), 20 + t / 2) for t in range(0, 150, 7)), 8, 30, 0.03)
    coarse = Fold((fine.points[0], fine.points[-1]), 8, 30, 0.03)
    np.testing.assert_allclose(
        fold_geometry.unfolding([fine], Y, X), fold_geometry.unfolding([coarse], Y, X), atol=1e-9
    )


def test_bent_lines_are_inverse_too() -> None:
    t = np.linspace(-1, 1, 17)
    bent = Fold(tuple((80 + 90 * u, 80 + 12 * (1 - u * u)) for u in t), 6, 20, 0.1)
    out = fold_geometry.unfolding([bent], Y, X)
    back = fold_geometry.folding([bent], Y + out[0], X + out[1])
    kept = ~fold_geometry.lost([bent], Y, X)
    assert np.quantile(np.abs(out + back).max(0)[kept], 0.999) < 1e-9
    assert np.abs(out + back)[:, kept].max() < 0.2


def test_fold_then_unfold_gives_the_picture_back(rng: np.random.Generator) -> None:
    flat = ndimage.gaussian_filter(rng.standard_normal((SIDE, SIDE)), 3)
    flat = (flat - flat.min()) / np.ptp(flat)
    for points in (((20.0, 0.0), (130.0, 159.0)), ((80.0, 0.0), (80.0, 159.0)), ((0.0, 70.0), (159.0, 70.0))):
        fold = [Fold(points, 8, 30, 0.04)]
        there = np.stack((Y, X)) + fold_geometry.folding(fold, Y, X)
        seen = ndimage.map_coordinates(flat, there, order=1, mode="nearest")
        useless = fold_geometry.dark(fold, Y, X) | (there < 0).any(0) | (there > SIDE - 1).any(0)
        back = np.stack((Y, X)) + fold_geometry.unfolding(fold, Y, X)
        again = ndimage.map_coordinates(seen, back, order=1, mode="nearest")
        touched = ndimage.map_coordinates(useless.astype(float), back, order=1, cval=1.0) > 0
        kept = ~fold_geometry.lost(fold, Y, X) & ~touched
        assert kept.mean() > 0.4
        assert -10 * np.log10(np.square(again - flat)[kept].mean()) > 44


@pytest.mark.parametrize(
    "wrong",
    [
        {"points": ((0, 0),)},
        {"points": ((1, 1), (1, 1))},
        {"lost_px": 3},
        {"decay": 0},
        {"decay": 1.0},
        {"dark_px": -1},
    ],
)
def test_impossible_folds_are_refused(wrong: dict) -> None:
    with pytest.raises(ValueError, match="fold needs"):
        Fold(**{"points": ((0, 0), (9, 9)), "dark_px": 5, "lost_px": 9, "decay": 0.1, **wrong})
