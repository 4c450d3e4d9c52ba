"""What every net promises, and the counts that the papers print."""

from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from refocal.core import registry
from refocal.parts.nets.gran import GraphAttention
from refocal.testing import NetContract
from refocal.testing.nets import small, small_options


def macs(net: nn.Module, transposed_on_output: bool = False) -> int:
    """Count multiply-accumulates of convolution weights at 400x400, without biases and matrix products."""
    total = 0

    def add(layer: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        nonlocal total
        place = inputs[0] if isinstance(layer, nn.ConvTranspose2d) and not transposed_on_output else output
        total += layer.weight.numel() * place.shape[2] * place.shape[3]

    hooks = [m.register_forward_hook(add) for m in net.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]
    with torch.no_grad():
        net(torch.rand(1, 3, 20, 20))
    for hook in hooks:
        hook.remove()
    return total * 400


def meta(kind: str, **options: object) -> nn.Module:
    with torch.device("meta"):
        return registry.make("nets", kind, **options)


@pytest.mark.parametrize(
    ("kind", "options", "parameters"),
    [
        ("gran", {}, 3_195_779),
        ("gran", {"channels": 1}, 3_193_473),
        ("gran", {"up": "nearest", "hr_blocks": 1}, 3_195_971),
        ("gran", {"up": "pixelshuffle", "hr_blocks": 1, "blocks": 38}, 3_195_971),
        ("gran", {"hr_blocks": 1, "blocks": 38}, 3_195_779),
        ("edsr", {}, 38_369_283),
        ("edsr", {"width": 64, "blocks": 16, "residual_scale": 1.0}, 1_222_147),
        ("rdn", {}, 21_975_683),
        ("sepconv", {}, 21_602_256),
        ("sepconv", {"channels": 1}, 21_600_520),
        ("sepconv", {"channels": 1, "width": 8, "levels": 4, "taps": 25}, 379_216),
        ("unfold", {}, 19_646_690),
        ("unfold", {"channels": 1}, 19_645_538),
        ("unfold", {"channels": 1, "width": 8}, 1_232_474),
        ("fuse", {}, 1_692_961),
        ("fuse", {"channels": 1, "width": 16}, 424_273),
        ("pconv", {}, 25_772_298),
        ("pconv", {"width": 8, "levels": 5}, 182_378),
        ("burst", {"base": "unet", "up": "transposed"}, 16_227_426),
        ("burst", {"base": "unet", "up": "transposed", "weight_norm": False}, 16_221_633),
        ("burst", {"base": "unet", "up": "transposed", "channels": 3}, 16_229_734),
        ("burst", {"up": "transposed"}, 4_668_241),
        ("burst", {}, 4_668_241),
        ("burst", {"merge": "encoder"}, 4_668_241),
        ("burst", {"growth": 12}, 2_881_153),
        ("burst", {"growth": 32}, 15_981_073),
        ("burst", {"levels": 3}, 2_211_089),
        ("contour", {}, 7_852_002),
        ("dcan", {}, 41_462_476),
        ("dcan", {"width": 32}, 10_369_388),
        ("student", {}, 242_788),
        ("student", {"width": 64, "blocks": 12, "scale": 4}, 904_784),
        ("affinity", {"width": 12, "growth": 5, "levels": 3, "pool": 3, "pad": False}, 84_020_475),
    ],
)
def test_parameters_to_the_digit(kind: str, options: dict, parameters: int) -> None:
    assert sum(p.numel() for p in meta(kind, **options).parameters()) == parameters


@pytest.mark.parametrize(
    ("kind", "options", "naive", "giga"),
    [
        ("gran", {}, False, "128.02"),
        ("gran", {}, True, "145.72"),
        ("gran", {"up": "nearest", "hr_blocks": 1}, False, "145.72"),
        ("gran", {"up": "pixelshuffle", "hr_blocks": 1, "blocks": 38}, False, "145.72"),
        ("edsr", {}, False, "6136.38"),
        ("rdn", {}, False, "3514.59"),
    ],
)
def test_multiply_accumulates_at_400_squared(kind: str, options: dict, naive: bool, giga: str) -> None:
    with FakeTensorMode():  # shapes alone: nothing is computed
        net = registry.make("nets", kind, **options)
        total = macs(net, transposed_on_output=naive)
    if kind == "rdn":
        # The 1x1 fusion of all blocks is applied slice by slice, past the hooks of its layer.
        total += net.fuse.weight.numel() * 400 * 400
    if kind == "gran":
        # Theta and W_r are merged into one small matrix and never run as layers; the paper counts them.
        total += 2 * 64 * 64 * 200 * 200
    assert f"{total / 1e9:.2f}" == giga


class TestEveryNet(NetContract):
    kinds = registry.names("nets")

    def export_options(self, kind: str) -> dict[str, Any]:
        return {"blocks": 0} if kind == "srn" else {}


class TestGraphAttention:
    def test_linear_order_equals_the_quadratic_one(self) -> None:
        torch.manual_seed(1)
        block, v = GraphAttention(6).double(), torch.rand(2, 6, 7, 9, dtype=torch.float64)
        nn.init.normal_(block.out.weight)
        nn.init.normal_(block.out.bias)
        theta, phi, g = (f(v).flatten(2) for f in (block.theta, block.phi, block.g))
        relation = theta.transpose(1, 2) @ phi
        y = (relation @ g.transpose(1, 2)).transpose(1, 2) / 63
        literal = torch.sigmoid(block.out(y.view_as(v))) * v + v
        # The module computes in float32 by its contract; give it doubles to see the algebra alone.
        block.float()
        assert torch.allclose(block(v.float()).double(), literal, rtol=1e-4, atol=1e-5)

    def test_gate_starts_at_one_half(self) -> None:
        v = torch.rand(1, 4, 8, 8)
        assert torch.allclose(GraphAttention(4)(v), 1.5 * v)

    def test_context_does_not_grow_with_the_image(self) -> None:
        block, v = GraphAttention(8), torch.randn(1, 8, 24, 24)
        assert torch.allclose(block.context(v), block.context(v.repeat(1, 1, 4, 4)), atol=1e-5)

    def test_contexts_of_parts_add_up(self) -> None:
        block, v = GraphAttention(8), torch.randn(1, 8, 20, 30)
        share = torch.full((1, 1, 20, 30), 1 / 600)
        parts = block.context(v[..., :12], share[..., :12]) + block.context(v[..., 12:], share[..., 12:])
        assert torch.allclose(parts, block.context(v), atol=1e-6)

    def test_half_precision_does_not_touch_the_sums(self) -> None:
        block, v = GraphAttention(8), torch.randn(1, 8, 40, 40)
        with torch.autocast("cpu", torch.bfloat16):
            assert block.context(v.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("position", ["low", "middle", "high"])
def test_attention_stands_where_it_is_asked_for(position: str) -> None:
    net = registry.make("nets", "gran", width=4, blocks=6, position=position)
    assert (len(net.trunk), len(net.rest)) == {"low": (1, 5), "middle": (3, 3), "high": (6, 0)}[position]


def test_a_short_trunk_grows_into_a_long_one_without_changing_its_output() -> None:
    from refocal.learn.train import adopt

    short, image = small("gran", zero_init=True), torch.rand(1, 1, 16, 16)
    long = registry.make("nets", "gran", channels=1, width=8, blocks=7, zero_init=True).eval()
    adopt(long, short.state_dict())
    assert torch.allclose(long(image), short(image), atol=1e-6)


def test_net_with_image_residual_starts_as_the_identity() -> None:
    image = torch.rand(1, 1, 16, 16)
    for kind in ("gran", "edsr", "rdn"):
        net = registry.make("nets", kind, **{**small_options(kind), "image_residual": True})
        assert torch.equal(net(image), image)


def test_affinities_of_the_published_size() -> None:
    net = meta("affinity", width=12, growth=5, levels=3, pool=3, pad=False)
    with torch.device("meta"):
        assert net(torch.rand(1, 53, 268, 268)).shape == (1, 3, 25, 56, 56)


@pytest.mark.parametrize("kind", ["contour", "affinity"])
def test_tiles_with_their_halo_equal_the_whole(kind: str) -> None:
    net = small(kind)
    m = net.reach.multiple
    halo, core = -(-net.reach.halo // m) * m, 3 * m
    image = torch.rand(1, 2 if kind == "affinity" else 1, 2 * halo + core + m, 2 * halo + core)
    with torch.no_grad():
        whole = net(image)[..., halo + m : halo + m + core, halo : halo + core]
        tile = net(image[..., m:, :])[..., halo : halo + core, halo : halo + core]
    assert torch.allclose(tile, whole, atol=1e-5)


@pytest.mark.parametrize("kind", ["gran", "student"])
def test_a_net_that_is_told_begins_as_one_that_is_not_and_learns_from_it(kind: str) -> None:
    options = {"channels": 1, "width": 8, "blocks": 3}
    torch.manual_seed(0)
    blind = registry.make("nets", kind, **options)
    for parameter in blind.parameters():
        nn.init.normal_(parameter, std=0.1)
    told = registry.make("nets", kind, **options, told=True)
    assert not told.load_state_dict(blind.state_dict(), strict=False).unexpected_keys
    assert told.told == ("sigma_px", "noise")
    image = torch.rand(2, 1, 32, 32)
    maps = torch.tensor([[2.0, 0.02], [4.0, 0.05]])[:, :, None, None].expand(-1, -1, 32, 32)
    torch.testing.assert_close(told(torch.cat([image, maps], 1)), blind(image))
    told(torch.cat([image, maps], 1)).square().mean().backward()
    felt = [block.told.weight.grad for block in told.trunk]
    assert all(gradient is not None and gradient.abs().max() > 0 for gradient in felt)
