"""From labels to scores by cells: train a small net, score restorers by its cells, refuse what cannot be."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import nn

from drawn import save
from program import Program
from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import Reach
from refocal.learn.evaluate import cells
from refocal.learn.evaluate.split_merge_map import mistakes, picture
from refocal.learn.examples.labelled import LabelledTiles, components, read_labelled

RECIPE = """
name: cells
net: contour
net_options: {width: 4, levels: 1, norm: false}
objective: contour
degradation: chain
patch: 32
batch: 2
steps: 3
lr: 1.0e-2
"""


class Bright(nn.Module):
    """Stands in for a net: cells are bright, contours dark."""

    inputs, outputs, frames = 1, 2, 1
    reach = Reach(halo=0, multiple=4)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(30.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.cat(((image - 0.45) * self.gain, (0.45 - image) * self.gain), 1)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six sections of bright cells with dark membranes two pixels wide, their ids, and a mask of cells."""
    lab, rng = tmp_path_factory.mktemp("lab"), np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(96), np.arange(104), indexing="ij"), -1)
    spots = np.stack(np.meshgrid(np.arange(8, 96, 16), np.arange(8, 104, 16), indexing="ij"), -1).reshape(-1, 2)
    ids, images = [], []
    for _ in range(6):
        cell = np.square(grid[:, :, None] - spots - rng.uniform(-4, 4, spots.shape)).sum(-1).argmin(-1) + 1
        edge = ndimage.grey_dilation(cell, 2) != ndimage.grey_erosion(cell, 2)
        images.append(np.clip(np.where(edge, 40, 190) + rng.normal(0, 4, edge.shape), 0, 255).astype(np.uint8))
        ids.append(cell.astype(np.uint16))
    save(lab / "raw.tif", images)
    save(lab / "ids.tif", ids)
    save(lab / "mask.tif", [np.where(image > 100, 255, 0).astype(np.uint8) for image in images])
    save(lab / "small.tif", [cell[:-1] for cell in ids])
    (lab / "cells.yaml").write_text(RECIPE)
    return lab


@pytest.fixture
def tiles(lab: Path) -> list[cells.Tile]:
    return list(cells.cut_tiles(read_labelled([f"lab={lab}/raw.tif"], [f"{lab}/ids.tif"]), volume=False))


