"""Sizes of voxels for formats that must say one for each level."""

import numpy as np

from refocal.core.volume import VolumeInfo


def voxel(first: VolumeInfo, info: VolumeInfo) -> tuple[float, float, float]:
    """Return the (z, y, x) size of a level's voxel in nm; where it is not known, in voxels of the finest level."""
    if info.voxel_nm:
        return info.voxel_nm
    z, y, x = (float(2 ** round(np.log2(a / b))) for a, b in zip(first.shape, info.shape, strict=True))
    return z, y, x
