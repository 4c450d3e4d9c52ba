"""What every objective promises, and the critic of GRAN_GAN."""

import copy
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadModelError, BadOptionError
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives.adversarial import PRESETS, Critic

OPTIONS = {
    "adversarial": {"patch": 32, "preset": "schalek"},
    "least_squares_gan": {"width": 8},
    "relativistic_gan": {"width": 8},
    "semi_supervised": {"width": 8},
    "ssim": {"pixel": 1.0},
}
PERCEPTUAL = {"perceptual", "relativistic_gan", "semi_supervised"}
FOLDED = {"flow", "fusion", "inpainting"}
"""Objectives that learn from folded triplets; see test_fold_objectives."""
LABELLED = {"contour": {"width": 4, "levels": 2}, "affinity": {"width": 4, "levels": 2}}
"""Objectives that learn from labels, and the options of the net of that name; see test_label_objectives."""


def blur(truth: torch.Tensor) -> torch.Tensor:
    return nn.functional.avg_pool2d(truth, 3, 1, 1)


@pytest.fixture
def batch() -> Batch:
    torch.manual_seed(0)
    truth = torch.rand(2, 1, 32, 32)
    return Batch(blur(truth), truth, {"unlabelled": blur(torch.rand(2, 1, 32, 32))})


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(1)
    return registry.make("nets", "edsr", channels=1, width=4, blocks=1)


def net_for(kind: str) -> nn.Module:
    torch.manual_seed(1)
    if kind == "multi_scale":
        return registry.make("nets", "deepdeblur", channels=1, width=4, blocks=1)
    return registry.make("nets", "edsr", channels=1, width=4, blocks=1)


@pytest.fixture(scope="module")
def domain(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A segmentation model, untrained, whose features perceptual losses can compare."""
    torch.manual_seed(2)
    options = {"channels": 1, "width": 4, "levels": 2}
    net = registry.make("nets", "contour", **options)
    about = header.ModelHeader(name="domain", net="contour", options=options, reach=onnx_graph.reach_of(net))
    path = tmp_path_factory.mktemp("domain") / "domain.safetensors"
    torch_weights.save(net, about, path)
    return str(path)


@pytest.fixture
def make(domain: str) -> Callable[[str], nn.Module]:
    """Make an objective with the options that it cannot do without, and features where it can use some."""

    def made(kind: str) -> nn.Module:
        features = {"model": domain} if kind in PERCEPTUAL else {}
        return registry.make("objectives", kind, **OPTIONS.get(kind, {}), **features)

    return made


@pytest.mark.parametrize("kind", sorted(set(registry.names("objectives")) - LABELLED.keys() - FOLDED))
class TestEveryObjective:
    def test_losses_are_finite_scalars_that_reach_every_parameter(
        self, kind: str, make: Callable[[str], nn.Module], batch: Batch
    ) -> None:
        net = net_for(kind)
        losses = make(kind)(net, batch)
        assert losses
        assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())

    def test_twenty_steps_bring_the_net_closer_to_the_truth(
        self, kind: str, make: Callable[[str], nn.Module], batch: Batch
    ) -> None:
        net, objective = net_for(kind), make(kind)
        optimiser = torch.optim.Adam(net.parameters(), 3e-3)
        before = (net(batch.frames) - batch.truth).abs().mean().item()
        for _ in range(20):
            optimiser.zero_grad()
            sum(objective(net, batch).values()).backward()
            optimiser.step()
        assert (net(batch.frames) - batch.truth).abs().mean().item() < 0.8 * before

    def test_leaves_the_batch_alone(self, kind: str, make: Callable[[str], nn.Module], batch: Batch) -> None:
        frames, truth, others = (t.clone() for t in (batch.frames, batch.truth, batch.hints["unlabelled"]))
        make(kind)(net_for(kind), batch)
        assert torch.equal(frames, batch.frames)
        assert torch.equal(truth, batch.truth)
        assert torch.equal(others, batch.hints["unlabelled"])

    def test_state_is_all_that_the_next_step_needs(
        self, kind: str, make: Callable[[str], nn.Module], batch: Batch
    ) -> None:
        first, second = make(kind), make(kind)
        first(net_for(kind), batch)
        second.load_state_dict(first.state_dict())
        results = []
        for objective in (first, second):
            torch.manual_seed(3)
            results.append(objective(net_for(kind), batch))
        assert all(torch.equal(results[0][name], results[1][name]) for name in results[0])


def test_critic_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        assert sum(p.numel() for p in Critic(channels=3, patch=96).parameters()) == 23_563_649


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_trains_its_critic_without_touching_the_net(preset: str, net: nn.Module, batch: Batch) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        objective = registry.make("objectives", "adversarial", preset=preset, patch=32)
    critic, weights = copy.deepcopy(objective.critic.state_dict()), copy.deepcopy(net.state_dict())
    losses = objective(net, batch)
    assert "adversarial" in losses
    assert any(not torch.equal(critic[k], v) for k, v in objective.critic.state_dict().items())
    assert all(torch.equal(weights[k], v) for k, v in net.state_dict().items())


def test_the_critic_learns_to_tell_restored_from_true(net: nn.Module, batch: Batch) -> None:
    torch.manual_seed(0)
    objective = registry.make("objectives", "adversarial", preset="schalek", patch=32)
    for _ in range(15):
        objective(net, batch)
    with torch.no_grad():
        assert objective.critic(batch.truth).mean() > objective.critic(net(batch.frames)).mean()


def test_optimiser_of_the_critic_is_part_of_the_state(net: nn.Module, batch: Batch) -> None:
    first = registry.make("objectives", "adversarial", preset="schalek", patch=32)
    first(net, batch)
    second = registry.make("objectives", "adversarial", preset="schalek", patch=32)
    second.load_state_dict(first.state_dict())
    torch.manual_seed(3)
    first(net, batch)
    torch.manual_seed(3)
    second(net, batch)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_perceptual_term_is_off_with_a_clear_message_when_there_are_no_weights(net: nn.Module, batch: Batch) -> None:
    with pytest.warns(UserWarning, match="perceptual term is off"):
        objective = registry.make("objectives", "adversarial", patch=32)
    assert set(objective(net, batch)) == {"adversarial", "pixel"}


def test_vgg_weights_come_from_a_path(tmp_path, net: nn.Module, batch: Batch) -> None:
    from refocal.parts.objectives import _vgg

    layers, inputs, index = {}, 3, 0
    for width in _vgg._WIDTHS:
        if width:
            layers[f"features.{index}.weight"] = torch.randn(width, inputs, 3, 3) * 0.02
            layers[f"features.{index}.bias"] = torch.zeros(width)
            inputs, index = width, index + 2
        else:
            index += 1
    torch.save(layers, tmp_path / "vgg.pth")
    objective = registry.make("objectives", "adversarial", patch=32, vgg=str(tmp_path / "vgg.pth"))
    losses = objective(net, batch)
    assert losses["perceptual"] > 0
    assert "pixel" not in losses
    torch.save({"wrong": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(BadModelError, match="VGG-19"):
        registry.make("objectives", "adversarial", patch=32, vgg=str(tmp_path / "other.pth"))


def test_a_download_whose_checksum_is_wrong_is_refused(tmp_path, monkeypatch) -> None:
    from refocal.parts.objectives import _vgg

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "vgg19-dcbb9e9d.pth").write_bytes(b"not the file")
    with pytest.raises(BadModelError, match="SHA-256"):
        _vgg._download()


def test_unknown_preset_is_refused() -> None:
    with pytest.raises(BadOptionError, match="edsr_gan"):
        registry.make("objectives", "adversarial", preset="gann")
