"""A model for bursts from the command line: trained, scored, adapted to a stream, used on it."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from drawn import SHARP, save, texture
from program import Program
from refocal.core.values import ImageInfo
from refocal.models import header
from refocal.parts.formats import create_image

RECIPE = """
name: tiny
net: burst
net_options: {width: 4, growth: 2, layers: 1, levels: 1, merge: encoder, squeeze: 2, image_residual: true}
objective: gradient
degradation: stream
frames: [2, 3]
patch: 48
batch: 2
steps: 4
precision: 32-true
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sharp tiles, and a stream of 16-bit frames over moving ground."""
    lab = tmp_path_factory.mktemp("lab")
    for i in range(2):
        save(lab / "sharp" / f"{i}.png", [texture(SHARP, i, (128, 128))])
    rng = np.random.default_rng(0)
    ground = ndimage.gaussian_filter(rng.standard_normal((260, 160)), 3)
    ground = 3000 + 900 * ground / ground.std()
    frames = [ground[12 * i : 12 * i + 144, :144] + 200 * rng.standard_normal((144, 144)) for i in range(8)]
    counts = [frame.clip(0, 65535).astype(np.uint16) for frame in frames]
    create_image(lab / "stream.tif", counts, like=ImageInfo((8, 144, 144), counts[0].dtype, 31.0))
    (lab / "tiny.yaml").write_text(RECIPE)
    return lab


@pytest.fixture(scope="module")
def model(program: Program, lab: Path) -> Path:
    said = program("train", "tiny.yaml", "-d", "sharp", "-o", "one", "--valid", "held=sharp", cwd=lab)
    assert "psnr" in said.err
    return lab / "one" / "tiny.safetensors"


def test_the_header_says_any_number_of_frames(model: Path) -> None:
    about = header.read(model)
    assert (about.net, about.frames, about.channels) == ("burst", 0, 1)


def test_bursts_are_scored_beside_their_baselines(inside: Program, lab: Path, model: Path) -> None:
    restorers = ("-r", "mean=merge:by=mean", "-r", f"net=burst:model={model}", "-r", f"name={model}")
    said = inside("evaluate", "sharp", "--degradation", "stream", "--frames", 5, *restorers, "--json", cwd=lab)
    rows = [line for line in said.out.splitlines() if line.startswith("{")]
    assert len(rows) == 4
    assert '"mean"' in said.out
    scores = {row["restorer"]: row["psnr"] for row in map(json.loads, rows)}
    assert scores["name"] == scores["net"] != scores["nothing"]


def test_adapting_changes_the_statistics_and_nothing_else(inside: Program, lab: Path, model: Path) -> None:
    from refocal.models import torch_weights

    inside("adapt", model, "stream.tif", "-o", "mine.safetensors", "--passes", 3, "--patch", 64, cwd=lab)
    about, before = header.read(lab / "mine.safetensors"), header.read(model)
    assert (about.name, about.frames, about.options) == ("mine", 0, before.options)
    assert about.recipe["adapted"]["passes"] == 3
    old, new = (torch_weights.load(path).state_dict() for path in (model, lab / "mine.safetensors"))
    changed = {name for name, tensor in old.items() if not np.array_equal(tensor.numpy(), new[name].numpy())}
    assert changed
    assert all("running_" in name or "num_batches" in name for name in changed)
    inside("burst", "stream.tif", "-o", "out", "--restorer", "mine.safetensors", cwd=lab)
    assert list((lab / "out" / "frames").iterdir())


def test_what_cannot_be_adapted_is_refused_in_one_line(inside: Program, lab: Path, model: Path) -> None:
    said = inside("adapt", "gran-em", "stream.tif", "-o", "no.safetensors", cwd=lab, code=2)
    assert "no batch norm" in said.line
    assert "itself" in inside("adapt", model, "stream.tif", "-o", model, cwd=lab, code=2).line
    assert "NAME.safetensors" in inside("adapt", model, "stream.tif", "-o", "x.onnx", cwd=lab, code=2).line
    save(lab / "tiny" / "a.png", [texture(SHARP, 1, (40, 40))])
    assert "no burst" in inside("adapt", model, "tiny", "-o", "no.safetensors", cwd=lab, code=2).line
    assert "--patch 40 would fit" in inside("adapt", model, "tiny", "-o", "no.safetensors", cwd=lab, code=2).line
    assert not (lab / "no.safetensors").exists()
