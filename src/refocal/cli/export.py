"""The command that hands models to other programs: export."""

from pathlib import Path
from typing import Annotated

import typer

from refocal import families, header
from refocal.cli import app
from refocal.errors import UsageError


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="shipped model or path of a model file")],
    onnx: Annotated[Path | None, typer.Option(help="OUT.onnx: one image in, one image out")] = None,
    bioimageio: Annotated[Path | None, typer.Option(help="OUT.zip: a BioImage.IO package with test images")] = None,
) -> None:
    """Write a model for programs that do not know refocal. Needs the `train` extra.

    The weights themselves, NAME.safetensors, are read by PyTorch without refocal as they are.

    For example:

        refocal export gran-em --onnx gran-em-alone.onnx

        refocal export runs/a/mine.safetensors --bioimageio mine.zip
    """
    if onnx is None and bioimageio is None:
        raise UsageError("nothing to write: give --onnx OUT.onnx, --bioimageio OUT.zip, or both")
    path = header.find(model)
    for given, suffix in ((onnx, ".onnx"), (bioimageio, ".zip")):
        if given is None:
            continue
        if given.suffix != suffix or not given.parent.is_dir():
            raise UsageError(f"{given}: expected a name that ends in {suffix}, in a folder that exists")
    if onnx is not None and onnx.resolve() == path.with_suffix(".onnx").resolve():
        raise UsageError(f"{onnx} belongs to the model itself; choose another name")
    about = header.read(path)
    families.load("nets", about.net)  # without PyTorch: one line
    if onnx is not None:
        from refocal import weights
        from refocal.export import export_alone

        typer.echo(f"{onnx}  SHA-256 {export_alone(weights.load(path), about, onnx)}")
    if bioimageio is not None:
        from refocal.bioimage import write_package

        typer.echo(write_package(path, bioimageio))
