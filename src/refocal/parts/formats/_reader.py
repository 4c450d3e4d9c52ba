"""What all opened images share: checked pages and boxes, and damage that surfaces as one kind of error.

Files are read with plain reads, not memory maps: a file that its microscope truncates or deletes while it is mapped
kills the reading process (SIGBUS), and page faults are slow on network shares.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, Protocol, final

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import RefocalError, UnreadableError, UnsupportedError, UsageError
from refocal.core.values import Counts, ImageInfo


class Reader(ABC):
    """An image file opened read-only.

    `read` is thread-safe only if every thread opens the file for itself.
    """

    info: ImageInfo

    def __init__(self, path: Path, file: BufferedReader) -> None:
        self.path, self._file = path, file

    @final
    def read(self, page: int = 0, box: Box | None = None) -> Counts:
        """Read a page, or a (y, x) box of it, as (y, x) counts in native byte order.

        Raises
        ------
        UsageError
            If the page or the box is not inside the image.
        UnreadableError, UnsupportedError
            If the pixels are damaged, or in colours that differ.
        """
        pages, height, width = self.info.shape
        box = box or Box((0, 0), (height, width))
        if not 0 <= page < pages:
            raise UsageError(f"{self.path}: has {pages} pages, there is no page {page}")
        if not all(0 <= a < b <= n for a, b, n in zip(box.start, box.stop, (height, width), strict=True)):
            raise UsageError(f"{self.path}: box {box.start} to {box.stop} is not inside {height} x {width} pixels")
        with decoding(self.path):
            pixels = self._decode(page, box)
            return np.ascontiguousarray(pixels, dtype=self.info.dtype)

    @abstractmethod
    def _decode(self, page: int, box: Box) -> Counts:
        """Return the counts of a box; may raise anything when it meets damage."""

    @final
    def close(self) -> None:
        """Close the file."""
        self._file.close()

    @final
    def __enter__(self) -> "Reader":
        """Return itself."""
        return self

    @final
    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self.close()


@contextmanager
def decoding(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged bytes into `UnreadableError`."""
    try:
        yield
    except RefocalError:
        raise
    except MemoryError as error:
        raise UnreadableError(f"{path}: asks for more memory than there is; the header is probably damaged") from error
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be read: {error.strerror or error}") from error
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UnreadableError(f"{path}: damaged or truncated: {reason}") from error


class _Seekable(Protocol):
    def seek(self, offset: int, /) -> Any: ...
    def readinto(self, buffer: Any, /) -> Any: ...


def read_rows(file: _Seekable, offset: int, stride: int, dtype: np.dtype[Any], box: Box) -> Counts:
    """Read a (y, x) box of an uncompressed image whose row y begins at `offset + y * stride` bytes."""
    (y, x), (rows, columns), size = box.start, box.shape, dtype.itemsize
    if 4 * columns * size < stride:
        narrow = np.empty((rows, columns * size), np.uint8)
        for row in range(rows):
            _fill(file, offset + (y + row) * stride + x * size, narrow[row])
        return narrow.view(dtype)
    block = np.empty(rows * stride, np.uint8)
    # The padding of the last row may be missing.
    needed = (rows - 1) * stride + (x + columns) * size
    _fill(file, offset + y * stride, block[:needed])
    return block.reshape(rows, stride)[:, x * size : (x + columns) * size].view(dtype)


def _fill(file: _Seekable, offset: int, buffer: Counts) -> None:
    file.seek(offset)
    done = 0
    while done < buffer.nbytes:
        count = file.readinto(buffer.data[done:])
        if not count:
            raise EOFError(f"ends {buffer.nbytes - done} bytes before the last row that was asked for")
        done += count


def one_channel(pixels: Counts, path: Path, alpha: int) -> Counts:
    """Return (y, x) counts of a (y, x, channel) image whose channels are equal; the last `alpha` ones are no colours.

    Raises
    ------
    UnsupportedError
        If the channels differ.
    """
    if pixels.ndim == 2:
        return pixels
    first: Counts = pixels[..., 0]
    colours = pixels[..., : max(1, pixels.shape[-1] - alpha)]
    if not (colours == first[..., None]).all():
        what = "a colour image" if colours.shape[-1] == 3 else f"an image of {colours.shape[-1]} channels"
        raise UnsupportedError(f"{path}: is {what}; expected grey: convert it, or pick one channel, first")
    return first


def refuse_bomb(path: Path, pixels: int, stored: int, ratio: int) -> None:
    """Refuse a header that claims more bytes of pixels than the stored bytes can hold.

    `ratio` is the best compression that the method can reach; small images pass.
    """
    if pixels > 1 << 26 and pixels > ratio * stored:
        raise UnreadableError(
            f"{path}: the header claims {pixels} bytes of pixels but {stored} bytes are stored; it is damaged"
        )
