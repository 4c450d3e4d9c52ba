"""Portable grey maps of one 8-bit page, with the pixel size in a comment."""

import os
import re
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UsageError, WriteError
from refocal.core.values import Counts, ImageInfo

_HEAD = re.compile(rb"P5\n(?:# ([\d.e+-]+) nm\n)?(\d+) (\d+)\n255\n")


class Page:
    """An opened file."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        with file:
            content = file.read()
        head = _HEAD.match(content)
        if head is None:
            raise UnreadableError(f"{path}: has no header of a grey map")
        shape = int(head[3]), int(head[2])
        if len(content) - head.end() != shape[0] * shape[1]:
            raise UnreadableError(f"{path}: is truncated")
        self._path = path
        self._counts = np.frombuffer(content, np.uint8, offset=head.end()).reshape(shape)
        self.info = ImageInfo((1, *shape), np.dtype("u1"), float(head[1]) if head[1] else None)

    def read(self, page: int = 0, box: Box | None = None) -> Counts:
        box = box or Box((0, 0), self._counts.shape)
        inside = all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, self._counts.shape, strict=True))
        if page or not inside:
            raise UsageError(f"{self._path}: page {page}, {box} is not inside")
        return self._counts[box.slices].copy()

    def close(self) -> None:
        pass  # read at once, and closed then

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Pgm:
    """Portable grey maps."""

    extensions = (".pgm",)

    def matches(self, head: bytes) -> bool:
        return head.startswith(b"P5\n")

    def open(self, path: Path, file: BufferedReader | None = None) -> Page:
        return Page(path, file or path.open("rb"))

    def create(self, path: Path, pages: Iterable[Counts], like: ImageInfo, source: Path | None = None) -> None:
        pages = list(pages)
        if [(page.shape, page.dtype.name) for page in pages] != [(like.shape[1:], "uint8")]:
            raise WriteError(f"{path}: a grey map is one page of uint8")
        size = f"# {like.pixel_nm!r} nm\n" if like.pixel_nm else ""
        head = f"P5\n{size}{like.shape[2]} {like.shape[1]}\n255\n".encode()
        part = path.with_name(f".{path.name}.part")
        try:
            with open(part, "wb") as file:
                file.write(head + pages[0].tobytes())
                file.flush()
                os.fsync(file.fileno())
            os.replace(part, path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise WriteError(f"{path}: cannot be written: {error.strerror}") from error
