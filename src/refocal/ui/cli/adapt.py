"""The command adapt."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from refocal.core.errors import BadOptionError, TileError
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import Window, contrast_of, window_of

if TYPE_CHECKING:
    from refocal.core.values import Contrast, Pixels
    from refocal.models.header import ModelHeader

_MOST = 64


@app.command("adapt", rich_help_panel=Panel.MODELS)
def adapt(
    model: Annotated[str, typer.Argument(help="Shipped model, or path of a model file.")],
    stream: Annotated[list[Path], typer.Argument(help="Frames of the new specimen: folders, files, stacks.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The adapted model, NAME.safetensors.")],
    passes: Annotated[int, typer.Option(help="Forward passes.", min=1)] = 20,
    momentum: Annotated[float, typer.Option(help="Weight of each new pass.", min=0.0001, max=1)] = 0.1,
    cumulative: Annotated[
        bool, typer.Option("--cumulative", help="Discard the old statistics and average the new ones.")
    ] = False,
    patch: Annotated[int, typer.Option(help="Edge of the crops, px.", min=16)] = 256,
    window: Window = None,
    seed: Annotated[int, typer.Option(help="The same seed takes the same crops.", min=0)] = 0,
) -> None:
    """Adapt a model to a new specimen without training.

    Only the statistics of its batch norms change; a model without batch norm is refused. Takes frames of the stream, no
    stopped, sharp ones. Needs the `train` extra. Compare the result: run `refocal burst` with both models.

    For example:

        refocal adapt burst.safetensors stream.tif -o mine.safetensors

        refocal adapt burst.safetensors frames -o mine.safetensors --cumulative
    """
    from refocal.learn.adapt import adapt as run_adapt
    from refocal.learn.adapt import crops
    from refocal.learn.export import onnx_graph
    from refocal.learn.export.model_card import card
    from refocal.models import torch_weights

    if out.suffix != ".safetensors":
        raise BadOptionError(f"--out names a model file, NAME.safetensors; got {out}")
    path = header.find(model)
    if out.exists() and out.resolve() == path.resolve():
        raise BadOptionError(f"{out} is the model itself; give another name for the adapted one")
    about = header.read(path)
    net = torch_weights.load(path)
    bursts = _bursts(stream, about, contrast_of(window_of(window)))
    done = run_adapt(net, crops(bursts, about, passes, patch, seed), None if cumulative else momentum)
    facts = {"model": about.tensors_sha256 or about.name, "passes": done, "cumulative": cumulative}
    recipe = {**about.recipe, "adapted": {**facts, "momentum": None if cumulative else momentum}}
    out.parent.mkdir(parents=True, exist_ok=True)
    written = onnx_graph.publish(net, about.model_copy(update={"name": out.stem, "recipe": recipe}), out)
    out.with_suffix(".md").write_text(card(written, {}, f"Adapted from `{about.name}` by {done} forward passes.\n"))
    print(out)


def _bursts(stream: list[Path], about: "ModelHeader", window: "Contrast | None") -> "Iterator[Pixels]":
    """Yield (frame, y, x) pixels in contrast units: registered bursts, or frames for a model of single images."""
    from refocal.engine.streams.source import BurstSource, propose_window
    from refocal.engine.streams.track import Choice
    from refocal.engine.tiles.tiles import TileSource

    frames = TileSource(stream, contrast=window)
    frames.contrast = window or propose_window([frames.tile(block) for block in frames])
    source = frames if about.frames == 1 else BurstSource(frames, Choice(), frames.contrast)
    for number, block in enumerate(source):
        if number == _MOST:
            break
        with suppress(TileError):
            seen = source.read(block)
            yield seen.contrast.unit(seen.counts)
