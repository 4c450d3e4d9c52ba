"""`refocal pair --stream`: streams of a microscope paired with stopped frames of the same places."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from refocal.core.atomic import writing
from refocal.core.errors import UnsupportedError, UsageError
from refocal.core.values import Contrast
from refocal.engine.tiles.tiles import check_output

if TYPE_CHECKING:
    from refocal.learn.pairs.recordings import Recorded
    from refocal.learn.pairs.streams import Pair

_TABLE = "pairs.csv"
_COLUMNS = ("part", "file", "stopped", "frames", "height", "width", "likeness", "gain", "offset", "left_out")


def pair_streams(
    recorded: Path, out: Path, frames: int, test: str | None, valid: str | None, window: tuple[float, float] | None
) -> None:
    """Pair streams with stopped frames of the same places, and write train, valid, test and pairs.csv.

    Raises
    ------
    UsageError
        If `out` is not empty, there is one sequence only, or a sequence or cell that is named is not there.
    UnsupportedError
        If no stopped frame matches its stream.
    """
    from refocal.learn.pairs.recordings import sequences, split

    check_output([recorded], out)
    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty; give a new folder, so that pairs of two splits are not mixed")
    found = sequences(recorded)
    names = [sequence.name for sequence in found]
    if len(found) == 1:
        raise UsageError(f"{recorded} holds one sequence; testing takes a whole one, so record another")
    test = test or names[-1]
    cell = _cell(valid) if valid else (next(name for name in names if name != test), 1)
    if cell[0] == test:
        raise UsageError(f"{test} is the sequence to test on; --valid needs another one")
    split(dict.fromkeys(names, ()), test, cell)  # refuses wrong names before the work
    parts = split({sequence.name: _pairs(sequence, frames, window) for sequence in found}, test, cell)
    if not any(parts.values()):
        raise UnsupportedError(f"{recorded}: no stopped frame matches its stream")
    _write(parts, out)
    typer.echo(", ".join(f"{len(pairs)} {part.replace('_', ' ')}" for part, pairs in parts.items()), err=True)
    for part, where in (("valid", f"cell {cell[1]} of {cell[0]} and no other"), ("test", test)):
        if not parts[part]:
            typer.echo(f"warning: {part} is empty: no stopped frame shows {where}", err=True)


def _pairs(sequence: "Recorded", frames: int, window: tuple[float, float] | None) -> list["Pair"]:
    from refocal.engine.streams.source import propose_window
    from refocal.learn.pairs.streams import Coupler, couple_all

    limits = Contrast(*window) if window else propose_window(list(sequence.stream))
    typer.echo(f"{sequence.name}: counts {limits.low:g} to {limits.high:g} become 0 to 255", err=True)
    pairs = []
    for made in couple_all(Coupler(sequence.stream, limits, frames), sequence.stopped):
        if isinstance(made, str):
            typer.echo(f"left out: {made}", err=True)
        else:
            pairs.append(made)
    return pairs


def _cell(text: str) -> tuple[str, int]:
    name, colon, number = text.rpartition(":")
    if not colon or not number.isdecimal():
        raise UsageError(f"--valid is SEQUENCE:CELL, e.g. sequence_1:2; got {text!r}")
    return name, int(number)


def _write(parts: Mapping[str, Sequence[tuple[str, "Pair"]]], out: Path) -> None:
    from refocal.learn.pairs.streams import SUFFIX, write_pair

    rows = []
    for part, pairs in parts.items():
        (out / part).mkdir(parents=True, exist_ok=True)
        for number, (sequence, pair) in enumerate(pairs):
            file = f"{part}/{sequence.replace('/', '_')}_{number:03d}{SUFFIX}"
            write_pair(pair, out / file)
            height, width = pair.truth.shape
            seen = {"frames": len(pair.frames), "height": height, "width": width, "likeness": round(pair.likeness, 4)}
            fitted = {"gain": round(pair.gain, 5), "offset": round(pair.offset, 2)}
            why = "; ".join(f"{name}: {reason}" for name, reason in pair.left_out.items())
            rows.append({"part": part, "file": file, "stopped": pair.names[0], **seen, **fitted, "left_out": why})
    with writing(out / _TABLE) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file_:
        table = csv.DictWriter(file_, _COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)
