"""Volume formats: (z, y, x) counts in chunks, on a disk or in an object store.

A part declares how its volumes are recognised (`extensions`, `signs`, `magic`), says in which places it `matches`,
opens one level of a pyramid, and makes an empty volume. What it makes carries our own attribute `refocal`, which says
what the volume was made from and how. A part imports its library when it opens or makes a volume: all of them are asked
whether an input is a volume, in runs of plain tiles too.
"""

from functools import cache
from pathlib import Path

from refocal.core import registry
from refocal.core.errors import UnreadableError, UsageError
from refocal.core.plain_files import open_plain
from refocal.core.storage import Store, store
from refocal.core.volume import Volume, VolumeFormat


def is_volume(given: str | Path) -> bool:
    """Say whether this is a volume rather than images, without importing a library.

    URLs and `FILE::DATASET` are volumes; a folder or file is one if a format's `signs` or `magic` show it.
    """
    path = Path(given)
    if not path.exists() and ("://" in str(given) or "::" in str(given)):
        return True
    if path.is_dir():
        return any((path / sign).is_file() for form in _formats().values() for sign in form.signs)
    return path.is_file() and is_volume_file(path)


def is_volume_file(path: Path) -> bool:
    """Say whether a file begins as one of the formats that are one file."""
    forms = [form for form in _formats().values() if form.magic]
    try:
        with open_plain(path) as file:
            head = file.read(max((len(form.magic) for form in forms), default=0))
    except OSError:
        return False
    # The first bytes may stand further in: then only a file of that name is asked.
    named = [form for form in forms if path.name.lower().endswith(form.extensions)]
    return any(head.startswith(form.magic) for form in forms) or any(form.matches(store(path)) for form in named)


def names_volume(out: str | Path) -> bool:
    """Say whether an output's name asks for a volume, or for one file with all sections; a folder does not."""
    one_file = registry.has_extension("formats", out) and not Path(out).is_dir()
    return "://" in str(out) or kind_of_name(str(out)) is not None or one_file


def kind_of(place: Store) -> str | None:
    """Return the kind of the volume at a place, None where there is none."""
    return next((kind for kind, form in _formats().items() if form.matches(place)), None)


def kind_of_name(name: str) -> str | None:
    """Return the kind that a name asks for, None where no kind has its extension."""
    name = name.partition("::")[0].rstrip("/").lower()
    return next((kind for kind, form in _formats().items() if name.endswith(form.extensions)), None)


def format_of(kind: str) -> VolumeFormat:
    """Return one format."""
    return _formats()[kind]


def endings() -> tuple[str, ...]:
    """Return the extension that names each kind best, for messages."""
    return tuple(form.extensions[0] for form in _formats().values())


def open_volume(place: Store, level: int = 0) -> Volume:
    """Open one level of a volume read-only, in the format that its content shows.

    Raises
    ------
    UnreadableError
        If there is no volume, or it is damaged.
    UnsupportedError
        If it has channels, times, or an encoding that is not read.
    UsageError
        If an axis is empty.
    """
    kind = kind_of(place)
    if kind is None:
        known = ", ".join(e for form in _formats().values() for e in form.extensions)
        raise UnreadableError(f"{place.url}: there is no volume; expected one of {known}, or a stack of images")
    volume = _formats()[kind].open(place, level)
    if 0 in volume.info.shape:
        raise UsageError(f"{place.url}: has shape {volume.info.shape} (z, y, x) with an empty axis; nothing to do")
    return volume


@cache
def _formats() -> dict[str, VolumeFormat]:
    return {kind: registry.make("volume_formats", kind) for kind in registry.names("volume_formats")}
