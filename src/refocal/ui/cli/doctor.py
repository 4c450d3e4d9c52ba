"""The command doctor."""

import importlib.metadata
import os
import platform
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import typer

from refocal.core.errors import BadModelError, RefocalError
from refocal.core.version import __version__
from refocal.models import header
from refocal.ui.cli import Panel, app, main
from refocal.ui.cli._options import AsJson
from refocal.ui.cli._show import print_rows

INSTALL = "run `pip install -e .` in the checkout again"
_EXTRA = re.compile(r"""extra\s*==\s*["']([\w-]+)["']""")
_TOOLS = "dev"


@app.command("doctor", rich_help_panel=Panel.LOOK)
def doctor(as_json: AsJson = False) -> None:
    """Check this installation; exit code 1 if it is broken.

    Looks at the console script, packages, processor, runtimes and shipped models.

    For example:

        refocal doctor
    """
    rows = list(_checks())
    print_rows(rows, as_json)
    raise typer.Exit(0 if all(row["ok"] for row in rows) else 1)


def _checks() -> Iterator[dict[str, Any]]:
    yield _row("refocal", __version__)
    yield _row("console script", *_console_script())
    yield from _leftovers()
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


def _console_script() -> tuple[str, bool]:
    """Tell whether what is installed under the name `refocal` starts this program."""
    try:
        installed = importlib.metadata.distribution("refocal")
    except importlib.metadata.PackageNotFoundError:
        return f"refocal is not installed: {INSTALL}", False
    scripts = [one.value for one in installed.entry_points if one.group == "console_scripts" and one.name == "refocal"]
    expected = f"{main.__module__}:{main.__name__}"
    if scripts == [expected]:
        return expected, True
    return f"starts {', '.join(scripts) or 'nothing'}, expected {expected}: {INSTALL}", False


def _leftovers() -> Iterator[dict[str, Any]]:
    """Tell of folders in which an update left nothing but compiled files; they can still be imported, as empty ones."""
    caches = Path(str(files("refocal"))).rglob("__pycache__")
    folders = {cache.parent for cache in caches if not _holds_sources(cache.parent)}
    if outer := sorted(folder for folder in folders if folder.parent not in folders):
        names = ", ".join(map(str, outer))
        yield _row("leftover folders", f"nothing but compiled files in {names}: delete them, and {INSTALL}", ok=False)


def _holds_sources(folder: Path) -> bool:
    """Tell whether there is anything but compiled files in a folder, or below it."""
    return any(path.is_file() and path.parent.name != "__pycache__" for path in folder.rglob("*"))


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
