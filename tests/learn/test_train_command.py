"""From a recipe to a model that restores: train, kill, resume, publish, use."""

import json
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from drawn import SHARP, SOFT, save, texture
from program import PROGRAM, TIMEOUT, Program
from refocal.models import header, torch_weights
from refocal.parts.formats import open_image

RECIPE = """
name: tiny
net: gran
net_options: {channels: 1, blocks: 2, width: 8, image_residual: true}
degradation: defocus
degradation_options: {sigma_px: [0.5, 2.5]}
patch: 32
batch: 2
steps: 40
lr: 1.0e-3
ema: 0.9
checkpoint_every: 2
seed: 3
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("lab")
    for i in range(2):
        save(lab / "sharp" / f"{i}.png", [texture(SHARP, i, (128, 128))])
    (lab / "tiny.yaml").write_text(RECIPE)
    return lab


@pytest.fixture(scope="module")
def trained(program: Program, lab: Path) -> Path:
    """A model that one command made, scored on held-out tiles on the way."""
    said = program("train", "tiny.yaml", "-d", "sharp", "-o", "one", "--valid", "held=sharp", cwd=lab)
    assert said.out.strip() == str(Path("one") / "tiny.safetensors")
    steps = [line for line in said.err.splitlines() if line.startswith("step ")]
    assert steps[0].startswith("step 10/40 (25%")
    assert "psnr" in steps[-1]
    return lab / "one"


def test_training_leaves_a_model_with_its_card_and_its_history(trained: Path) -> None:
    about = header.read(trained / "tiny.safetensors")
    assert (about.name, about.net, about.training.steps, len(about.data)) == ("tiny", "gran", 40, 2)
    assert "defocus" in json.dumps(about.recipe)
    assert "psnr" in (trained / "tiny.md").read_text()
    lines = [json.loads(line) for line in (trained / "train.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == 40
    assert not list(trained.rglob("*.part"))


def test_the_same_command_again_trains_nothing(inside: Program, lab: Path, trained: Path) -> None:
    before = header.read(trained / "tiny.safetensors"), (trained / "train.jsonl").read_text()
    said = inside("train", "tiny.yaml", "-d", "sharp", "-o", "one", "--valid", "held=sharp", cwd=lab)
    assert "step " not in said.err
    assert (header.read(trained / "tiny.safetensors"), (trained / "train.jsonl").read_text()) == before
    refused = inside("train", "tiny.yaml", "lr=0.01", "-d", "sharp", "-o", "one", code=2, cwd=lab)
    assert "another recipe" in refused.line


def test_a_killed_run_goes_on_and_ends_with_the_same_weights(inside: Program, lab: Path, trained: Path) -> None:
    run = [PROGRAM, "train", "tiny.yaml", "-d", "sharp", "-o", "two"]
    running = subprocess.Popen(run, cwd=lab, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    checkpoint, began = lab / "two" / "last.ckpt", time.monotonic()
    while running.poll() is None and not checkpoint.exists() and time.monotonic() - began < TIMEOUT:
        time.sleep(0.005)
    running.send_signal(signal.SIGKILL)
    running.communicate()
    assert running.returncode == -signal.SIGKILL
    assert not (lab / "two" / "tiny.safetensors").exists()
    inside(*run[1:], cwd=lab)
    one, two = (header.read(folder / "tiny.safetensors") for folder in (trained, lab / "two"))
    assert two.tensors_sha256 == one.tensors_sha256
    assert two.onnx_sha256 == one.onnx_sha256


def test_the_new_model_restores_on_every_runtime(inside: Program, lab: Path, trained: Path, tmp_path: Path) -> None:
    save(tmp_path / "raw" / "a.tif", [texture(SOFT)])
    got = []
    for backend in ("openvino", "onnx", "torch"):
        out = tmp_path / backend
        inside("restore", "raw", "-o", out, "--model", trained / "tiny.safetensors", "--backend", backend, cwd=tmp_path)
        with open_image(out / "a.tif") as image:
            got.append(image.read().astype(int))
    assert np.abs(got[1] - got[2]).max() <= 1
    assert np.abs(got[0] - got[2]).max() <= 3  # bfloat16
    scores = inside("evaluate", lab / "sharp", "-r", f"mine={trained / 'tiny.safetensors'}", "--json").out
    assert [json.loads(line)["restorer"] for line in scores.splitlines()] == ["nothing", "mine"]


def test_bench_gives_a_row_for_each_runtime(inside: Program, trained: Path) -> None:
    said = inside(
        "bench", "restore", "--model", trained / "tiny.safetensors", "--size", "64x64", "--rounds", "1", "--json"
    )
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert {"openvino f32", "onnx f32"} <= {row["variant"] for row in rows}
    assert all(row["mpx_per_s"] > 0 and row["size"] == "64x64" for row in rows)
    assert all(abs(row["db_lost"]) < 0.1 for row in rows)


def test_training_goes_on_from_a_model_that_ships_by_its_name(program: Program, lab: Path) -> None:
    small = ("steps=1", "lr=1e-9", "batch=1", "patch=32", "scales=[1]", "softest_px=9", "ema=0", "name=mine")
    program("train", "student", "start=student-em", *small, "-d", "sharp", "-o", "on", cwd=lab)
    own, shipped = (
        torch_weights.load(path).state_dict() for path in (lab / "on" / "mine.safetensors", header.find("student-em"))
    )
    assert own.keys() == shipped.keys()
    assert all((own[name] - tensor).abs().max() < 1e-3 for name, tensor in shipped.items())


def test_a_start_that_is_no_model_is_refused_with_the_nearest_name(program: Program, lab: Path) -> None:
    said = program("train", "student", "start=student-me", "steps=1", "-d", "sharp", "-o", "off", cwd=lab, code=2)
    assert "student-em" in said.err
