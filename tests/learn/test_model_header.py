"""What is trained can be exported: which images a net takes is declared by the net, and asked before the first step."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from torch import nn

from refocal.core.errors import BadModelError, BadOptionError
from refocal.core.values import UNIT, Frames, Net
from refocal.engine import backends
from refocal.learn.examples.bursts import SharpBursts
from refocal.learn.examples.tiles import SharpTiles
from refocal.learn.export.model_card import publish_run
from refocal.learn.recipe import Recipe, make_recipe
from refocal.learn.train import train
from refocal.models import header, torch_weights


@pytest.fixture
def sharp(tmp_path: Path) -> Path:
    folder = tmp_path / "sharp"
    folder.mkdir()
    blobs = cv2.GaussianBlur(np.random.default_rng(0).random((80, 90)), (0, 0), 1.0)
    cv2.imwrite(str(folder / "a.png"), np.clip(128 + 900 * (blobs - 0.5), 0, 255).astype(np.uint8))
    return folder


def recipe(net: str, **changes: object) -> Recipe:
    given = {"name": "tiny", "net": net, "degradation": "defocus", "patch": 32, "batch": 1, "steps": 2}
    return make_recipe({**given, **changes})


def test_a_net_that_is_grey_unless_told_otherwise_is_trained_and_exported(sharp: Path, tmp_path: Path) -> None:
    made = recipe("student", net_options={"width": 4, "blocks": 1})
    trained = train(made, SharpTiles([sharp], [1], 32), tmp_path / "run")
    path = publish_run(trained, made, {}, tmp_path / "tiny.safetensors", "a machine")
    assert {p.name for p in tmp_path.glob("tiny.*")} == {"tiny.safetensors", "tiny.onnx", "tiny.md"}
    assert header.read(path).channels == 1
    image = np.random.default_rng(1).random((1, 40, 46), np.float32)
    (there,), (here,) = (
        backends.learned(path, kind, precision="f32")([Frames(image, contrast=UNIT)]) for kind in ("openvino", "torch")
    )
    assert np.abs(there.counts - here.counts).max() < 1e-3


@pytest.mark.parametrize(
    ("net", "changes"),
    [
        ("gran", {"net_options": {"width": 8, "blocks": 1}}),
        ("edsr", {"net_options": {"channels": 3, "width": 8, "blocks": 1}}),
        ("burst", {"net_options": {"channels": 3, "width": 4, "levels": 1}, "frames": [2, 3]}),
        ("deblurgan_v2", {"net_options": {"backbone": "mobilenet_v2", "frames": 3}, "frames": [2, 3]}),
        ("deblurgan_v2", {"net_options": {"backbone": "mobilenet_v2", "frames": 3}}),
    ],
)
def test_images_that_a_net_does_not_take_are_refused_before_the_first_step(
    net: str, changes: dict, sharp: Path, tmp_path: Path
) -> None:
    tiles = SharpBursts([sharp], [1], 32, 3) if "frames" in changes else SharpTiles([sharp], [1], 32)
    with pytest.raises(BadOptionError, match=r"takes 3 channels .* set net_options\.channels=1") as refused:
        train(recipe(net, **changes), tiles, tmp_path / "run")
    assert "\n" not in str(refused.value)
    assert not list((tmp_path / "run").iterdir())


def test_a_name_that_no_header_holds_is_refused_before_the_first_step(sharp: Path, tmp_path: Path) -> None:
    made = recipe("student", name="n" * 120, net_options={"width": 4, "blocks": 1})
    with pytest.raises(BadOptionError, match="could not be written"):
        train(made, SharpTiles([sharp], [1], 32), tmp_path / "run")


def test_a_net_says_what_it_does_not_declare() -> None:
    class Half(nn.Module):
        inputs = frames = 1

    with pytest.raises(BadModelError, match="Half does not declare outputs, reach"):
        torch_weights.declared(Half())
    assert isinstance(torch_weights.declared(student()), Net)


def student() -> nn.Module:
    from refocal.core import registry

    net: nn.Module = registry.make("nets", "student", width=4, blocks=1)
    return net
