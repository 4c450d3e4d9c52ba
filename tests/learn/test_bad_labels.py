"""Labels, segmentations and features that are not what they should be: scores that make sense, or one line."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadModelError, BadOptionError
from refocal.core.values import UNIT, Frames, ImageInfo
from refocal.learn.evaluate import cells
from refocal.learn.examples import labelled
from refocal.learn.examples.labelled import LabelledTiles, read_labelled
from refocal.learn.recipe import make_recipe
from refocal.learn.train import train
from refocal.parts.formats import create_image
from refocal.parts.objectives._batch import Batch

LARGEST = np.uint64(2**64 - 1)


def grown() -> np.ndarray:
    return np.kron(np.arange(1, 17, dtype=np.uint64).reshape(4, 4), np.ones((24, 24), np.uint64))


def written(folder: Path, labels: np.ndarray) -> tuple[list[str], list[str]]:
    """Write one section with its labels."""
    image = (40 + 12 * (grown() % 16)).astype(np.uint8)
    for name, page in (("raw", image), ("ids", labels)):
        create_image(folder / f"{name}.tif", [page], ImageInfo((1, *page.shape), page.dtype))
    return [str(folder / "raw.tif")], [str(folder / "ids.tif")]


def test_the_largest_label_is_a_cell_like_any_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    labels = grown()
    large = np.where(labels == 7, LARGEST, labels)
    images, truths = written(tmp_path, labels.astype(np.uint16))
    # No image format here holds 64 bits; volumes do.
    read = labelled._pages
    monkeypatch.setattr(labelled, "_pages", lambda p, n: (large[None], None) if p.stem == "ids" else read(p, n))
    (stack,) = read_labelled(images, truths)
    assert len(np.unique(stack.labels)) == 16
    assert (stack.labels[0][large == LARGEST] == stack.labels[0][24, 48 + 12]).all()
    tiles = LabelledTiles([stack], [1], 40)
    drawn = tiles.draw(np.random.default_rng(0)).hints["labels"]
    assert drawn.min() >= 0
    (tile,) = cells.cut_tiles([stack], volume=False)
    found = cells.compare(large[None], tile.cells, {})
    assert found["arand"] == pytest.approx(0, abs=1e-12)
    assert found["voi_split"] == pytest.approx(0, abs=1e-12)


def test_labels_of_another_shape_are_refused(tmp_path: Path) -> None:
    images, truths = written(tmp_path, grown()[:-1].astype(np.uint16))
    with pytest.raises(BadOptionError, match=r"ids.tif has the shape \(1, 95, 96\), its image raw.tif \(1, 96, 96\)"):
        read_labelled(images, truths)


def test_labels_that_are_no_integers_are_refused(tmp_path: Path) -> None:
    images, truths = written(tmp_path, grown().astype(np.float32))
    with pytest.raises(BadOptionError, match="labels are integers"):
        read_labelled(images, truths)


class Nothing(nn.Module):
    """A net that sees no cell anywhere."""

    inputs, outputs, frames = 1, 2, 1

    def __init__(self, reach: object) -> None:
        super().__init__()
        self.reach, self.bias = reach, nn.Parameter(torch.zeros(1))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return (image * 0 - 30 + self.bias).repeat(1, 2, 1, 1)


def test_a_segmentation_without_cells_is_scored_as_what_it_is() -> None:
    from refocal.core.values import Reach

    segment = registry.make("segmenters", "contour_watershed", model=Nothing(Reach(0, 4)), mask_level=0.5)
    found = segment(Frames(np.full((1, 96, 96), 0.5, np.float32), contrast=UNIT))
    assert not found.any()
    truth = grown()[None].astype(np.int64)
    scores = cells.compare(found, truth, {})
    assert all(np.isfinite(value) for value in scores.values())
    assert scores["arand"] > 0.9
    assert scores["voi_merge"] == pytest.approx(4)


@pytest.mark.parametrize("kind", ["contour", "affinity"])
def test_a_recipe_that_learns_from_labels_says_that_there_are_none(kind: str) -> None:
    image = torch.rand(1, 1, 32, 32)
    with pytest.raises(BadOptionError, match="give label images with --labels"):
        registry.make("objectives", kind)(nn.Identity(), Batch(image, image))


def test_training_on_tiles_without_labels_is_refused_before_a_step(tmp_path: Path) -> None:
    from refocal.learn.examples.tiles import SharpTiles

    written(tmp_path, grown().astype(np.uint16))
    recipe = make_recipe({
        "name": "cells", "net": "contour", "net_options": {"width": 2, "levels": 1, "norm": False},
        "objective": "contour", "degradation": "chain", "patch": 16, "batch": 1, "steps": 1,
    })  # fmt: skip
    with pytest.raises(BadOptionError, match="--labels"):
        train(recipe, SharpTiles([tmp_path / "raw.tif"], [1], 16), tmp_path / "run")
    assert not list((tmp_path / "run").glob("*.ckpt"))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("semi_supervised", {}), ("adversarial", {"patch": 32}), ("perceptual", {}), ("relativistic_gan", {})],
)
def test_weights_of_vgg_that_are_not_there_are_named_in_one_line(kind: str, options: dict, tmp_path: Path) -> None:
    with pytest.raises(BadModelError, match=r"absent\.pth") as caught:
        registry.make("objectives", kind, vgg=str(tmp_path / "absent.pth"), **options)
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore:no VGG-19")
def test_without_weights_of_vgg_the_losses_go_on_without_their_term() -> None:
    image = torch.rand(1, 1, 32, 32)
    objective = registry.make("objectives", "semi_supervised", width=4, unsupervised=0.0)
    losses = objective(nn.Conv2d(1, 1, 1), Batch(image, image))
    assert "perceptual" not in losses
    assert all(torch.isfinite(value) for value in losses.values())
    assert json.dumps(sorted(losses)) == '["adversarial", "content"]'
