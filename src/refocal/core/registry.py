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
from numbers import Integral, Real
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

from refocal.core.errors import BadOptionError, MissingExtraError, UnknownPartError, missing_extra, nearest, quoted

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
        raise UnknownPartError(f"no {family.removesuffix('s')} named {quoted(kind)}.{nearest(kind, names(family))}")
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
            raise BadOptionError(f"{family[:-1]} {kind!r} has no option {quoted(option)}.{nearest(option, known)}")
    try:
        inspect.signature(part).bind(**options)
    except TypeError as error:
        raise BadOptionError(f"{family[:-1]} {kind!r}: {error}; it takes {', '.join(known)}") from error
    for option, value in options.items():
        if (takes := _other_type(inspect.signature(part).parameters.get(option), value)) is not None:
            raise BadOptionError(f"{family[:-1]} {kind!r}: {option} takes {takes}, got {quoted(value)}")
    try:
        return part(**options)
    except _REFUSALS as error:
        reason = " ".join(str(error).split())[:500] or type(error).__name__
        raise BadOptionError(f"{family[:-1]} {kind!r}: {reason}") from error


@cache
def extensions(family: str) -> frozenset[str]:
    """Return the file extensions that the parts of a family declare as `extensions`, e.g. all that images have."""
    return frozenset(extension for kind in names(family) for extension in load(family, kind).extensions)


def has_extension(family: str, path: str | Path) -> bool:
    """Say whether a file name ends in an extension of a family; unfinished, hidden and backup (`~`) files do not."""
    name = Path(path).name
    return not name.startswith((".", "~")) and Path(name).suffix.lower() in extensions(family)


_REFUSALS = (ArithmeticError, AttributeError, LookupError, MemoryError, RuntimeError, TypeError, ValueError)
"""What parts and their libraries raise for values that they cannot use."""
_PLAIN = {
    bool: (bool, "true or false"),
    int: (Integral, "a whole number"),
    float: (Real, "a number"),
    str: (str, "text"),
}


def _other_type(parameter: inspect.Parameter | None, value: Any) -> str | None:
    """Return what a plain parameter takes, if the value is of another type; None for what is not declared plainly."""
    declared = parameter.annotation if parameter else None
    kinds = get_args(declared) if isinstance(declared, UnionType) else (declared,)
    if not kinds or not all(kind in (*_PLAIN, NoneType) for kind in kinds):
        return None
    for kind in kinds:
        if kind is NoneType:
            if value is None:
                return None
        elif isinstance(value, _PLAIN[kind][0]) and (kind is bool or not isinstance(value, bool)):
            return None
    return " or ".join(_PLAIN[kind][1] for kind in kinds if kind is not NoneType)


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
