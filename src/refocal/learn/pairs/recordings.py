"""Recorded experiments: folders with a stream and stopped frames, split into training, validation and test.

It is not known here how the published data (zenodo record 4113244) are arranged in their archive, so no names are used:
a sequence is a folder that holds, directly or one level below, images of two sizes, the larger ones being the stopped
frames. Streams are many files or stacks; the order is that of the names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from refocal.core.errors import TileError, UsageError
from refocal.core.natural_order import natural
from refocal.engine.tiles.tiles import Tile
from refocal.imaging.grid_bars import tissue
from refocal.learn.pairs.streams import Pair
from refocal.parts.formats import is_image_name, open_image

_LEAST_CELL = 16


@dataclass(frozen=True, slots=True)
class Recorded:
    """One imaging sequence."""

    name: str
    stream: tuple[Tile, ...]
    stopped: tuple[Tile, ...]


def sequences(root: Path) -> list[Recorded]:
    """Find the sequences below a folder, in natural order.

    Raises
    ------
    UsageError
        If there is none; says what was expected.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder")
    folders = {f.parent for f in root.rglob("*") if is_image_name(f)}
    found, rest = [], []
    for folder in folders:
        sequence = _sequence(root, folder, ("*",))
        found += [sequence] if sequence else []
        rest += [] if sequence else [folder.parent]
    found += [s for folder in set(rest) if folder.is_relative_to(root) and (s := _sequence(root, folder, ("*/*",)))]
    if not found:
        raise UsageError(
            f"{root}: no sequence; expected folders that hold the frames of a stream and larger stopped frames, "
            "directly or one level below"
        )
    return sorted(found, key=lambda sequence: natural(sequence.name))


def _sequence(root: Path, folder: Path, patterns: Sequence[str]) -> Recorded | None:
    files = [f for pattern in patterns for f in folder.glob(pattern) if is_image_name(f)]
    sizes: dict[tuple[int, int], list[Tile]] = {}
    for file in sorted(files, key=lambda f: natural(str(f))):
        try:
            with open_image(file) as image:
                pages, height, width = image.info.shape
        except TileError:
            continue
        name = file.relative_to(root).as_posix()
        tiles = [Tile(file, name, page, stacked=pages > 1) for page in range(pages)]
        sizes.setdefault((height, width), []).extend(tiles)
    if len(sizes) != 2:
        return None
    small, large = sorted(sizes)
    if not all(big >= less for big, less in zip(large, small, strict=True)):
        return None
    relative = folder.relative_to(root).as_posix()
    return Recorded(folder.name if relative == "." else relative, tuple(sizes[small]), tuple(sizes[large]))


def cells(pairs: Sequence[Pair]) -> list[frozenset[int]]:
    """Return for each pair of one sequence the cells of the supporting grid that it shows, numbered along the strip.

    Bars lie across the way of the stage, so a cell is a run of rows that are mostly tissue.
    """
    known = [pair for pair in pairs if np.isfinite(pair.place)]
    if not known:
        return [frozenset({0}) for _ in pairs]
    first = min(pair.place for pair in known)
    length = max(round(pair.place - first) + pair.truth.shape[0] for pair in known)
    seen, inside = np.zeros(length), np.zeros(length)
    for pair in known:
        rows = slice(round(pair.place - first), round(pair.place - first) + pair.truth.shape[0])
        seen[rows] += 1
        inside[rows] += tissue(pair.truth).mean(1)
    is_tissue = inside > 0.5 * np.maximum(seen, 1)
    number = np.cumsum(np.diff(is_tissue.astype(int), prepend=0) == 1) * is_tissue
    shown = []
    for pair in pairs:
        if not np.isfinite(pair.place):
            shown.append(frozenset[int]())
            continue
        rows = slice(round(pair.place - first), round(pair.place - first) + pair.truth.shape[0])
        values, counts = np.unique(number[rows], return_counts=True)
        shown.append(frozenset(int(v) for v, n in zip(values, counts, strict=True) if v and n >= _LEAST_CELL))
    return shown


def split(pairs: Mapping[str, Sequence[Pair]], test: str, valid: tuple[str, int]) -> dict[str, list[tuple[str, Pair]]]:
    """Split pairs as Wieslander et al. 2021: a whole sequence is tested on, one cell of another one validates.

    Parameters
    ----------
    pairs
        The pairs of each sequence.
    test
        Name of the sequence to test on.
    valid
        Sequence and number of the cell to validate on. Stopped frames that show this cell and another one overlap with
        both, so they are left out.

    Returns
    -------
    dict
        `train`, `valid`, `test` and `left_out`, each with the sequence and pair.

    Raises
    ------
    UsageError
        If there is no such sequence.
    """
    for name in (test, valid[0]):
        if name not in pairs:
            raise UsageError(f"there is no sequence {name!r}; there are {', '.join(pairs)}")
    parts: dict[str, list[tuple[str, Pair]]] = {"train": [], "valid": [], "test": [], "left_out": []}
    for name, of_sequence in pairs.items():
        shown = cells(of_sequence)
        for pair, touched in zip(of_sequence, shown, strict=True):
            if name == test:
                part = "test"
            elif name != valid[0] or valid[1] not in touched:
                part = "train"
            else:
                part = "valid" if touched == {valid[1]} else "left_out"
            parts[part].append((name, pair))
    return parts
