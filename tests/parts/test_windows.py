"""Nets that mix the whole window are run on windows, and no line shows where these meet."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from refocal.core import registry
from refocal.core.values import UNIT, Contrast, Frames, Reach
from refocal.parts.restorers._tiling import fades
from refocal.parts.restorers.torch_model import TorchModel

REACH = Reach(halo=4, multiple=2, window=32)


class Mean(nn.Module):
    """As global as a net can be: it adds the mean of what it sees."""

    inputs, outputs, frames = 1, 1, 1
    reach = REACH

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert image.shape[2:] == (32, 32)
        return image + image.mean((2, 3), keepdim=True)


@given(st.integers(8, 400), st.integers(2, 8))
def test_weights_add_up_to_one_at_every_pixel(length: int, eighth: int) -> None:
    window, halo = 8 * eighth, eighth
    length = max(length, window)
    total, starts = np.zeros(length), []
    for start, weight in fades(length, window, halo):
        total[start : start + window] += weight
        starts.append(start)
        assert (weight > 0).all()
    assert np.allclose(total, 1)
    assert starts[0] == 0
    assert starts[-1] == length - window
    assert all(b - a <= window - 2 * halo for a, b in pairwise(starts))


@pytest.mark.parametrize("shape", [(32, 32), (33, 100), (7, 50), (1, 1), (90, 57)])
def test_every_size_is_restored_window_by_window(shape: tuple[int, int], rng: np.random.Generator) -> None:
    image = np.full(shape, 0.25, np.float32)
    (restored,) = TorchModel(Mean(), device="cpu")([Frames(image[None], contrast=UNIT)])
    assert restored.counts.shape == shape
    assert np.allclose(restored.counts, 0.5)


def test_windows_fade_into_each_other_without_a_step(rng: np.random.Generator) -> None:
    image = np.zeros((32, 160), np.float32)
    image[:, 80:] = 1
    (restored,) = TorchModel(Mean(), device="cpu")([Frames(image[None], contrast=UNIT)])
    added = restored.counts - image
    # The means of neighbouring windows differ by up to 1 and fade over twice the halo.
    assert np.abs(np.diff(added[16])).max() < 1 / 8 + 1e-3
    assert added[16, 0] == pytest.approx(0)
    assert added[16, -1] == pytest.approx(1)


def test_more_image_on_the_far_side_changes_nothing_near_the_origin(rng: np.random.Generator) -> None:
    net = registry.make("nets", "sgpn", encoder=[4] * 5, decoder=[4] * 5, window=64)
    nn.init.normal_(net.out.weight, std=0.3)
    model = TorchModel(net.eval(), device="cpu", whole_px=1)
    image = rng.integers(0, 255, (64, 400), np.uint8)
    wide, narrow = (model([Frames(i[None], contrast=Contrast(0, 255))])[0].counts for i in (image, image[:, :208]))
    assert (wide[:, :140] == narrow[:, :140]).all()
    assert not (wide[:, :160] == image[:, :160]).all()
