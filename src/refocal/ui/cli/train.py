"""The command train."""

import logging
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._show import each_step

if TYPE_CHECKING:
    from torch import nn

    from refocal.learn.examples.tiles import Tiles
    from refocal.learn.recipe import Recipe
    from refocal.learn.train import Validate


@app.command("train", rich_help_panel=Panel.MODELS)
def train(
    recipe: Annotated[str, typer.Argument(help="A shipped recipe (refocal list recipes), or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value overrides, e.g. steps=2000 seed=3.")] = None,
    data: Annotated[list[Path] | None, typer.Option("--data", "-d", help="Folders and files of sharp tiles.")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for checkpoints and the model.")] = Path("runs"),
    valid: Annotated[
        list[str] | None, typer.Option(help="Held-out sharp tiles: files, folders or patterns, or GROUP=PATH.")
    ] = None,
    labels: Annotated[list[str] | None, typer.Option(help="Label image of each --data, in order.")] = None,
    valid_labels: Annotated[list[str] | None, typer.Option(help="Label image of each --valid, in order.")] = None,
    unlabelled: Annotated[
        list[Path] | None, typer.Option(help="Blurry tiles without truth, to learn from too.")
    ] = None,
    pairs: Annotated[list[Path] | None, typer.Option(help="Measured pairs in place of --data.")] = None,
    devices: Annotated[int | None, typer.Option(help="Processes; by default all GPUs, or one CPU.", min=1)] = None,
) -> None:
    """Train a model from a recipe; the same command resumes.

    Writes NAME.safetensors, NAME.onnx and NAME.md into the output folder. Needs the `train` extra.

    For example:

        refocal train tile/gran_blind -d sharp -o runs/a --valid more

        refocal train tile/gran steps=2000 lr=1e-3 -d sharp -o runs/b

        refocal train segment/contour -d raw.tif#0:120 --labels ids.tif
    """
    from refocal.learn.recipe import load_recipe

    made = load_recipe(recipe, overrides or ())
    if not (data or pairs) or (pairs and (data or labels)):
        raise BadOptionError("give sharp tiles to learn from with --data FOLDER, or measured pairs with --pairs FOLDER")
    if made.start and not made.start.startswith("timm:") and not made.start.endswith(".ckpt"):
        header.find(made.start)
    for family, kind in (("nets", made.net), ("objectives", made.objective), ("degradations", made.degradation)):
        registry.load(family, kind)
    from refocal.learn.export.model_card import publish_run
    from refocal.learn.train import train as run_training

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    tiles = _tiles(made, data or [], labels or [], unlabelled or [], pairs or [])
    validate = _validator(made, valid or [], valid_labels or [], measured=bool(pairs)) if valid else None
    trained = run_training(made, tiles, out, validate=validate, report=each_step(made.steps), devices=devices)
    if trained.leads:
        machine = f"{platform.processor() or platform.machine()}, {platform.system()}"
        print(publish_run(trained, made, tiles.hashes(), out / f"{made.name}.safetensors", machine))


def _tiles(recipe: "Recipe", data: list[Path], labels: list[str], unlabelled: list[Path], pairs: list[Path]) -> "Tiles":
    from refocal.learn.examples.labelled import LabelledTiles, read_labelled
    from refocal.learn.examples.measured import MeasuredPairs, check_recipe, find_pairs
    from refocal.learn.examples.tiles import SharpTiles
    from refocal.learn.examples.unlabelled import WithUnlabelled

    if pairs:
        check_recipe(recipe)
        found = [pair for folder in pairs for pair in find_pairs(folder)]
        learned = MeasuredPairs(found, recipe.scales, recipe.patch)
        return WithUnlabelled(learned, unlabelled) if unlabelled else learned
    if labels:
        stacks = read_labelled([str(path) for path in data], labels)
        return LabelledTiles(stacks, recipe.scales, recipe.patch, recipe.sections)
    if recipe.frames:
        from refocal.learn.examples.bursts import burst_tiles

        return burst_tiles(recipe, data)
    if recipe.sections > 1:
        from refocal.learn.examples.triplets import Triplets

        return Triplets(data, recipe.scales, recipe.patch, recipe.sections)
    tiles = SharpTiles(data, recipe.scales, recipe.patch, recipe.softest_px)
    return WithUnlabelled(tiles, unlabelled) if unlabelled else tiles


def _validator(recipe: "Recipe", valid: list[str], labels: list[str], measured: bool) -> "Validate":
    if labels:
        from refocal.learn.evaluate.cells import held_out

        return held_out(recipe.net, valid, labels)
    if recipe.sections > 1:
        raise BadOptionError("--valid scores single tiles; check models for folds with benchmarks/folds.py")
    from refocal.learn.evaluate.scores import evaluate, read_truths
    from refocal.learn.examples.measured import read_pairs

    truths = list((read_pairs if measured else read_truths)(valid, 256, 8))
    degradation = registry.make("degradations", recipe.degradation, **recipe.degradation_options)
    frames = recipe.frames[1] if recipe.frames else 1

    def validate(net: "nn.Module") -> Mapping[str, float]:
        options = {} if recipe.frames else {"precision": "f32"}
        restorer = registry.make("restorers", "burst" if recipe.frames else "torch_model", model=net, **options)
        rows = evaluate(truths, degradation, {"net": lambda _: restorer}, frames=frames)
        return {m: sum(row[m] for row in rows) / len(rows) for m in ("psnr", "ssim")}

    return validate
