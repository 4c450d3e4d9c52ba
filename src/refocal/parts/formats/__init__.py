"""Formats: files. Open, create, pixel size, metadata; the only place that knows file libraries.

The content of a file decides its format, not its name: acquisition programs write BMP files that end in `.png`.
Files are opened read-only, and new ones get their name only once they are complete.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from io import BufferedReader
from pathlib import Path

from refocal.core import registry
from refocal.core.errors import UnreadableError, UsageError, WriteError
from refocal.core.plain_files import open_plain
from refocal.core.values import Counts, Format, ImageFile, ImageInfo

_HEAD_BYTES = 512
_STRANGERS = {
    b"\xff\xd8\xff": "a JPEG image, which is lossy and not read",
    b"\x89HDF": "an HDF5 file",
    b"GIF8": "a GIF image",
    b"PK\x03\x04": "a ZIP archive",
    b"\x1f\x8b": "a gzip archive",
    b"%PDF": "a PDF document",
}


def open_image(path: Path) -> ImageFile:
    """Open an image read-only, in the format that its content shows.

    A name that disagrees with the content is a warning in `info.warnings`.

    Raises
    ------
    UnreadableError
        If the file is missing, empty, filled with zeros, truncated, damaged or of no known format.
    UnsupportedError
        If it is a whole image of a kind that is not handled, e.g. complex numbers.
    """
    path = Path(path)
    try:
        file = open_plain(path)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be opened: {error.strerror or error}") from error
    try:
        kind = _kind_of_content(path, file)
        file.seek(0)
        image: ImageFile = _formats()[kind].open(path, file)
    except BaseException:
        file.close()
        raise
    warnings = image.info.warnings
    if path.suffix.lower() not in _formats()[kind].extensions:
        warnings = (f"the name ends in {path.suffix or 'nothing'!r} but the content is {kind.upper()}", *warnings)
    image.info = replace(image.info, kind=kind, warnings=warnings)
    return image


def create_image(
    path: Path, pages: Iterable[Counts], like: ImageInfo, source: Path | None = None, kind: str = ""
) -> None:
    """Write an image, whole or not at all.

    Parameters
    ----------
    path
        The file to write, in the format of `source` if given, else of the extension.
    pages
        (y, x) counts of the shape and dtype that `like` says, taken one by one: a generator needs memory for one page.
    like
        Shape, dtype, pixel size and metadata.
    source
        The file that the image was made from; its tags, comments and compression are kept.
    kind
        The format of `source`, as `ImageInfo.kind` names it; without it, `source` is opened once more to find it.

    Raises
    ------
    WriteError
        If the file cannot be written, the format cannot hold the pixels, or `path` is `source` itself.
    UsageError
        If there is no source and no format has this extension.
    """
    path = Path(path)
    if source is None:
        kind = _kind_of_name(path)
    else:
        if path.exists() and path.samefile(source):
            raise WriteError(f"{path}: is the source image itself, which is never overwritten; choose another folder")
        kind = kind or _kind_of_file(Path(source))
    _formats()[kind].create(path, pages, like, source)


def is_image_name(path: Path) -> bool:
    """Say whether a file name looks like an image; unfinished (`.part`), hidden and backup (`~`) files do not."""
    return registry.has_extension("formats", path)


@cache
def _formats() -> dict[str, Format]:
    return {kind: registry.make("formats", kind) for kind in registry.names("formats")}


def _kind_of_name(path: Path) -> str:
    for kind, form in _formats().items():
        if path.suffix.lower() in form.extensions:
            return kind
    known = ", ".join(sorted(registry.extensions("formats")))
    raise UsageError(f"{path}: no image format has the extension {path.suffix!r}; expected one of {known}")


def _kind_of_file(path: Path) -> str:
    try:
        with open_plain(path) as file:
            return _kind_of_content(path, file)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be opened: {error.strerror or error}") from error


def _kind_of_content(path: Path, file: BufferedReader) -> str:
    try:
        head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise UnreadableError(f"{path}: cannot be opened: {error.strerror or error}") from error
    for kind, form in _formats().items():
        if form.matches(head):
            return kind
    raise UnreadableError(f"{path}: {_what_is(head)}; expected an image: {', '.join(_formats())}")


def _what_is(head: bytes) -> str:
    if not head:
        return "the file is empty"
    if not any(head):
        return "the file begins with zeros (still being written, or damaged)"
    for magic, name in _STRANGERS.items():
        if head.startswith(magic):
            return f"the content is {name}"
    return f"the content is of no known kind (begins with {head[:8].hex(' ')})"
