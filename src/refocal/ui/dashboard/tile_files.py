"""Where the files of a tile are. Only files below the output and the inputs that the log names are ever opened.

Names come from the log, never from the browser. A name that leads elsewhere - by "..", as an absolute path, or through
a symbolic link - has no file here.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

_JOBS = 100


class TileFiles:
    """The files of one output folder.

    Parameters
    ----------
    out
        The output folder.
    jobs
        The events that began its runs, the last first; their `inputs` are the folders and files of raw tiles.
    """

    def __init__(self, out: Path, jobs: Iterable[Mapping[str, Any]]) -> None:
        self._out = out.resolve()
        named = dict.fromkeys(text for job in islice(jobs, _JOBS) for text in _inputs(job))
        self._inputs = [path for text in named if (path := _resolved(Path(text))) is not None]

    def recorded(self, event: Mapping[str, Any]) -> Path | None:
        """Return the file as the microscope wrote it."""
        for name in (event.get("input"), event.get("path")):
            if isinstance(name, str) and name:
                for root in self._inputs:
                    found = self._file(root / name if root.is_dir() else root)
                    if found is not None and (root.is_dir() or root.name == Path(name).name):
                        return found
        return None

    def written(self, event: Mapping[str, Any]) -> Path | None:
        """Return the file that was written for the tile, restored or carried over."""
        name = event.get("output")
        return self._file(self._out / name) if isinstance(name, str) and name else None

    def _file(self, path: Path) -> Path | None:
        found = _resolved(path)
        if found is None or not found.is_file():
            return None
        return found if any(found == root or root in found.parents for root in (self._out, *self._inputs)) else None


def _inputs(job: Mapping[str, Any]) -> Iterator[str]:
    named = job.get("inputs")
    yield from (text for text in named if isinstance(text, str) and text) if isinstance(named, list) else ()


def _resolved(path: Path) -> Path | None:
    try:
        return path.resolve(strict=True)
    except (OSError, ValueError, RuntimeError):
        return None
