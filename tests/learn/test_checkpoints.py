"""Checkpoints of others: nothing in them is run, and what does not fit is refused in one line."""

import os
import pickle

import numpy as np
import pytest
import torch

from drawn import drawn, save
from refocal.core.errors import BadModelError, RefocalError
from refocal.learn import checkpoints
from refocal.learn.examples.tiles import SharpTiles
from refocal.learn.recipe import make_recipe
from refocal.learn.train import train

RECIPE = {
    "name": "tiny", "net": "student", "net_options": {"channels": 1, "width": 8, "blocks": 1}, "steps": 1, "patch": 32,
    "degradation": "defocus", "batch": 1, "checkpoint_every": 1, "validate_every": 2,
    "degradation_options": {"sigma_px": 1.5},
}  # fmt: skip


class Runs:
    """Touches a file where it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("checkpoint")
    save(folder / "a.tif", [drawn(1)])
    tiles = SharpTiles([folder], [1], 32)
    train(make_recipe(RECIPE), tiles, folder / "out")
    return tiles, folder / "out" / "last.ckpt"


def change(content, how, mark):
    if how == "pickle":
        content["scores"] = Runs(mark)
    elif how == "shapes":
        content["net"] = {name: tensor[:1] for name, tensor in content["net"].items()}
    elif how == "keys":
        del content["net"]
    elif how == "recipe":
        content["recipe"] = 7
    elif how == "json":
        content["recipe"] = "{"
    elif how == "step":
        content["step"] = "two"
    elif how == "optimiser":
        content["optimiser"] = {"state": 3}
    elif how == "mean":
        content["net"] = [1, 2]
    return content


@pytest.mark.parametrize("how", ["pickle", "shapes", "keys", "recipe", "json", "step", "optimiser", "mean"])
def test_what_does_not_fit_is_refused(trained, tmp_path, how):
    tiles, sound = trained
    mark = tmp_path / "ran"
    content = change(torch.load(sound, weights_only=True), how, mark)
    (tmp_path / "out").mkdir()
    torch.save(content, tmp_path / "out" / "last.ckpt")
    with pytest.raises(BadModelError) as refused:
        train(make_recipe(RECIPE), tiles, tmp_path / "out")
    assert "\n" not in str(refused.value)
    assert not mark.exists()


def test_a_checkpoint_to_start_from_runs_nothing(trained, tmp_path):
    tiles, sound = trained
    mark = tmp_path / "ran"
    torch.save(change(torch.load(sound, weights_only=True), "pickle", mark), tmp_path / "s.ckpt")
    with pytest.raises(BadModelError, match="not opened"):
        train(make_recipe(RECIPE | {"start": str(tmp_path / "s.ckpt")}), tiles, tmp_path / "out")
    assert not mark.exists()


def test_damaged_files_are_refused(trained, tmp_path):
    content = trained[1].read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "last.ckpt"
    given = [b"", b"x", pickle.dumps({"recipe": "{}"}), content[: len(content) // 2], content[:100], content[100:]]
    for _ in range(40):
        flipped = bytearray(content)
        for at in rng.integers(0, len(content), 20):
            flipped[at] ^= 1 << int(rng.integers(8))
        given.append(bytes(flipped))
    for one in given:
        path.write_bytes(one)
        try:
            assert isinstance(checkpoints.read(path), dict)
        except RefocalError as error:
            assert "\n" not in str(error)  # noqa: PT017
