"""Commands that tell what there is: list, doctor."""

import importlib.metadata
import importlib.util
import os
import platform
import re
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer

from refocal.core import registry
from refocal.core.errors import BadModelError, MissingExtraError, RefocalError, UnknownPartError, nearest
from refocal.core.version import __version__
from refocal.models import header
from refocal.ui.cli import app
from refocal.ui.cli._show import print_rows

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line on standard output")]

_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
_TOOLS = "dev"


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
    known = (*registry.families(), "models")
    if family is None:
        rows = [{"family": name, "parts": ", ".join(_names(name))} for name in known]
    elif family in known:
        rows = [{"name": name, "what": _about(family, name)} for name in _names(family)]
    else:
        raise UnknownPartError(f"no family named {family!r}.{nearest(family, known)}")
    print_rows(rows, as_json)


def _names(family: str) -> tuple[str, ...]:
    return header.shipped() if family == "models" else registry.names(family)


def _about(family: str, name: str) -> str:
    try:
        if family == "models":
            found = header.read(header.find(name))
            return f"{found.net}, {found.licence}, trained {found.training.seconds / 60:.0f} min"
        part = registry.load(family, name)
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
    yield _row("refocal", __version__)
    yield _row("python", platform.python_version(), sys.version_info >= (3, 11))
    yield _row("machine", f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}")
    packages = _packages()
    for name, version in packages.pop("", {}).items():
        yield _row(name, version or "missing or too old: install refocal again", version is not None)
    for extra, versions in packages.items():
        lacks = ", ".join(name for name, version in versions.items() if version is None)
        have = ", ".join(f"{name} {version}" for name, version in versions.items())
        yield _row(f"extra {extra}", f"lacks {lacks}: pip install 'refocal[{extra}]'" if lacks else have)
    yield _row("runtime", *_runtime())
    for model in header.shipped():
        try:
            path = header.find(model)
            header.onnx_bytes(path, header.read(path))
            yield _row(f"model {model}", "whole")
        except BadModelError as error:
            yield _row(f"model {model}", str(error), ok=False)


def _runtime() -> tuple[str, bool]:
    from refocal.engine import backends

    try:
        kind = backends.choose()
    except RefocalError as error:
        return str(error), False
    if kind != "openvino":
        return kind, True
    import openvino

    able = openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return f"openvino, {'bfloat16' if 'BF16' in able else 'float32'}", True


def _packages() -> dict[str, dict[str, str | None]]:
    """Return the versions of what each extra needs, "" for what is always needed; None where missing or too old.

    The package's metadata say so, in lines like `zarr>=3.1; extra == 'volumes'`.
    """
    found: dict[str, dict[str, str | None]] = {}
    for requirement in importlib.metadata.requires("refocal") or ():
        what, _, marker = requirement.partition(";")
        extra = _EXTRA.search(marker)
        package, _, least = what.strip().partition(">=")
        name = package.partition("[")[0]
        if name != "refocal" and not (extra and extra[1] == _TOOLS):
            found.setdefault(extra[1] if extra else "", {})[name] = _version(name, least)
    return found


def _version(package: str, least: str) -> str | None:
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
    parts = [[int(n) for n in re.findall(r"\d+", version)[:3]] for version in (found, least)]
    return found if parts[0] >= parts[1] else None


def _row(what: str, found: str, ok: bool = True) -> dict[str, Any]:
    return {"what": what, "found": found, "ok": ok}
