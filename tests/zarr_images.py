"""OME-Zarr images as zarr-python alone writes them."""

from pathlib import Path
from typing import Any

import numpy as np
import zarr

from drawn import SOFT, texture


def ome(
    path: Path, version: int = 2, scale: Any = (40.0, 4.0, 4.0), unit: str | None = "nanometer", **more: Any
) -> np.ndarray:
    """Write an OME-Zarr image with zarr-python alone."""
    counts = np.stack([texture(SOFT, seed) for seed in range(2)])
    axes = [{"name": name, "type": "space", **({"unit": unit} if unit is not None else {})} for name in "zyx"]
    steps = [{"type": "scale", "scale": list(scale)}, {"type": "translation", "translation": [400.0, 80.0, 120.0]}]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": steps}]}
    attributes = {"multiscales": [{"version": "0.4", **image}], **more}
    if version == 3:
        attributes = {"ome": {"version": "0.5", "multiscales": [image], **more}}
    group = zarr.open_group(path, mode="w", zarr_format=version, attributes=attributes)
    array = group.create_array("0", shape=counts.shape, chunks=(2, 64, 64), dtype="u1", fill_value=0)
    array[...] = counts
    return counts
