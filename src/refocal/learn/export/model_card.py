"""From a training run to the three files of a model: weights, ONNX graph and card."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from refocal.learn.export.model_header import header_of
from refocal.learn.export.onnx_graph import publish
from refocal.learn.recipe import Recipe
from refocal.learn.train import Trained
from refocal.models.header import ModelHeader, Training


def publish_run(
    trained: Trained, recipe: Recipe, data: Mapping[str, str], path: Path, machine: str, scores: str = ""
) -> Path:
    """Write NAME.safetensors, NAME.onnx and NAME.md for a finished run; return the path of the first.

    Parameters
    ----------
    trained, recipe
        The run and how it was made.
    data
        SHA-256 of every training file, by name.
    path
        NAME.safetensors.
    machine
        What it ran on, in words.
    scores
        Markdown for the section of scores.
    """
    training = Training(seconds=round(trained.seconds, 1), steps=trained.steps, seed=recipe.seed, machine=machine)
    header = header_of(recipe, trained.net, data=dict(data), training=training)
    written = publish(trained.net, header, path)
    path.with_suffix(".md").write_text(card(written, trained.scores, scores))
    return path


def card(header: ModelHeader, valid: Mapping[str, Any], scores: str = "") -> str:
    """Return a model's card in Markdown."""
    found = ", ".join(f"{name} {value:.4g}" for name, value in valid.items()) or "none"
    files = "\n".join(f"| {name} | `{digest}` |" for name, digest in sorted(header.data.items()))
    options = ", ".join(f"{k}={v}" for k, v in header.options.items())
    return f"""# {header.name}

| | |
|---|---|
| net | `{header.net}` ({options}) |
| licence | {header.licence} |
| trained | {header.training.steps} steps in {header.training.seconds / 60:.0f} min, seed {header.training.seed} |
| machine | {header.training.machine} |
| recipe SHA-256 | `{header.recipe_sha256}` |
| weights SHA-256 | `{header.tensors_sha256}` |
| validation scores | {found} |

{scores}
## Training files

| file | SHA-256 |
|---|---|
{files}
"""
