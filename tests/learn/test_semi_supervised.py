"""Rivals and few labels: every kind of loss trains in the one loop, and tiles without truth reach it as recorded."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from program import Program
from refocal.core.errors import BadOptionError
from refocal.core.registry import make
from refocal.learn.examples.tiles import SharpTiles, draw_examples
from refocal.learn.examples.unlabelled import WithUnlabelled
from refocal.learn.recipe import make_recipe
from refocal.learn.train import train

BASE = {
    "name": "tiny",
    "net": "sgpn",
    "net_options": {"channels": 1, "encoder": [4] * 5, "decoder": [4] * 5, "window": 64},
    "objective": "semi_supervised",
    "objective_options": {"width": 4, "perceptual": 0.0},
    "degradation": "defocus",
    "degradation_options": {"sigma_px": 1.5},
    "patch": 32,
    "batch": 2,
    "steps": 3,
}
SRN = {
    "net": "srn",
    "net_options": {"channels": 1, "widths": [3, 4, 6], "blocks": 0},
    "objective": "multi_scale",
    "objective_options": {},
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    sharp, blurry = tmp_path_factory.mktemp("sharp"), tmp_path_factory.mktemp("blurry")
    for folder, low, high in ((sharp, 0, 120), (blurry, 130, 250)):
        cv2.imwrite(str(folder / f"{folder.name}.png"), rng.integers(low, high, (100, 120), np.uint8))
    return sharp, blurry


def test_tiles_without_truth_travel_as_they_were_recorded(folders: tuple[Path, Path]) -> None:
    sharp, blurry = folders
    tiles = WithUnlabelled(SharpTiles([sharp], [1], 32), [blurry])
    assert len(tiles.hashes()) == 2
    examples = draw_examples(tiles, make("degradations", "defocus", sigma_px=2.0), 4, (1, 2), invert=1.0)
    for example in examples:
        other = example.hints["unlabelled"]
        assert other.shape == (1, 32, 32)
        assert other.min() >= 130 / 255  # the others are inverted and blurred, these are not
        assert other.std() > 0.1
    again = draw_examples(tiles, make("degradations", "defocus", sigma_px=2.0), 4, (1, 2), invert=1.0)
    assert all((a.hints["unlabelled"] == b.hints["unlabelled"]).all() for a, b in zip(examples, again, strict=True))


@pytest.mark.parametrize(
    ("changes", "losses"),
    [
        ({}, {"content", "adversarial", "unsupervised"}),
        (SRN, {"1/4", "1/2", "1/1"}),
    ],
    ids=["semi_supervised", "multi_scale"],
)
def test_it_trains(folders: tuple[Path, Path], tmp_path: Path, changes: dict, losses: set[str]) -> None:
    sharp, blurry = folders
    tiles = WithUnlabelled(SharpTiles([sharp], [1], 32), [blurry])
    trained = train(make_recipe({**BASE, **changes}), tiles, tmp_path)
    assert trained.steps == 3
    last = json.loads((tmp_path / "train.jsonl").read_text().splitlines()[-1])
    assert losses <= last.keys()


def test_a_recipe_that_needs_tiles_without_truth_says_so(folders: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match="--unlabelled"):
        train(make_recipe(BASE), SharpTiles([folders[0]], [1], 32), tmp_path)


def test_the_command_takes_them(folders: tuple[Path, Path], tmp_path: Path, inside: Program) -> None:
    (tmp_path / "r.yaml").write_text(json.dumps({**BASE, "steps": 1}))
    sharp, blurry = folders
    inside("train", tmp_path / "r.yaml", "-d", sharp, "--unlabelled", blurry, "-o", tmp_path / "out")
    assert (tmp_path / "out" / "tiny.onnx").is_file()
