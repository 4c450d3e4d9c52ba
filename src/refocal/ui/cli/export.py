"""The command export."""

import importlib.util
from pathlib import Path
from typing import Annotated

import typer

from refocal.core import registry
from refocal.core.errors import UsageError, missing_extra
from refocal.models import header
from refocal.ui.cli import Panel, app

CROP, LIMIT = 384, 32
TILES = f"sharp tiles to calibrate on, files or folders; the centres of {CROP} px of at most {LIMIT} of each"


@app.command("export", rich_help_panel=Panel.MODELS)
def export(
    model: Annotated[str, typer.Argument(help="Shipped model, or path of a model file.")],
    onnx: Annotated[Path | None, typer.Option(help="OUT.onnx: one image in, one image out.")] = None,
    bioimageio: Annotated[Path | None, typer.Option(help="OUT.zip: a BioImage.IO package with test images.")] = None,
    int8: Annotated[Path | None, typer.Option(help="OUT.safetensors: the model in 8-bit integers.")] = None,
    data: Annotated[list[str] | None, typer.Option("--data", "-d", help=f"For --int8: {TILES}.")] = None,
    most_db: Annotated[
        float, typer.Option(help="For --int8: largest loss on held-out tiles, dB; a model that loses more is refused.")
    ] = 0.1,
) -> None:
    """Write a model for other programs, or in 8-bit integers.

    Needs the `train` extra; --int8 needs `onnx` too.

    PyTorch reads the weights themselves, NAME.safetensors, without refocal.

    For example:

        refocal export gran-em --onnx gran-em-alone.onnx

        refocal export runs/a/mine.safetensors --bioimageio mine.zip

        refocal export gran-em --int8 gran-em-int8.safetensors --data sharp
    """
    if onnx is None and bioimageio is None and int8 is None:
        raise UsageError("nothing to write: give --onnx OUT.onnx, --bioimageio OUT.zip or --int8 OUT.safetensors")
    if (int8 is None) != (not data):
        raise UsageError("--int8 OUT.safetensors and --data TILES belong together: the tiles calibrate the model")
    path = header.find(model)
    for given, suffix in ((onnx, ".onnx"), (bioimageio, ".zip"), (int8, ".safetensors")):
        if given is None:
            continue
        if given.suffix != suffix or not given.parent.is_dir():
            raise UsageError(f"{given}: expected a name that ends in {suffix}, in a folder that exists")
        if given.stem == path.stem and given.resolve().parent == path.resolve().parent and suffix != ".zip":
            raise UsageError(f"{given} belongs to the model itself; choose another name")
    about = header.read(path)
    registry.load("nets", about.net)  # without PyTorch: one line
    if onnx is not None:
        from refocal.learn.export.onnx_graph import export_alone
        from refocal.models import torch_weights

        typer.echo(f"{onnx}  SHA-256 {export_alone(torch_weights.load(path), about, onnx)}")
    if bioimageio is not None:
        from refocal.learn.export.bioimageio import write_package

        typer.echo(write_package(path, bioimageio))
    if int8 is not None:
        typer.echo(f"{int8}  {_quantise(path, data or [], int8, most_db)}")


def _quantise(path: Path, data: list[str], out: Path, most_db: float) -> str:
    if importlib.util.find_spec("onnxruntime") is None:
        raise missing_extra("onnxruntime", "onnx")
    from refocal.learn.evaluate.scores import read_truths
    from refocal.learn.export.int8 import quantise

    return str(quantise(path, list(read_truths(data, crop=CROP, limit=LIMIT)), out, most_db))
