"""Training: it learns, it resumes bit for bit, it never forgets what it was asked to do."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from refocal.core import registry
from refocal.core.errors import BadModelError, BadOptionError
from refocal.learn.examples.tiles import SharpTiles, draw_examples
from refocal.learn.recipe import Recipe, make_recipe
from refocal.learn.train import train

BASE = {
    "name": "tiny",
    "net": "gran",
    "net_options": {"channels": 1, "width": 8, "blocks": 2, "image_residual": True, "zero_init": True},
    "degradation": "defocus",
    "degradation_options": {"sigma_px": 1.5},
    "patch": 32,
    "batch": 4,
    "steps": 8,
    "lr": 3e-3,
    "ema": 0.9,
    "clip": 1.0,
    "checkpoint_every": 4,
    "validate_every": 1000,
    "seed": 5,
}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> SharpTiles:
    folder = tmp_path_factory.mktemp("sharp")
    rng = np.random.default_rng(0)
    for i in range(2):
        blobs = cv2.GaussianBlur(rng.random((160, 200)), (0, 0), 1.0)
        cv2.imwrite(str(folder / f"{i}.png"), np.clip(128 + 900 * (blobs - 0.5), 0, 255).astype(np.uint8))
    return SharpTiles([folder], [1], 32)


def recipe(**changes: object) -> Recipe:
    return make_recipe({**BASE, **changes})


def test_it_learns(tiles: SharpTiles, tmp_path: Path) -> None:
    train(recipe(steps=120), tiles, tmp_path)
    losses = [json.loads(line)["l1"] for line in (tmp_path / "train.jsonl").read_text().splitlines()]
    assert np.mean(losses[-3:]) < 0.8 * losses[0]


@pytest.mark.parametrize(
    "changes", [{}, {"objective": "adversarial", "objective_options": {"preset": "schalek", "patch": 32}}]
)
def test_a_resumed_run_equals_the_uninterrupted_one_bit_for_bit(
    tiles: SharpTiles, tmp_path: Path, changes: dict[str, object]
) -> None:
    torch.set_num_threads(1)
    whole = train(recipe(**changes), tiles, tmp_path / "whole")

    made = recipe(**changes)
    _run_until(made, tiles, tmp_path / "cut", 4)
    resumed = train(made, tiles, tmp_path / "cut")
    assert resumed.steps == whole.steps == 8
    for name, tensor in whole.net.state_dict().items():
        assert torch.equal(tensor, resumed.net.state_dict()[name]), name


def _run_until(made: Recipe, tiles: SharpTiles, out: Path, step: int) -> None:
    """Train and stop as a killed process would, right after the checkpoint at `step`."""
    original = tiles.crop
    seen = 0

    def crop(rng: np.random.Generator) -> np.ndarray:
        nonlocal seen
        seen += 1
        if seen > step * made.batch:
            raise KeyboardInterrupt
        return original(rng)

    tiles.crop = crop
    try:
        with pytest.raises(KeyboardInterrupt):
            train(made, tiles, out)
    finally:
        tiles.crop = original
    assert torch.load(out / "last.ckpt", weights_only=True)["step"] == step


def test_a_finished_run_returns_at_once(tiles: SharpTiles, tmp_path: Path) -> None:
    first = train(recipe(), tiles, tmp_path)
    again = train(recipe(), tiles, tmp_path)
    assert again.steps == first.steps
    assert again.seconds == first.seconds


def test_the_checkpoint_of_another_recipe_is_refused(tiles: SharpTiles, tmp_path: Path) -> None:
    train(recipe(steps=1), tiles, tmp_path)
    with pytest.raises(BadModelError, match="another recipe"):
        train(recipe(steps=2), tiles, tmp_path)


def test_best_and_last_are_kept(tiles: SharpTiles, tmp_path: Path) -> None:
    scores = iter([1.0, 3.0, 2.0, 0.0])
    train(recipe(validate_every=2), tiles, tmp_path, validate=lambda net: {"psnr": next(scores)})
    assert torch.load(tmp_path / "best.ckpt", weights_only=True)["step"] == 4
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["step"] == 8


def test_same_seed_same_examples_and_real_surroundings(tiles: SharpTiles) -> None:
    blur = registry.make("degradations", "defocus", sigma_px=2.0)
    first, again = (draw_examples(tiles, blur, 3, (1, 2)) for _ in range(2))
    other = draw_examples(tiles, blur, 3, (1, 3))
    for a, b, c in zip(first, again, other, strict=True):
        assert np.array_equal(a.frames.counts, b.frames.counts)
        assert np.array_equal(a.truth, b.truth)
        assert not np.array_equal(a.truth, c.truth)
        assert a.truth.shape == (32, 32)
        assert a.frames.counts.shape == (1, 32, 32)


def test_schedules(tiles: SharpTiles, tmp_path: Path) -> None:
    rates: list[float] = []
    train(recipe(schedule="halve", halve_every=10, steps=30, lr=0.01), tiles, tmp_path,
          report=lambda line: rates.append(line["lr"]))  # fmt: skip
    assert rates == [pytest.approx(v) for v in (0.01, 0.005, 0.0025)]


def test_a_folder_without_tiles_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadOptionError, match="no image"):
        SharpTiles([tmp_path], [1], 32)


def test_soft_tiles_are_no_targets_until_binning_makes_them_sharp(tmp_path: Path) -> None:
    noise = cv2.GaussianBlur(np.random.default_rng(1).random((640, 640)), (0, 0), 2.0)
    cv2.imwrite(str(tmp_path / "soft.png"), np.clip(128 + 900 * (noise - 0.5), 0, 255).astype(np.uint8))
    assert SharpTiles([tmp_path], [1, 3], 32, softest_px=1.2).crop(np.random.default_rng(0)).shape == (72, 72)
    with pytest.raises(BadOptionError, match="at most 1"):
        SharpTiles([tmp_path], [1], 32, softest_px=1.2)
