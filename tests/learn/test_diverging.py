"""Training that loses its way stops at the last good checkpoint and says so in one line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from program import Program
from refocal.core import registry
from refocal.core.errors import DivergedError
from refocal.learn.examples.tiles import SharpTiles
from refocal.learn.recipe import Recipe, make_recipe
from refocal.learn.train import train
from refocal.parts.objectives._batch import Batch

BASE = {
    "name": "tiny",
    "net": "gran",
    "net_options": {"channels": 1, "width": 4, "blocks": 1},
    "objective": "doomed",
    "degradation": "chain",
    "patch": 16,
    "batch": 1,
    "steps": 20,
    "checkpoint_every": 3,
    "precision": "32-true",
}


class Doomed(nn.Module):
    """L1 that is no number any more, or the gradient of which is none, after some steps."""

    def __init__(self, good: int = 7, gradient: bool = False) -> None:
        super().__init__()
        self.register_buffer("left", torch.tensor(good))
        self.gradient = gradient

    def forward(self, net: nn.Module, batch: Batch) -> dict[str, Tensor]:
        self.left -= 1
        content = (net(batch.frames) - batch.truth).abs().mean()
        # The root has a finite value and no finite slope at zero.
        ill = (0 * content).sqrt() if self.gradient else content * float("nan")
        return {"content": content, "critic": ill if self.left < 0 else 0 * content}


@pytest.fixture
def tiles(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SharpTiles:
    load = registry.load
    monkeypatch.setattr(registry, "load", lambda family, kind: Doomed if kind == "doomed" else load(family, kind))
    folder = tmp_path / "sharp"
    folder.mkdir()
    cv2.imwrite(str(folder / "a.png"), np.random.default_rng(0).integers(0, 255, (80, 80), np.uint8))
    return SharpTiles([folder], [1], 16)


def recipe(**changes: object) -> Recipe:
    return make_recipe({**BASE, **changes})


@pytest.mark.parametrize(("gradient", "what"), [(False, "the loss 'critic'"), (True, "the loss 'content'")])
def test_it_stops_at_the_last_good_checkpoint(tiles: SharpTiles, tmp_path: Path, gradient: bool, what: str) -> None:
    out = tmp_path / "run"
    with pytest.raises(DivergedError, match="not finite") as caught:
        train(recipe(objective_options={"gradient": gradient}), tiles, out)
    said = str(caught.value)
    # A gradient that is none spoils the weights of step 8, which step 9 finds out.
    assert f"after step {7 + gradient}: {what}" in said
    assert "last.ckpt holds step 6" in said
    assert "\n" not in said
    kept = torch.load(out / "last.ckpt", weights_only=True)
    assert kept["step"] == 6
    assert all(t.isfinite().all() for t in kept["net"].values())
    with pytest.raises(DivergedError, match="holds step 6"):
        train(recipe(objective_options={"gradient": gradient}), tiles, out)


@pytest.mark.parametrize("validated", [False, True])
def test_a_bad_checkpoint_never_replaces_a_good_one(tiles: SharpTiles, tmp_path: Path, validated: bool) -> None:
    """The weights go bad in the very step after which the checkpoint is due."""
    out = tmp_path / "run"
    made = recipe(objective_options={"gradient": True, "good": 5}, validate_every=3)

    def score(net: nn.Module) -> dict[str, float]:
        return {"psnr": float(sum(p.detach().sum() for p in net.parameters()))}

    with pytest.raises(DivergedError, match=r"after step 6: a weight is not finite; .*last.ckpt holds step 3"):
        train(made, tiles, out, validate=score if validated else None)
    for path in out.glob("*.ckpt"):
        assert torch.load(path, weights_only=True)["step"] == 3
    assert (out / "best.ckpt").exists() == validated


def test_before_any_checkpoint_the_advice_is_to_start_anew(tiles: SharpTiles, tmp_path: Path) -> None:
    with pytest.raises(DivergedError, match=r"after step 0: .* no checkpoint was made"):
        train(recipe(objective_options={"good": 0}), tiles, tmp_path / "run")


def test_the_command_ends_in_one_line(tiles: SharpTiles, tmp_path: Path, inside: Program) -> None:
    (tmp_path / "r.yaml").write_text(json.dumps(BASE))
    said = inside("train", tmp_path / "r.yaml", "-d", tmp_path / "sharp", "-o", tmp_path / "out", code=1)
    last = said.err.splitlines()[-1]
    assert last.startswith("refocal: training stopped after step 7")
    assert "Traceback" not in said.err
    assert not list((tmp_path / "out").glob("*.safetensors"))
