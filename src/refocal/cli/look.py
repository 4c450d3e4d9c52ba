"""Commands that tell what there is: list, doctor."""

import importlib.metadata
import importlib.util
import os
import platform
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

import refocal
from refocal import families, header
from refocal.cli import app
from refocal.cli._show import print_rows
from refocal.errors import BadModelError, MissingExtraError, RefocalError, UnknownPartError, nearest

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line on standard output")]


@app.command("list")
def list_command(
    family: Annotated[str | None, typer.Argument(help="a family of parts, or models; none lists the families")] = None,
    as_json: AsJson = False,
) -> None:
    """List the parts of a family with one line each.

    For example:

        refocal list degradations

        refocal list models
    """
    known = (*families.families(), "models")
    if family is None:
        rows = [{"family": name, "parts": ", ".join(_names(name))} for name in known]
    elif family in known:
        rows = [{"name": name, "what": _about(family, name)} for name in _names(family)]
    else:
        raise UnknownPartError(f"no family named {family!r}.{nearest(family, known)}")
    print_rows(rows, as_json)


def _names(family: str) -> tuple[str, ...]:
    return header.shipped() if family == "models" else families.names(family)


def _about(family: str, name: str) -> str:
    try:
        if family == "models":
            found = header.read(header.find(name))
            return f"{found.net}, {found.licence}, trained {found.training.seconds / 60:.0f} min"
        part = families.load(family, name)
    except MissingExtraError as error:
        return str(error)
    return (part.__doc__ or "").strip().partition("\n")[0]


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Check this installation: packages, processor, runtimes, shipped models; exit code 1 if something is broken.

    For example:

        refocal doctor
    """
    rows = list(_checks())
    print_rows(rows, as_json)
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


def _checks() -> Iterator[dict[str, Any]]:
    yield _row("refocal", refocal.__version__)
    yield _row("python", platform.python_version(), sys.version_info >= (3, 11))
    yield _row("machine", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    for package in ("numpy", "opencv-python-headless", "tifffile", "imagecodecs", "openvino"):
        yield _row(package, *_version(package, needed=True))
    for package in ("onnxruntime", "torch", "lightning-fabric"):
        yield _row(package, *_version(package, needed=False))
    yield _row("runtime", *_runtime())
    for model in header.shipped():
        try:
            found = header.find(model)
            header.onnx_bytes(found, header.read(found))
            yield _row(f"model {model}", "whole")
        except BadModelError as error:
            yield _row(f"model {model}", str(error), ok=False)


def _runtime() -> tuple[str, bool]:
    from refocal import backends

    try:
        kind = backends.choose()
    except RefocalError as error:
        return str(error), False
    if kind != "openvino":
        return kind, True
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return f"openvino, {'bfloat16' if 'BF16' in able else 'float32'}", True


def _version(package: str, needed: bool) -> tuple[str, bool]:
    try:
        return importlib.metadata.version(package), True
    except importlib.metadata.PackageNotFoundError:
        return ("missing: pip install refocal again" if needed else "not installed (optional)"), not needed


def _row(what: str, found: str, ok: bool = True) -> dict[str, Any]:
    return {"what": what, "found": found, "ok": ok}
