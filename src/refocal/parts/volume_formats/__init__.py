"""Volume formats: (z, y, x) counts in chunks, on a disk or in an object store.

A part says in which places it `matches`, opens one level of a pyramid, and makes an empty volume. What it makes carries
our own attribute `refocal`, which says what the volume was made from and how.
"""

from refocal.core import registry
from refocal.core.errors import UnreadableError, UsageError
from refocal.core.storage import Store
from refocal.core.volume import Volume, VolumeFormat


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


def _formats() -> dict[str, VolumeFormat]:
    return {kind: registry.make("volume_formats", kind) for kind in registry.names("volume_formats")}
