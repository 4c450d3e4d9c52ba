"""Burst nets: order and number of frames, and what frames share."""

import pytest
import torch
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.parts.nets._burst_features import Tracks, convolved, joined

KINDS = {
    "bu": {"base": "unet", "up": "transposed", "width": 4},
    "bu_early": {"base": "unet", "width": 4, "merge": "encoder", "weight_norm": False},
    "bdu_t": {"up": "transposed", "width": 4, "growth": 2, "layers": 2, "levels": 2},
    "bdu_uc": {"width": 4, "growth": 2, "layers": 2, "levels": 2},
    "compact": {
        "width": 4, "growth": 2, "layers": 1, "levels": 1, "merge": "encoder", "squeeze": 2, "image_residual": True
    },
}  # fmt: skip


def make(kind: str) -> nn.Module:
    torch.manual_seed(0)
    net = registry.make("nets", "burst", **KINDS[kind])
    if KINDS[kind].get("image_residual"):
        nn.init.normal_(net.last.weight, std=0.2)
    return net.eval()


@pytest.mark.parametrize("kind", KINDS)
class TestFrames:
    def test_their_order_changes_nothing(self, kind: str) -> None:
        net, frames = make(kind), torch.rand(2, 5, 32, 48)
        with torch.no_grad():
            got = [net(frames[:, order]) for order in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1], [4, 3, 2, 1, 0])]
        for other in got[1:]:
            assert (got[0] - other).abs().max() <= 1e-6

    @pytest.mark.parametrize("count", [1, 2, 3, 8])
    def test_any_number_of_them(self, kind: str, count: int) -> None:
        with torch.no_grad():
            assert make(kind)(torch.rand(1, count, 32, 32)).shape == (1, 1, 32, 32)

    def test_the_same_frame_many_times_is_that_frame(self, kind: str) -> None:
        net, frame = make(kind), torch.rand(1, 1, 32, 32)
        with torch.no_grad():
            assert torch.allclose(net(frame), net(frame.repeat(1, 4, 1, 1)), atol=1e-5)

    def test_one_after_the_other_or_all_at_once(self, kind: str) -> None:
        net, frames = make(kind), torch.rand(1, 3, 32, 32)
        with torch.no_grad():
            one_after_the_other = net(frames)
        assert torch.allclose(one_after_the_other, net(frames).detach(), atol=1e-6)

    def test_every_frame_counts(self, kind: str) -> None:
        net = make(kind)
        frames = torch.rand(1, 4, 32, 32, requires_grad=True)
        net(frames).sum().backward()
        assert all(frames.grad[0, n].any() for n in range(4))


def test_the_shared_part_of_a_convolution_is_done_once_and_changes_nothing() -> None:
    torch.manual_seed(0)
    tracks = Tracks(torch.rand(6, 3, 9, 8), torch.rand(2, 5, 9, 8), 3)
    for conv in (nn.Conv2d(8, 4, 3, padding=1), nn.Conv2d(8, 4, 4, 2, 1)):
        assert torch.allclose(convolved(conv, tracks), conv(joined(tracks)), atol=1e-6)


def test_early_and_late_merging_have_the_same_weights() -> None:
    late = registry.make("nets", "burst", **KINDS["bdu_uc"])
    early = registry.make("nets", "burst", **KINDS["bdu_uc"], merge="encoder")
    early.load_state_dict(late.state_dict())


def test_compact_starts_as_the_mean_of_the_frames() -> None:
    frames = torch.rand(1, 5, 32, 32)
    with torch.no_grad():
        got = registry.make("nets", "burst", **KINDS["compact"]).eval()(frames)
    assert torch.allclose(got, frames.mean(1, keepdim=True), atol=1e-6)


def test_colour_frames_lie_behind_each_other() -> None:
    torch.manual_seed(0)
    net = registry.make("nets", "burst", channels=3, **KINDS["bdu_uc"]).eval()
    frames = torch.rand(1, 2, 3, 16, 16)
    with torch.no_grad():
        got, turned = net(frames.flatten(1, 2)), net(frames.flip(1).flatten(1, 2))
    assert got.shape == (1, 3, 16, 16)
    assert torch.allclose(got, turned, atol=1e-6)


def test_deblurgan_adds_its_change_to_the_first_of_three_frames() -> None:
    net = registry.make("nets", "deblurgan_v2", backbone="mobilenet_v2", window=128, frames=3).eval()
    frames = torch.rand(1, 3, 128, 128)
    with torch.no_grad():
        assert torch.equal(net(frames), frames[:, :1])
    assert net.inputs == 3


@pytest.mark.parametrize(
    "options", [{"base": "vgg"}, {"up": "bicubic"}, {"merge": "late"}, {"squeeze": 3}, {"growth": 0}, {"dropout": 1.0}]
)
def test_wrong_options_are_refused_in_one_line(options: dict[str, object]) -> None:
    with pytest.raises(BadOptionError) as refused:
        registry.make("nets", "burst", **options)
    assert "\n" not in str(refused.value)
