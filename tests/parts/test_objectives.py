"""What every objective promises, and the critic of GRAN_GAN."""

import copy
import warnings
from typing import Any

import pytest
import torch
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadModelError, BadOptionError
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives.adversarial import PRESETS, Critic
from refocal.testing import ObjectiveContract

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
LABELLED = {"contour", "affinity"}
"""Objectives that learn from labels; see test_label_objectives."""


@pytest.fixture
def batch() -> Batch:
    return ObjectiveContract().batch("")


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(1)
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


class TestEveryObjective(ObjectiveContract):
    kinds = sorted(set(registry.names("objectives")) - LABELLED - FOLDED)

    @pytest.fixture(autouse=True)
    def _domain(self, domain: str) -> None:
        self.domain = domain

    def options(self, kind: str) -> dict[str, Any]:
        features = {"model": self.domain} if kind in PERCEPTUAL else {}
        return {**OPTIONS.get(kind, {}), **features}

    def net(self, kind: str) -> nn.Module:
        if kind == "multi_scale":
            torch.manual_seed(1)
            return registry.make("nets", "deepdeblur", channels=1, width=4, blocks=1)
        return super().net(kind)


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
