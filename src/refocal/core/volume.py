"""What volumes are to the rest of the house: chunks of (z, y, x) counts, and the ways of storing them.

Triples are (z, y, x) whatever the order of the axes in the file; lengths are nanometres.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np

from refocal.core.blocks import Box
from refocal.core.storage import Store
from refocal.core.values import Counts


@dataclass(frozen=True, slots=True)
class VolumeInfo:
    """What is known of a volume, or of one level of it, without its voxels; all triples are (z, y, x)."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    chunk: tuple[int, int, int]
    """What is stored, and read, as one."""
    unit: tuple[int, int, int]
    """What must be written as one: the chunk, or the shard that holds chunks."""
    voxel_nm: tuple[float, float, float] | None = None
    offset_nm: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Of the centre of the first voxel."""
    axes: str = "zyx"
    """Order in the file, slowest first; a letter besides z, y and x is an axis of one entry."""
    version: str = ""
    """Of the file format, where it has any, e.g. "0.5"."""
    levels: int = 1
    """Of the pyramid; the first is the finest."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """What else should be kept, e.g. how it is shown (`omero`)."""
    labels: str = ""
    """Why the numbers are names of objects and no grey values, as the file says; empty for images."""
    as_written: tuple[tuple[float, float, float], tuple[float, float, float], tuple[str, str, str]] | None = None
    """Scale, translation and units as the file has them, where the units are not known and `voxel_nm` is None."""
    warnings: tuple[str, ...] = ()
    """What a person should know, e.g. an axis order that is not what the header usually means."""


class Volume(Protocol):
    """One level of an opened volume."""

    info: VolumeInfo

    def read(self, box: Box, /) -> Counts:
        """Read a (z, y, x) box as (z, y, x) counts; chunks that are not there are 0. Several threads may read."""
        ...

    def write(self, box: Box, counts: Counts, /) -> None:
        """Write a (z, y, x) box that is made of whole units; boxes without a shared unit may be written at once."""
        ...

    def missing(self, box: Box, /) -> int:
        """Count the chunks (shards) of a box that are not there."""
        ...

    def close(self) -> None:
        """Let go of files that are open."""
        ...


@runtime_checkable
class MayBeMissing(Protocol):
    """A volume whose chunks are files of their own, and can tell whether any is there."""

    def check_there(self) -> None:
        """Raise `UnreadableError` if no chunk is there, or other files stand where chunks should be."""
        ...


class VolumeFormat(Protocol):
    """One way of storing volumes; a part of the family `volume_formats`."""

    extensions: tuple[str, ...]
    signs: tuple[str, ...]
    """Names of files that show a folder to be stored like this; none for a format that is one file."""
    magic: bytes
    """First bytes of a format that is one file; empty for folders."""
    blockwise: bool
    """Whether blocks can be written by several processes, in any order, each whole or not at all."""

    def matches(self, place: Store, /) -> bool:
        """Say whether this is how the volume at a place is stored."""
        ...

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> Volume:
        """Open one level."""
        ...

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        """Make an empty volume with these levels, finest first; `provenance` goes under the key `refocal`."""
        ...
