"""Segmenters are trained by the recipes that ship, on a stack whose cells are known, and score with the result."""

from pathlib import Path

import numpy as np
import pytest
import tifffile

from program import Program
from refocal.learn.recipe import shipped

RECIPES = [name.partition("/")[2] for name in shipped() if name.startswith("segment/")]
SEGMENTERS = {"contour": "contour_watershed", "affinity": "affinity_agglomeration"}


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sections of sixteen square cells with dark borders."""
    folder = tmp_path_factory.mktemp("cells")
    y, x = np.indices((96, 96))
    labels = (1 + y // 24 * 4 + x // 24).astype(np.uint16)
    counts = np.where((y % 24 < 2) | (x % 24 < 2), 40, 180).astype(np.uint8)
    tifffile.imwrite(folder / "raw.tif", np.stack([counts] * 4), photometric="minisblack")
    tifffile.imwrite(folder / "ids.tif", np.stack([labels] * 4), photometric="minisblack")
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_for_cells_trains_a_model_that_scores(inside: Program, cells: Path, recipe: str) -> None:
    small = ("steps=2", "batch=1", "patch=32", "sections=4" if recipe == "affinity" else "sections=1", "name=tiny")
    data = ("-d", "raw.tif", "--labels", "ids.tif")
    said = inside("train", recipe, *data, "-o", recipe, *small, cwd=cells)
    model = cells / said.out.strip()
    segment = f"{SEGMENTERS[recipe]}:model={model}"
    scored = inside("evaluate", "raw.tif", "--labels", "ids.tif", "--segment", segment, "--json", cwd=cells)
    assert "arand" in scored.out
