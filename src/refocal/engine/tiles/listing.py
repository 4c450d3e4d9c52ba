"""What a person means by some files and folders: the images in them, by relative name, in natural order."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from refocal.core.errors import UsageError
from refocal.core.natural_order import natural
from refocal.parts.formats import is_image_name


def find_images(inputs: Iterable[Path]) -> dict[str, Path]:
    """Return the images among files and in folders by their relative posix names, in natural order.

    Raises
    ------
    UsageError
        If an input is missing, nothing is found, or two different files have the same relative name.
    """
    found: dict[str, Path] = {}
    inputs = list(inputs)
    for given in inputs:
        if not os.path.lexists(given):
            raise UsageError(f"{given}: no such file or folder")
        paths = _images(given, set()) if given.is_dir() else [given]
        for path in paths:
            name = path.relative_to(given).as_posix() if path != given else path.name
            other = found.setdefault(name, path)
            if other is not path and not _same(other, path):
                raise UsageError(
                    f"{other} and {path} would both be written to {name}; restore them into two folders, "
                    "or give the folder that holds both"
                )
    if not found:
        where = f"{', '.join(map(str, inputs))}: " if inputs else ""
        raise UsageError(f"{where}no images found; expected image files, or folders that hold some")
    return dict(sorted(found.items(), key=lambda item: natural(item[0])))


def _same(one: Path, other: Path) -> bool:
    try:
        return one.samefile(other)
    except OSError:
        return False


def are_plain(inputs: Iterable[str], out: str = "") -> bool:
    """Say whether inputs are surely images and folders of images, and an output surely a folder.

    Then the volume formats need not be asked, nor imported. Only names are looked at; False where in doubt.
    """
    name = out.rstrip("/\\").replace("\\", "/").rpartition("/")[2]
    return "." not in name.strip(".") and "::" not in out and all(map(_is_plain, inputs))


def _is_plain(given: str) -> bool:
    path = Path(given)
    if "://" in given or ("::" in given and not path.is_file()):
        return False
    if not path.is_dir():
        return is_image_name(path) and path.is_file()
    try:
        # A volume keeps a file of its own beside its chunks; "." in the folder's name may be an extension.
        with os.scandir(path) as entries:
            return "." not in path.name and all(is_image_name(Path(e.name)) or _is_folder(e) for e in entries)
    except OSError:
        return False


def _images(folder: Path, listed: set[tuple[int, int]]) -> Iterator[Path]:
    try:
        state = folder.stat()
        entries = sorted(os.scandir(folder), key=lambda entry: natural(entry.name))
    except OSError as error:
        raise UsageError(f"{folder}: cannot be listed: {error.strerror}") from error
    if (state.st_dev, state.st_ino) in listed:
        return
    listed.add((state.st_dev, state.st_ino))
    for entry in entries:
        path = folder / entry.name
        if entry.name.startswith("."):
            continue
        if _is_folder(entry):
            yield from _below(path, listed)
        elif is_image_name(path):
            yield path  # a pipe, or a link to nothing, is a tile that cannot be read


def _below(folder: Path, listed: set[tuple[int, int]]) -> Iterator[Path]:
    """Yield the images of a folder in a folder; where it cannot be listed, itself: it is what cannot be read."""
    try:
        yield from list(_images(folder, listed))
    except UsageError:
        yield folder


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False
