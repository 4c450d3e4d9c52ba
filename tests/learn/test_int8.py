"""Models in 8-bit integers: calibrated on tiles, measured on others, refused where they lose too much."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from scipy.ndimage import gaussian_filter

from refocal.core.errors import BadModelError, BadOptionError
from refocal.core.values import Contrast, Frames
from refocal.engine import backends
from refocal.learn.evaluate.scores import Truth
from refocal.learn.export import onnx_graph
from refocal.learn.export.int8 import quantise
from refocal.models import header, torch_weights
from refocal.parts.nets.gran import GRAN
from refocal.parts.nets.student import Student

NETS = {"gran": {"channels": 1, "width": 8, "blocks": 1, "image_residual": True}, "student": {"width": 8, "blocks": 1}}


def tiles(count: int) -> list[Truth]:
    rng = np.random.default_rng(0)
    fields = [gaussian_filter(rng.standard_normal((50, 71)), 2) for _ in range(count)]
    return [Truth("drawn", str(i), np.uint8(np.clip(128 + 300 * f, 0, 255))) for i, f in enumerate(fields)]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, found = tmp_path_factory.mktemp("models"), {}
    for kind, net_class in (("gran", GRAN), ("student", Student)):
        torch.manual_seed(0)
        net = net_class(**NETS[kind])
        for parameter in net.parameters():
            if not parameter.detach().any():
                torch.nn.init.normal_(parameter, std=0.02)
        about = header.ModelHeader(
            name=kind,
            net=kind,
            options=NETS[kind],
            reach=onnx_graph.reach_of(net),
            recipe={"degradation": "gran_protocol"},
        )
        found[kind] = folder / f"{kind}.safetensors"
        onnx_graph.publish(net, about, found[kind])
    return found


@pytest.mark.parametrize("kind", NETS)
def test_the_trunk_is_in_integers_and_the_pixels_stay(kind: str, models: dict[str, Path], tmp_path: Path) -> None:
    model = models[kind]
    lost = quantise(model, tiles(5), tmp_path / "small.safetensors", most_db=1.0)
    assert lost.float32.shape == lost.int8.shape == (2,)
    assert abs(lost.db) < 1
    operators = [n.op_type for n in onnx.load(tmp_path / "small.onnx").graph.node]
    assert operators.count("QuantizeLinear") == {"gran": 3, "student": 2}[kind]
    frames = Frames(tiles(6)[-1].counts[None], contrast=Contrast(0, 255))
    whole, small = (
        backends.learned(m, "openvino")([frames])[0].counts for m in (model, tmp_path / "small.safetensors")
    )
    assert np.abs(whole.astype(int) - small).mean() < 2
    assert (whole != frames.image).any()


def test_the_model_says_what_it_is(models: dict[str, Path], tmp_path: Path) -> None:
    model = models["student"]
    lost = quantise(model, tiles(4), tmp_path / "small.safetensors", most_db=1.0)
    about = header.read(tmp_path / "small.safetensors")
    assert about.name == "small"
    assert about.tensors_sha256 == header.read(model).tensors_sha256
    assert header.onnx_bytes(tmp_path / "small.safetensors", about)
    card = (tmp_path / "small.md").read_text()
    assert str(lost) in card
    assert "Calibrated on 3 tiles" in card


def test_too_great_a_loss_is_refused_with_its_size_and_nothing_is_left(models: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match=r"dB lost .* held-out tiles.*-9 dB are allowed, so nothing was written"):
        quantise(models["student"], tiles(4), tmp_path / "small.safetensors", most_db=-9)
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_quantised_is_said(models: dict[str, Path], tmp_path: Path) -> None:
    silent = tmp_path / "silent.safetensors"
    about = header.read(models["student"])
    torch_weights.save(torch_weights.load(models["student"]), about.model_copy(update={"recipe": {}}), silent)
    with pytest.raises(BadOptionError, match="give two or more, got 1"):
        quantise(models["student"], tiles(1), tmp_path / "small.safetensors")
    with pytest.raises(BadModelError, match="does not say how they were degraded"):
        quantise(silent, tiles(3), tmp_path / "small.safetensors")
