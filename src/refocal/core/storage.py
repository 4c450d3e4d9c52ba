"""Places that hold named bytes: a local folder, or an object store reached by a URL.

Names are relative posix paths. A write is whole or not at all: a folder renames, an object store puts. Writes that
fail are tried again a few times, because object stores do fail now and then.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol, TypeVar

from refocal.core.atomic import replacing
from refocal.core.errors import UsageError, WriteError, missing_extra
from refocal.core.plain_files import read_plain

Result = TypeVar("Result")

_TRIES = 4
_WAIT_SECONDS = 0.05


class Store(Protocol):
    """Named bytes."""

    url: str
    """Where it is, as a person would write it."""
    path: Path | None
    """The local folder or file, None for object stores."""

    def read(self, name: str) -> bytes | None:
        """Return the bytes of a name, None where there are none."""
        ...

    def write(self, name: str, content: bytes) -> None:
        """Write a name, whole or not at all; raises `OSError`."""
        ...

    def fill(self, name: str, pieces: Iterable[bytes]) -> None:
        """Write what is too large to be held at once, whole or not at all; raises `OSError`."""
        ...

    def exists(self, name: str) -> bool:
        """Say whether a name is there."""
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names below a folder, folder by folder, each sorted; unfinished files are left out."""
        ...

    def delete(self, name: str) -> None:
        """Remove one name, if it is there."""
        ...

    def remove(self) -> None:
        """Remove everything."""
        ...


def store(where: str | Path) -> Store:
    """Return the place that a path or URL names; nothing is made or looked at.

    Raises
    ------
    MissingExtraError, UsageError
        If a URL is given and its file system is not installed or not known.
    """
    text = str(where)
    if "://" in text and not text.startswith("file://"):
        return _Bucket(text.rstrip("/"))
    return _Folder(Path(text.removeprefix("file://")))


def sibling(place: Store, suffix: str) -> Store:
    """Return the place beside another one whose name is longer by `suffix`."""
    return store(place.url + suffix)


def patient(action: Callable[[], Result]) -> Result:
    """Return what an action returns; one that raises `OSError` is tried again after a short wait, three times.

    Raises
    ------
    WriteError
        If it fails every time.
    """
    for attempt in range(_TRIES):
        try:
            return action()
        except OSError as error:
            if attempt == _TRIES - 1 or isinstance(error, PermissionError | NotADirectoryError):
                raise WriteError(f"cannot be written: {error.strerror or error}") from error
            time.sleep(_WAIT_SECONDS * 4**attempt)
    raise AssertionError("unreachable")


class _Folder:
    """A local folder."""

    def __init__(self, path: Path) -> None:
        self.path: Path | None = path
        self._folder = path
        self.url = str(path)

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return read_plain(self._folder / name)
        return None

    def write(self, name: str, content: bytes) -> None:
        self.fill(name, (content,))

    def fill(self, name: str, pieces: Iterable[bytes]) -> None:
        target = self._folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        with replacing(target) as part, part.open("wb") as file:
            file.writelines(pieces)

    def exists(self, name: str) -> bool:
        return (self._folder / name).exists()

    def names(self, prefix: str = "") -> Iterator[str]:
        for folder, folders, files in os.walk(self._folder / prefix):
            folders.sort()
            for file in sorted(files):
                if not file.endswith(".part"):
                    yield (Path(folder) / file).relative_to(self._folder).as_posix()

    def delete(self, name: str) -> None:
        (self._folder / name).unlink(missing_ok=True)

    def remove(self) -> None:
        if self._folder.is_dir():
            shutil.rmtree(self._folder)
        else:
            self._folder.unlink(missing_ok=True)


class _Bucket:
    """A folder of an object store, through fsspec."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.path: Path | None = None
        try:
            import fsspec
        except ModuleNotFoundError as error:
            raise missing_extra("fsspec", "volumes") from error
        try:
            # Listings that are kept hide what other workers have written since.
            self._files, self._root = fsspec.core.url_to_fs(url, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise UsageError(f"{url}: cannot be reached: {' '.join(str(error).split())}") from error

    def read(self, name: str) -> bytes | None:
        with suppress(FileNotFoundError, IsADirectoryError), self._errors():
            content: bytes = self._files.cat_file(self._at(name))
            return content
        return None

    def write(self, name: str, content: bytes) -> None:
        with self._errors():
            self._files.makedirs(self._at(name).rpartition("/")[0], exist_ok=True)
            self._files.pipe_file(self._at(name), content)

    def fill(self, name: str, pieces: Iterable[bytes]) -> None:
        with tempfile.NamedTemporaryFile() as file, self._errors():
            file.writelines(pieces)
            file.flush()
            self._files.put_file(file.name, self._at(name))

    def exists(self, name: str) -> bool:
        with self._errors():
            there: Any = self._files.exists(self._at(name))
        return bool(there)

    def names(self, prefix: str = "") -> Iterator[str]:
        root, folder = self._root.strip("/"), self._at(prefix) if prefix else self._root
        nothing = True
        with self._errors():
            # Folder by folder: all names of a large volume would not fit into memory.
            with suppress(FileNotFoundError):
                for _, _, files in self._files.walk(folder, detail=True, on_error="raise"):
                    for found in sorted(str(about["name"]) for about in files.values()):
                        nothing = False
                        yield found.strip("/").removeprefix(root).lstrip("/")
            if nothing:
                try:
                    self._files.find(folder)
                except FileNotFoundError as error:
                    # A folder that is not there is empty; this is a bucket that is not there.
                    raise OSError(f"{self.url}: {error}") from error

    def delete(self, name: str) -> None:
        with suppress(FileNotFoundError), self._errors():
            self._files.rm_file(self._at(name))

    def remove(self) -> None:
        with self._errors():
            if self._files.exists(self._root):
                self._files.rm(self._root, recursive=True)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Make an `OSError` of the errors that a file system's own packages raise: no answer, no credentials."""
        try:
            yield
        except OSError:
            raise
        except Exception as error:
            if type(error).__module__ == "builtins":
                raise
            raise OSError(f"{self.url}: {' '.join(str(error).split()) or type(error).__name__}") from error

    def _at(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"
