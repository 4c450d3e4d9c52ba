"""Side-cars of the MultiSEM: coordinates, metadata, the log of operations, and the table of scores."""

import io
import math
import re
from collections.abc import Mapping
from pathlib import Path

from refocal.parts.layouts._tail import text

_NUMBER = r" {0,20}([-+]?\d{1,15}(?:[.,]\d{1,20})?) {0,20}"
_LINE = re.compile(rf"([^\t]+\.(?:bmp|png|tiff?))\t{_NUMBER}\t{_NUMBER}\t{_NUMBER}", re.IGNORECASE | re.ASCII)
_PIXEL = re.compile(
    r"pixel\s{0,20}-?size\b[^:=]{0,80}[:=]\s{0,20}(\d{1,6}(?:[.,]\d{1,9})?)\s{0,20}nm\b", re.IGNORECASE | re.ASCII
)
_REGION = re.compile(r'\b(start|stop) region\s+"([^"]+)"', re.IGNORECASE)
_EXPERIMENT = re.compile(r"\b(start|stop) experiment\b", re.IGNORECASE)
_LARGEST_TABLE, _LONGEST_ROW = 64 << 20, 1 << 16


class Coordinates:
    """Positions of files in pixels, by the mFoV's folder ("" for those of the file's own folder).

    Lines may come twice: the last one counts. A line is whole when its fourth number has begun.
    """

    def __init__(self) -> None:
        self._files: dict[str, dict[str, tuple[float, float]]] = {}
        self._versions: dict[str, int] = {}
        self._cleared = 0

    def clear(self) -> None:
        """Forget all files."""
        self._files = {}
        self._cleared += 1

    def learn(self, line: str) -> None:
        """Take in one line."""
        if found := _LINE.fullmatch(line.strip()):
            *above, file = found[1].replace("\\", "/").split("/")
            folder = above[-1] if above else ""
            position = number(found[2]), number(found[3])
            files = self._files.setdefault(folder, {})
            if files.get(file) != position:
                files[file] = position
                self._versions[folder] = self._versions.get(folder, 0) + 1

    def of(self, folder: str) -> Mapping[str, tuple[float, float]]:
        """Return the positions of the files of a folder."""
        return self._files.get(folder, {})

    def version(self, folder: str) -> int:
        """Return a number that grows whenever something is learnt about a folder."""
        return self._versions.get(folder, 0) + self._cleared


class Metadata:
    """`metadata.txt` of an mFoV."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what was read."""
        self.there = False
        self.pixel_nm: float | None = None

    def learn(self, line: str) -> None:
        """Take in one line."""
        self.there = True
        if (found := _PIXEL.search(line.replace("\t", " "))) and number(found[1]) > 0:
            self.pixel_nm = number(found[1])


class Operations:
    """`experiment_log.txt` of a batch: which regions are over, and whether the batch is.

    Firmware from 2019 on adds fields behind; what comes before (a time) and behind (seconds, numbers of mFoVs, how
    many autofocus points succeeded) is not needed. A region that is started again is not over.
    """

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """Forget what was read."""
        self.regions: set[str] = set()
        self.stopped = False

    def learn(self, line: str) -> None:
        """Take in one line."""
        if found := _REGION.search(line):
            if found[1].lower() == "stop":
                self.regions.add(found[2])
            else:
                self.regions.discard(found[2])
        elif found := _EXPERIMENT.search(line):
            self.stopped = found[1].lower() == "stop"


def read_imqa(path: Path) -> dict[tuple[int, int], float]:
    """Read the scores of `region_metadata.csv`: the last column has one name and as many numbers as there are beams."""
    try:
        with open(path, "rb") as file:
            whole = io.BytesIO(file.read(_LARGEST_TABLE).rpartition(b"\n")[0])
    except OSError:
        return {}
    rows = (_cells(line) for line in whole if len(line) <= _LONGEST_ROW)
    names = [name.lower() for name in next(rows, ())]
    if names and names[0].startswith("sep="):
        names = [name.lower() for name in next(rows, ())]
    if "imqa" not in names or "mfov number" not in names:
        return {}
    mfov, first = names.index("mfov number"), names.index("imqa")
    scores = {}
    for row in rows:
        field = _maybe(row[mfov]) if len(row) > first else None
        if field is None or field <= 0 or field != int(field):
            continue
        for beam, cell in enumerate(row[first:], 1):
            if (score := _maybe(cell)) is not None:
                scores[int(field), beam] = score
    return scores


def _cells(line: bytes) -> list[str]:
    return [cell.strip().strip('"') for cell in text(line).split(";")]


def number(cell: str) -> float:
    """Read a number with a decimal point or comma."""
    return float(cell.replace(",", "."))


def _maybe(cell: str) -> float | None:
    try:
        value = number(cell)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
