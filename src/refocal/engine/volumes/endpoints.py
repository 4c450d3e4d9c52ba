"""Where volumes are read from and written to, and how the new one is stored."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from refocal.core.errors import UnsupportedError, UsageError
from refocal.core.storage import Store, store
from refocal.core.volume import MayBeMissing, Volume, VolumeInfo
from refocal.engine.volumes.block_grid import Triple
from refocal.engine.volumes.image_stack import Stack
from refocal.parts import volume_formats
from refocal.parts.formats import is_image_name

_NEW_CHUNK = (8, 512, 512)
_CHUNK_VOXELS = range(1 << 9, 1 << 27)

STACK = "stack"
"""Kind of a volume that is an image file with pages."""


@dataclass(frozen=True, slots=True)
class Storage:
    """How the output is stored and cut; all triples are (z, y, x). None takes over what the input has."""

    chunk: Triple | None = None
    shard: Triple | None = None
    """Chunks are put together in shards of this size (OME-Zarr 0.5)."""
    version: Literal["0.4", "0.5"] | None = None
    block: Triple | None = None
    """What is done at a time; whole chunks or shards."""
    levels: int | None = None
    """Of the pyramid; None makes as many as lead to about 256 px."""
    section_nm: float | None = None
    """Distance of the sections, for inputs that do not say it."""


def open_input(given: str | Path, section_nm: float | None = None) -> Volume:
    """Open the input, a volume or a stack of images, read-only; errors as of `open_volume` and `open_image`."""
    path = Path(str(given))
    if "://" not in str(given) and path.is_file() and not volume_formats.is_volume_file(path):
        volume: Volume = Stack(path, section_nm)
        if 0 in volume.info.shape:
            raise UsageError(f"{given}: has an empty axis; nothing to do")
        return volume
    opened = volume_formats.open_volume(store(given))
    if opened.info.labels:
        raise UnsupportedError(
            f"{given}: is a volume of labels ({opened.info.labels}): its numbers are names, and cannot be restored"
        )
    if isinstance(opened, MayBeMissing):
        opened.check_there()
    if section_nm and opened.info.voxel_nm:
        opened.info = replace(opened.info, voxel_nm=(section_nm, *opened.info.voxel_nm[1:]))
    return opened


def output_kind(given: str | Path, out: str | Path) -> str:
    """Return the kind that the output's name asks for, else that of the input.

    Raises
    ------
    UsageError
        If neither says it.
    """
    kind = volume_formats.kind_of_name(str(out))
    if kind is None and "://" not in str(out) and is_image_name(Path(str(out))):
        return STACK
    kind = kind or volume_formats.kind_of(store(given))
    if kind is None:
        known = ", ".join(volume_formats.endings())
        raise UsageError(f"{out}: the name does not say which format; end it in one of {known}, or .tif")
    return kind


def output_info(given: VolumeInfo, kind: str, same: bool, storage: Storage) -> VolumeInfo:
    """Return how the finest level of the output is stored; `same` says that the input is of the same kind.

    Raises
    ------
    UsageError
        If a shard is not whole chunks.
    """
    z, y, x = given.chunk
    fits = z * y * x in _CHUNK_VOXELS and z <= 256
    chunk = storage.chunk or (given.chunk if fits else _clipped(_NEW_CHUNK, given.shape))
    if min(chunk) < 1:
        raise UsageError(f"chunks of {chunk} (z, y, x) are empty; expected at least 1 along each axis")
    keeps = same and chunk == given.chunk and storage.version in (None, given.version)
    unit = storage.shard or (given.unit if keeps else chunk)
    for name, large, small in zip("zyx", unit, chunk, strict=True):
        if large < 1 or large % small:
            raise UsageError(
                f"shards of {unit} (z, y, x) are not whole chunks of {chunk} along {name}; there "
                f"{max(small, large // small * small)} or {(large // small + 1) * small} fit"
            )
    version = storage.version or (given.version if same else "")
    metadata = given.metadata if same else {}
    if kind != STACK and not volume_formats.format_of(kind).blockwise:
        unit = chunk
    return replace(
        given, chunk=chunk, unit=unit, version=version, axes=given.axes if same else "zyx", metadata=metadata
    )


def lost(asked: VolumeInfo, made: VolumeInfo) -> list[str]:
    """Say what of a volume's geometry its output does not hold; nothing where all of it is there."""
    found = []
    for what, one, other in (
        ("voxel size", asked.voxel_nm, made.voxel_nm), ("offset", asked.offset_nm, made.offset_nm)
    ):  # fmt: skip
        if not _alike(one, other):
            found.append(f"the output cannot hold the {what} {_told(one)} nm; it says {_told(other)}")
    if asked.as_written and asked.as_written != made.as_written:
        scale, offset, units = asked.as_written
        found.append(f"the output cannot hold scale {_told(scale)} and translation {_told(offset)} in {units}")
    return found


def _alike(one: tuple[float, ...] | None, other: tuple[float, ...] | None) -> bool:
    if one is None or other is None:
        return one is None  # where the size is not known, a format may have to say something
    return all(abs(a - b) <= 1e-4 * max(1.0, abs(a)) for a, b in zip(one, other, strict=True))


def _told(numbers: tuple[float, ...] | None) -> str:
    return "unknown" if numbers is None else " x ".join(f"{n:g}" for n in numbers)


def refuse_overlap(given: str | Path, out: str | Path) -> None:
    """Refuse an output that is the input, or lies inside it or around it.

    Raises
    ------
    UsageError
        If so.
    """
    a, b = (_resolved(store(str(place).partition("::")[0])) for place in (given, out))
    if a == b or b.startswith(a + "/") or a.startswith(b + "/"):
        raise UsageError(f"the output {out} is, holds or lies inside the input {given}; choose another place")


def _resolved(place: Store) -> str:
    return str(place.path.resolve()) if place.path else place.url


def _clipped(size: Triple, shape: Triple) -> Triple:
    z, y, x = (min(a, b) for a, b in zip(size, shape, strict=True))
    return z, y, x