def test_train_and_evaluate_by_commands(inside: Program, lab: Path) -> None:
    said = inside(
        "train", "cells.yaml", "-d", "raw.tif#0:4", "--labels", "ids.tif", "-o", "run",
        "--valid", "raw.tif#4:6", "--valid-labels", "ids.tif", cwd=lab,
    )  # fmt: skip
    assert "rand" in said.err.splitlines()[-1]
    model = said.out.strip()
    said = inside(
        "evaluate", "a=raw.tif#4:6", "b=raw.tif#0:2", "--labels", "ids.tif", "--labels", "mask.tif", "-r", "unsharp",
        "--segment", f"contour_watershed:model={model}", "--convention", "border_px=1", "-o", "out", "--json",
        "--degradation", "defocus:sigma_px=2", cwd=lab,
    )  # fmt: skip
    rows = [json.loads(line) for line in said.out.splitlines()]
    assert [(row["group"], row["restorer"]) for row in rows[:3]] == [("a", "sharp"), ("a", "blurry"), ("a", "unsharp")]
    assert [row["tiles"] for row in rows] == [2] * 6 + [4] * 3
    assert rows[0]["conventions"]["arand"] == {"ignore_truth": [0], "border_px": 1, "zero": "singletons"}
    assert "seed_level" in rows[0]["segmenter"]
    assert "masks" in rows[0]["segmenter"]
    assert "border_px 1" in (lab / "out" / "table.md").read_text()
    with (lab / "out" / "segments.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4 * 3
    assert {p.name for p in (lab / "out" / "pictures").iterdir()} == {"mistakes-a.png", "mistakes-b.png"}
    refused = inside("restore", "raw.tif", "-o", "restored", "--model", model, "--gate", "always", code=1, cwd=lab)
    assert "does not restore" in refused.err + (lab / "restored" / "log.jsonl").read_text()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "raw.tif", "--segment", "contour_watershed"], "--labels"),
        (["evaluate", "raw.tif", "--segment", "contour_watershd", "--labels", "ids.tif"], "Did you mean"),
        (["evaluate", "raw.tif", "--segment", "contour_watershed", "--labels", "ids.tif", "--convention", "a=1"], "a"),
        (["train", "cells.yaml", "-d", "raw.tif", "-o", "r1"], "--labels"),
        (["train", "cells.yaml", "-d", "raw.tif", "--labels", "small.tif", "-o", "r2"], "shape"),
        (
            ["train", "cells.yaml", "-d", "raw.tif", "-d", "raw.tif", "--labels", "ids.tif", "-o", "r3"],
            "2 images",
        ),
        (["train", "cells.yaml", "-d", "raw.tif#4:9", "--labels", "ids.tif", "-o", "r4"], "pages 0 to 5"),
        (["train", "cells.yaml", "-d", "absent.tif", "--labels", "ids.tif", "-o", "r5"], "no such file"),
        (["train", "cells.yaml", "patch=80", "-d", "raw.tif", "--labels", "ids.tif", "-o", "r6"], "120x120"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(inside: Program, lab: Path, arguments: list[str], words: str) -> None:
    assert words in inside(*arguments, code=2, cwd=lab).line


def test_blur_costs_cells_and_sharp_is_the_best(tiles: list[cells.Tile]) -> None:
    blur = registry.make("degradations", "defocus", sigma_px=3.5)
    segmenter = registry.make("segmenters", "contour_watershed", model=Bright(), seed_level=0.5)
    undo = registry.make("restorers", "unsharp", sigma_px=2.0)
    makers = {"unsharp": lambda _: undo, "nothing": lambda _: registry.make("restorers", "identity")}
    shown: list[str] = []
    rows = cells.score(tiles, blur, makers, segmenter, show=lambda found: shown.append(found.method))
    assert shown == ["sharp", "blurry", "unsharp", "nothing"] * 6
    assert rows == cells.score(tiles, blur, makers, segmenter)
    table = {row["restorer"]: row for row in cells.summarise(rows)}
    assert table["sharp"]["arand"] < 0.1 < table["blurry"]["arand"]
    assert table["sharp"]["arand_gap_closed"] == pytest.approx(1)
    assert table["nothing"]["arand_gap_closed"] == pytest.approx(0)
    assert table["blurry"]["arand"] == table["nothing"]["arand"]
    assert table["sharp"]["arand_gain_low"] <= table["sharp"]["arand_gain"] <= table["sharp"]["arand_gain_high"]
    assert table["sharp"]["tiles"] == 6


def test_intervals_are_paired() -> None:
    """Tiles differ far more than methods do: an unpaired interval would hold zero."""
    rng = np.random.default_rng(0)
    level = rng.uniform(0.1, 0.9, 40)
    rows = []
    for name, change in (("sharp", -0.02), ("blurry", 0.0), ("better", -0.01)):
        for n, base in enumerate(level):
            scores = dict.fromkeys(cells.LABEL_METRICS, base + change + rng.normal(0, 0.002))
            rows.append({"group": "g", "tile": str(n), "restorer": name, **scores})
    row = next(r for r in cells.summarise(rows, ()) if r["restorer"] == "better")
    assert 0 < row["arand_gain_low"] < 0.01 < row["arand_gain_high"] < 0.02
    assert 0.3 < row["arand_gap_closed_low"] < 0.5 < row["arand_gap_closed_high"] < 0.7


def test_where_sharp_is_no_better_there_is_no_gap_to_close() -> None:
    scores = [{"group": "g", "tile": "t", "restorer": r, **dict.fromkeys(cells.LABEL_METRICS, 0.5)}
              for r in ("sharp", "blurry", "x")]  # fmt: skip
    row = cells.summarise(scores, ())[-1]
    assert row["arand_gap_closed"] is None
    assert row["arand_gain_low"] is None


def test_mistakes_are_missing_and_superfluous_borders() -> None:
    truth = np.kron([[1, 2], [3, 4]], np.ones((20, 20), int))
    merged, split = mistakes(np.where(truth == 2, 1, truth), truth)
    assert merged[5, 19]
    assert merged[5, 20]
    assert merged.sum() == 40
    assert not split.any()
    got = np.where((truth == 4) & (np.arange(40) >= 30), 9, truth)
    merged, split = mistakes(got, truth)
    assert not merged.any()
    assert split[30, 29]
    assert split.sum() == 40
    shifted = np.roll(truth, 1, 1)  # beside its place is no mistake
    shifted[:, :1] = truth[:, :1]
    assert not any(mask.any() for mask in mistakes(shifted, truth))
    drawn = picture([("a", truth / 4, got), ("b", truth / 4, truth)], truth)
    assert drawn.shape == (2 * 80 + 22, 2 * 80 + 4, 3)


def test_components_keep_touching_cells_apart() -> None:
    labels = np.array([[[1, 1, 2, 0, 1], [1, 2, 2, 0, 1], [0, 2, 2, 0, 0]]])
    found = components(labels)[0]
    assert len(np.unique(found)) == 4
    assert found[0, 0] == found[1, 0] != found[0, 4]
    assert (found == 0).sum() == (labels == 0).sum()


def test_crops_and_their_labels_belong_together(lab: Path) -> None:
    stacks = read_labelled([f"{lab}/raw.tif#1:5"], [f"{lab}/ids.tif"])
    assert (stacks[0].first, stacks[0].counts.shape) == (1, (4, 96, 104))
    tiles = LabelledTiles(stacks, [1], 40, sections=3)
    for seed in range(5):
        example = tiles.draw(np.random.default_rng(seed))
        assert example.frames.counts.shape == example.hints["labels"].shape == (3, 80, 80)
        for image, labels in zip(example.frames.counts, example.hints["labels"], strict=True):
            edge = ndimage.grey_dilation(labels, 3) != ndimage.grey_erosion(labels, 3)
            assert image[~edge].mean() > 0.7 > 0.4 > image[edge].mean() - 0.1
    again = tiles.draw(np.random.default_rng(4))
    assert (again.frames.counts == example.frames.counts).all()
    with pytest.raises(BadOptionError, match="at least 7 pages"):
        LabelledTiles(stacks, [1], 40, sections=7)
    binned = LabelledTiles(read_labelled([f"{lab}/raw.tif"], [f"{lab}/ids.tif"]), [2], 8).draw(np.random.default_rng(0))
    assert binned.frames.counts.shape == binned.hints["labels"].shape == (1, 48, 48)


def test_a_volume_is_one_tile(lab: Path) -> None:
    stacks = read_labelled([f"v={lab}/raw.tif"], [f"{lab}/ids.tif"])
    (tile,) = cells.cut_tiles(stacks, volume=True, crop=64, limit=4)
    assert tile.counts.shape == tile.cells.shape == (4, 64, 64)
    assert (tile.counts[0] == stacks[0].counts[1, 16:80, 20:84]).all()


def test_binning_gives_cells_of_the_full_size(tiles: list[cells.Tile]) -> None:
    from refocal.core.values import Contrast, Frames

    segment = registry.make("segmenters", "contour_watershed", model=Bright(), binning=2, seed_level=0.5)
    found = segment(Frames(tiles[0].counts, contrast=Contrast(0, 255)))
    assert found.shape == tiles[0].cells.shape
    assert cells.compare(found, tiles[0].cells, {"border_px": 2})["arand"] < 0.2


def test_features_of_a_net_compare_textures() -> None:
    from refocal.models.torch_weights import features_of

    torch.manual_seed(0)
    net = registry.make("nets", "contour", width=2, levels=2)
    truth = np.random.default_rng(0).random((160, 160)).astype(np.float32)
    fid, features = registry.load("metrics", "fid"), features_of(net.encoder)
    assert features(np.zeros((5, 64, 64), np.float32)).shape == (5, 8)
    assert (
        fid(truth, truth, features=features) < 1e-6 < fid(ndimage.gaussian_filter(truth, 1), truth, features=features)
    )


def test_drawn_cells_are_bounded_by_membranes() -> None:
    from refocal.imaging.phantom import draw_labelled, draw_section

    image, cells = draw_labelled((256, 256), 3, 8.0)
    assert (image == draw_section((256, 256), 3, 8.0)).all()
    assert cells.shape == (256, 256)
    assert len(np.unique(cells)) > 10
    edge = ndimage.grey_dilation(cells, 2) != ndimage.grey_erosion(cells, 2)
    assert image[edge & (cells > 0)].mean() < image[~edge].mean() - 0.1
