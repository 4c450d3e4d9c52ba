"""Local kernels that shift exactly, partial convolutions that see no hole, and nets for folds that start sensibly."""

import pytest
import torch
from torch import nn

from refocal.core import registry
from refocal.parts.nets._separable import separable
from refocal.parts.nets.pconv import _Partial


def kernels(taps: int, at: int, shape: tuple[int, ...]) -> torch.Tensor:
    drawn = torch.zeros(1, taps, *shape)
    drawn[:, at] = 1
    return drawn


@pytest.mark.parametrize(("down", "right"), [(0, 0), (25, -25), (-7, 3), (1, 0)])
def test_identity_and_shift_kernels_are_exact(down: int, right: int) -> None:
    image = torch.rand(1, 1, 60, 70)
    got = separable(image, kernels(51, 25 + down, (60, 70)), kernels(51, 25 + right, (60, 70)))
    rows, columns = (torch.arange(60) + down).clamp(0, 59), (torch.arange(70) + right).clamp(0, 69)
    assert torch.equal(got[0, 0], image[0, 0][rows][:, columns])


def test_blocks_of_rows_do_not_change_the_result() -> None:
    image, v, h = torch.rand(2, 1, 31, 20), torch.randn(2, 7, 31, 20), torch.randn(2, 7, 31, 20)
    assert torch.allclose(separable(image, v, h, block_px=60), separable(image, v, h), atol=1e-5)


def test_gradients_of_local_kernels() -> None:
    torch.manual_seed(0)
    parts = [torch.rand(1, c, 5, 6, dtype=torch.float64, requires_grad=True) for c in (1, 7, 7)]
    assert torch.autograd.gradcheck(lambda *p: separable(*p, block_px=12), parts)


def test_local_kernels_agree_with_the_sum_that_defines_them() -> None:
    image, v, h = torch.rand(1, 1, 9, 8), torch.randn(1, 5, 9, 8), torch.randn(1, 5, 9, 8)
    padded = nn.functional.pad(image, (2, 2, 2, 2), mode="replicate")
    windows = nn.functional.unfold(padded, 5).view(1, 5, 5, 9, 8)
    want = torch.einsum("biyx,bjyx,bijyx->byx", v, h, windows)
    assert torch.allclose(separable(image, v, h)[:, 0], want, atol=1e-5)


def test_a_partial_convolution_without_a_hole_is_a_convolution() -> None:
    layer = _Partial(3, 0, 4, 3, stride=1, norm=False, slope=None)
    image = torch.rand(1, 3, 12, 12)
    got, mask = layer(image, torch.ones(1, 1, 12, 12))
    assert torch.allclose(got[..., 1:-1, 1:-1], layer.conv(image)[..., 1:-1, 1:-1], atol=1e-5)
    assert mask.all()


def test_a_partial_convolution_sees_nothing_of_a_hole() -> None:
    layer = _Partial(1, 0, 2, 3, stride=1, norm=False, slope=None)
    mask = torch.ones(1, 1, 16, 16)
    mask[..., 4:12, 4:12] = 0
    image = torch.rand(1, 1, 16, 16)
    got, known = layer(image, mask)
    other, _ = layer(torch.where(mask > 0, image, torch.rand_like(image)), mask)
    assert torch.equal(got, other)
    assert not known[..., 5:11, 5:11].any()
    assert not got[..., 5:11, 5:11].any()
    assert known[..., 4, 4]


def test_interpolation_starts_near_the_mean_of_the_neighbours() -> None:
    torch.manual_seed(0)
    net = registry.make("nets", "sepconv", channels=1, width=4, levels=2, taps=9)
    pair = nn.functional.avg_pool2d(torch.rand(1, 2, 64, 64), 5, 1, 2)
    with torch.no_grad():
        assert (net(pair) - pair.mean(1, keepdim=True)).abs().mean() < 0.1
