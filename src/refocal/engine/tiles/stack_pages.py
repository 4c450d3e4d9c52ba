"""The pages of one unfinished stack, gathered on the disk.

A page is `N.npy` where it was restored, or an empty `N.kept` where it is as in the input. When the stack has been
written, `finished` takes their place: it holds the size of the file, so that a page that is done again after a kill
finds its stack complete.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np

from refocal.core.atomic import replacing
from refocal.core.values import Counts
from refocal.parts.formats import open_image

_ABSENT = -1


class Pages:
    """Pages in a folder, which is made when the first one comes."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, page: int, target: Path) -> bool:
        """Say whether a page is here, or in the finished stack `target`."""
        return any(path.exists() for path in self._paths(page)) or self.finished(target)

    def add(self, page: int, counts: Counts | None) -> None:
        """Keep one page, whole or not at all: (y, x) counts, or None for "as in the input"."""
        self._folder.mkdir(parents=True, exist_ok=True)
        restored, kept = self._paths(page)
        with replacing(restored if counts is not None else kept) as part, part.open("wb") as file:
            if counts is not None:
                np.save(file, counts, allow_pickle=False)

    def count(self) -> int:
        """Count the pages."""
        return len({path.stem for pattern in ("*.npy", "*.kept") for path in self._folder.glob(pattern)})

    def restored(self) -> bool:
        """Say whether any page differs from the input."""
        return any(self._folder.glob("*.npy"))

    def pages(self, source: Path, count: int) -> Iterator[Counts]:
        """Yield all pages in order, taking the kept ones from the input."""
        with open_image(source) as image:
            for page in range(count):
                restored, _ = self._paths(page)
                yield np.load(restored, allow_pickle=False) if restored.exists() else image.read(page)

    def finish(self, target: Path) -> None:
        """Note that the stack is written, or left out if there is no `target`, and forget the pages."""
        with replacing(self._folder / "finished") as part:
            part.write_text(str(_size(target)))
        for pattern in ("*.npy", "*.kept"):
            for path in self._folder.glob(pattern):
                path.unlink()

    def finished(self, target: Path) -> bool:
        """Say whether the stack is finished and `target` still is as it was then."""
        with suppress(OSError, ValueError):
            return int((self._folder / "finished").read_text()) == _size(target)
        return False

    def _paths(self, page: int) -> tuple[Path, Path]:
        return self._folder / f"{page}.npy", self._folder / f"{page}.kept"


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else _ABSENT
