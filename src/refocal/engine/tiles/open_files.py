"""Image files between being looked into and being read: whoever lists a file leaves it open, whoever reads it takes it.

On a network drive opening a file takes longer than reading the head of it, so that a tile is opened once for both.
"""

import threading
import weakref
from pathlib import Path

from refocal.core.values import ImageFile
from refocal.parts.formats import open_image

_MOST = 32
"""More than a run reads ahead and samples for a contrast, and far fewer than a process may open."""


class OpenFiles:
    """A few open files by path; safe for several threads.

    A file has one owner at a time: the one who took it, who closes it or leaves it here again. What nobody takes is
    closed when too many are here, and when this object goes.
    """

    def __init__(self) -> None:
        self._images: dict[Path, ImageFile] = {}
        self._lock = threading.Lock()
        weakref.finalize(self, _close, self._images)

    def take(self, path: Path) -> ImageFile:
        """Return a file that was left here, or open it; errors as of `open_image`."""
        with self._lock:
            image = self._images.pop(path, None)
        return image or open_image(path)

    def leave(self, path: Path, image: ImageFile) -> None:
        """Leave an open file to the next one who wants it."""
        surplus = []
        with self._lock:
            if path in self._images:
                surplus.append(self._images.pop(path))
            elif len(self._images) == _MOST:
                surplus.append(self._images.pop(next(iter(self._images))))
            self._images[path] = image
        for old in surplus:
            old.close()


def _close(images: dict[Path, ImageFile]) -> None:
    while images:
        images.popitem()[1].close()
