"""Stacks of images (MRC, TIFF) as volumes: read a section at a time, written in one go."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UsageError
from refocal.core.values import Counts, ImageInfo
from refocal.core.volume import Volume, VolumeInfo
from refocal.parts.formats import create_image, open_image

_CHUNK = (8, 512, 512)


class Stack:
    """The pages of an image file as a (z, y, x) volume.

    Parameters
    ----------
    path
        The file; opened for each box, so several threads may read.
    section_nm
        Distance of the sections; None takes what the file says, else the edge of a pixel.
    """

    def __init__(self, path: Path, section_nm: float | None = None) -> None:
        self._path = path
        with open_image(path) as image:
            known = image.info
        if known.missing:
            raise UnreadableError(f"{path}: is truncated: {known.missing} of its sections are not there")
        edge, z_nm = known.pixel_nm, section_nm or known.section_nm
        warnings = known.warnings
        if edge and not z_nm and known.shape[0] > 1:
            warnings = (*warnings, "the distance of the sections is not known; the edge of a pixel is taken for it")
        chunk = tuple(min(a, b) for a, b in zip(_CHUNK, known.shape, strict=True))
        self.info = VolumeInfo(
            known.shape, known.dtype, (chunk[0], chunk[1], chunk[2]), (chunk[0], chunk[1], chunk[2]),
            (z_nm or edge, known.pixel_y_nm or edge, edge) if edge else None, known.origin_nm, warnings=warnings,
        )  # fmt: skip

    def read(self, box: Box, /) -> Counts:
        """Read a (z, y, x) box."""
        flat = Box(box.start[1:], box.stop[1:])
        with open_image(self._path) as image:
            return np.stack([image.read(page, flat) for page in range(box.start[0], box.stop[0])])

    def write(self, box: Box, counts: Counts, /) -> None:
        """Refuse: a stack is written in one go."""
        raise UsageError(f"{self._path}: a stack is not written block by block")

    def missing(self, box: Box, /) -> int:
        """Nothing is missing in a file that opens."""
        return 0

    def close(self) -> None:
        """Nothing stays open."""


def write_stack(path: Path, volume: Volume, source: Path | None) -> None:
    """Write a volume as an image stack, section by section; `source` lends its tags if it is of the same format."""

    def planes() -> Iterator[Counts]:
        for z in range(volume.info.shape[0]):
            yield volume.read(Box((z, 0, 0), (z + 1, *volume.info.shape[1:])))[0]

    voxel = volume.info.voxel_nm
    high = voxel[1] if voxel and voxel[1] != voxel[2] else None
    like = ImageInfo(
        volume.info.shape, volume.info.dtype, voxel and voxel[2], pixel_y_nm=high,
        section_nm=voxel and voxel[0], origin_nm=volume.info.offset_nm,
    )  # fmt: skip
    same = source is not None and source.suffix.lower() == path.suffix.lower()
    create_image(path, planes(), like, source if same else None)
