"""What commands share: the types of their options, and how the values of options are read."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refocal.core.errors import BadOptionError, nearest
from refocal.core.values import Contrast
from refocal.engine.job import Part

if TYPE_CHECKING:
    from refocal.engine.volumes import Storage

Inputs = Annotated[list[Path], typer.Argument(help="Image files and folders (searched with their subfolders).")]
Given = Annotated[list[str], typer.Argument(help="Image files and folders, or one volume (a path or a URL).")]
Out = Annotated[Path, typer.Option("--out", "-o", help="Output folder; keeps the names and the tree of the input.")]
Model = Annotated[str, typer.Option(help="Shipped model, or path of a model file.")]
OtherRestorer = Annotated[
    str | None, typer.Option("--restorer", help="Restorer to use instead of a model, e.g. wiener:sigma_px=1.6.")
]
Gate = Annotated[
    str,
    typer.Option(help="Gate that decides what is restored: sharpness, always, calibrated:path=FILE, kind:option=..."),
]
Backend = Annotated[str, typer.Option(help="Runtime of the model: auto, openvino, onnx or torch.")]
Limits = Annotated[
    str | None,
    typer.Option("--contrast", metavar="LOW,HIGH", help="Counts that mean black and white; estimated if not given."),
]
Window = Annotated[
    str | None,
    typer.Option("--window", metavar="LOW,HIGH", help="Counts that become 0 and 255; proposed if not given."),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what another job left in the same output.")]
Stored = Annotated[
    str | None,
    typer.Option("--volume", help="How a volume is stored and divided, e.g. block=16x2048x2048."),
]
Shard = Annotated[
    str, typer.Option(metavar="I/N", help="Do only each N-th file or block, starting with number I (0 to N-1).")
]
Truths = Annotated[
    list[str], typer.Argument(help="Sharp tiles: files, folders or patterns, each optionally as GROUP=PATH.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object per line on standard output.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress and no summary.")]


def part_of(text: str | None) -> Part | None:
    """Read `kind:option=value,...`, where it is given."""
    return Part.parse(text) if text else None


def limits_of(text: str | None, option: str = "--contrast", example: str = "0,4095") -> tuple[float, float] | None:
    """Read LOW,HIGH, where it is given.

    Raises
    ------
    BadOptionError
        If these are not two finite numbers with LOW below HIGH.
    """
    if text is None:
        return None
    try:
        low, high = (float(part) for part in text.split(","))
        if not math.isfinite(high - low):
            raise ValueError("not finite")
        Contrast(low, high)
    except ValueError as error:
        raise BadOptionError(f"{option} is LOW,HIGH with LOW below HIGH, e.g. {example}; got {text!r}") from error
    return low, high


def window_of(text: str | None) -> tuple[float, float] | None:
    """Read the LOW,HIGH of `--window`; errors as of `limits_of`."""
    return limits_of(text, "--window", "120,3900")


def contrast_of(limits: tuple[float, float] | None) -> Contrast | None:
    """Return limits as a contrast, where they are given."""
    return Contrast(*limits) if limits else None


def shard_of(text: str) -> tuple[int, int]:
    """Read I/N.

    Raises
    ------
    BadOptionError
        If these are not two whole numbers.
    """
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError as error:
        raise BadOptionError(f"--shard is I/N, e.g. 0/4; got {text!r}") from error
    return index, count


def choice(option: str, given: str, known: Sequence[str]) -> Any:
    """Return a value that is one of those known.

    Raises
    ------
    BadOptionError
        If it is another one.
    """
    if given not in known:
        raise BadOptionError(f"{option} is {' or '.join(known)}, got {given!r}")
    return given


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a list such as `crop=512,each=24`; whole where its default is."""

    default: float
    least: float
    most: float = math.inf


def listed(known: Mapping[str, Number]) -> str:
    """Return the names with their defaults, for the help of an option."""
    return ", ".join(f"{name}={number.default:g}" for name, number in known.items())


def numbers(option: str, text: str | None, known: Mapping[str, Number]) -> dict[str, Any]:
    """Read `name=number,name=number`; what is not named takes its default.

    Raises
    ------
    BadOptionError
        If a name is not known, or its value is no number or out of range.
    """
    found: dict[str, Any] = {name: number.default for name, number in known.items()}
    for part in filter(None, (text or "").split(",")):
        name, _, value = part.strip().partition("=")
        if name not in known:
            raise BadOptionError(f"{option} has no {name!r}.{nearest(name, known)}")
        number = known[name]
        whole = isinstance(number.default, int)
        try:
            found[name] = int(value) if whole else float(value)
            if found[name] != number.default and not number.least <= found[name] <= number.most:
                raise ValueError("out of range")
        except ValueError as error:
            kind, most = "a whole number" if whole else "a number", number.most
            bounds = f"of at least {number.least:g}" if most == math.inf else f"from {number.least:g} to {most:g}"
            raise BadOptionError(f"{option} {name} is {kind} {bounds}; got {value!r}") from error
    return found


def storage(text: str | None) -> "Storage":
    """Read `chunk=16x512x512,shard=...,block=...,version=0.5,levels=3,section_nm=40` into a `Storage`.

    Raises
    ------
    BadOptionError
        If it is not written so.
    """
    from refocal.engine.volumes import Storage

    found = Storage()
    for part in filter(None, (text or "").split(",")):
        name, _, value = part.partition("=")
        try:
            if name in ("chunk", "shard", "block"):
                z, y, x = (int(n) for n in value.split("x"))
                given: Any = (z, y, x)
            elif (
                (name == "version" and value in ("0.4", "0.5"))
                or (name == "levels" and int(value) > 0)
                or (name == "section_nm" and float(value) > 0)
            ):
                given = {"version": str, "levels": int, "section_nm": float}[name](value)
            else:
                raise ValueError(part)
            found = replace(found, **{name: given})
        except ValueError as error:
            raise BadOptionError(
                f"--volume is chunk=ZxYxX, shard=ZxYxX, block=ZxYxX, version=0.4 or 0.5, levels=N, section_nm=NM, "
                f"separated by commas; got {part!r}"
            ) from error
    return found
