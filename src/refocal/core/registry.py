"""Families of parts: the file system is the registry.

`parts/nets/gran.py` is the net `gran`. A part module has one public name, the single entry of its `__all__`. Files that
start with an underscore are shared code of their family, not parts. Installed packages add parts through the entry
point groups `refocal.<family>` (entry point name = kind, value = the object).
"""

import importlib
import inspect
import pkgutil
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from refocal.core.errors import BadOptionError, MissingExtraError, UnknownPartError, missing_extra, nearest

# Which extra brings a package that parts import plainly.
_EXTRAS = {
    "torch": "train",
    "safetensors": "train",
    "lightning_fabric": "train",
    "onnx": "train",
    "spandrel": "spandrel",
}
_EXTRAS |= {"skimage": "segment", "waterz": "segment"}


@cache
def families() -> tuple[str, ...]:
    """Return the names of all families: the packages in `refocal.parts`."""
    parts = importlib.import_module("refocal.parts")
    return tuple(sorted(module.name for module in pkgutil.iter_modules(parts.__path__) if module.ispkg))


@cache
def names(family: str) -> tuple[str, ...]:
    """Return the kinds in a family, sorted, without importing them."""
    return tuple(sorted({*_modules(family), *_plugins(family)}))


def load(family: str, kind: str) -> Any:
    """Import one part and return its single public object.

    Raises
    ------
    UnknownPartError
        If there is no such kind; the message names the nearest one.
    MissingExtraError
        If the part needs a package that is not installed, or another package declares a part that it does not have.
    """
    if kind not in names(family):
        raise UnknownPartError(f"no {family.removesuffix('s')} named {kind!r}.{nearest(kind, names(family))}")
    try:
        if kind in _modules(family):
            module = importlib.import_module(f"refocal.parts.{family}.{kind}")
            (public,) = module.__all__
            return getattr(module, public)
        return _of_plugin(family, kind)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            raise missing_extra(package, _EXTRAS[package]) from error
        raise MissingExtraError(
            f"{family[:-1]} {kind!r} needs the package {package!r}, which is not installed"
        ) from error


def make(family: str, kind: str, **options: Any) -> Any:
    """Import one part and call it with options that are checked against its signature.

    Raises
    ------
    BadOptionError
        If an option is not a parameter of the part, a required one is missing, or the part refuses a value.
    """
    part = load(family, kind)
    known = [p.name for p in inspect.signature(part).parameters.values() if p.kind is not p.VAR_KEYWORD]
    for option in options:
        if option not in known:
            raise BadOptionError(f"{family[:-1]} {kind!r} has no option {option!r}.{nearest(option, known)}")
    try:
        inspect.signature(part).bind(**options)
    except TypeError as error:
        raise BadOptionError(f"{family[:-1]} {kind!r}: {error}; it takes {', '.join(known)}") from error
    try:
        return part(**options)
    except (TypeError, ValueError) as error:
        raise BadOptionError(f"{family[:-1]} {kind!r}: {error}") from error


@cache
def extensions(family: str) -> frozenset[str]:
    """Return the file extensions that the parts of a family declare as `extensions`, e.g. all that images have."""
    return frozenset(extension for kind in names(family) for extension in load(family, kind).extensions)


def has_extension(family: str, path: str | Path) -> bool:
    """Say whether a file name ends in an extension of a family; unfinished, hidden and backup (`~`) files do not."""
    name = Path(path).name
    return not name.startswith((".", "~")) and Path(name).suffix.lower() in extensions(family)


@cache
def _modules(family: str) -> tuple[str, ...]:
    try:
        package = importlib.import_module(f"refocal.parts.{family}")
    except ModuleNotFoundError as error:
        raise UnknownPartError(f"no family named {family!r}.{nearest(family, families())}") from error
    return tuple(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_"))


def _of_plugin(family: str, kind: str) -> Any:
    entry = _plugins(family)[kind]
    try:
        return entry.load()
    except AttributeError as error:
        package = entry.dist.name if entry.dist else "another package"
        raise MissingExtraError(
            f"{family[:-1]} {kind!r}: {package} declares it as {entry.value}, which does not exist; update or remove it"
        ) from error


@cache
def _plugins(family: str) -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group=f"refocal.{family}")}
