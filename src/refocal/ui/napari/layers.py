"""Which part of a napari layer is meant, and what comes back as layers."""

from typing import Any, Literal

import numpy as np

from refocal.core.blocks import Box
from refocal.core.errors import UsageError
from refocal.ui.napari.layer_jobs import Done, Graded, LayerVolume
from refocal.ui.napari.reader import LayerData

Scope = Literal["visible crop", "section", "everything"]
SCOPES: tuple[Scope, ...] = ("visible crop", "section", "everything")
COLOURS = {
    "keep": "#2ca02c",
    "restore": "#17becf",
    "retake": "#ff7f0e",
    "no_content": "#7f7f7f",
    "unreadable": "#d62728",
}


def volume_of(layer: Any) -> LayerVolume:
    """Return the finest data of an image layer.

    Raises
    ------
    UsageError
        If it is a colour image, or has more than three axes.
    """
    if getattr(layer, "rgb", False):
        raise UsageError(f"{layer.name}: is a colour image; refocal takes grey ones")
    known = layer.metadata.get("refocal", {}) if isinstance(layer.metadata, dict) else {}
    return LayerVolume(layer.data[0] if layer.multiscale else layer.data, known.get("voxel_nm"))


def part_of(layer: Any, point: Any, scope: Scope, shape: tuple[int, int, int]) -> Box:
    """Return the (z, y, x) box of the finest data that is meant.

    Parameters
    ----------
    layer
        An image layer of two or three axes.
    point
        Where the viewer stands, in world coordinates (`viewer.dims.point`).
    scope
        The crop that is seen of the section that is shown, that section, or the whole layer.
    shape
        (z, y, x) of the finest data.

    Raises
    ------
    UsageError
        If nothing of the layer is seen.
    """
    if scope == "everything":
        return Box((0, 0, 0), shape)
    z = 0
    if layer.ndim == 3:
        z = int(np.clip(round(float(layer.world_to_data(point)[-3])), 0, shape[0] - 1))
    if scope == "section":
        return Box((z, 0, 0), (z + 1, *shape[1:]))
    corners = np.asarray(layer.corner_pixels, np.float64)[:, -2:]
    if layer.multiscale:
        corners = corners * np.asarray(layer.downsample_factors[layer.data_level])[-2:]
    start = np.clip(np.floor(corners[0]).astype(int), 0, shape[1:])
    stop = np.clip(np.ceil(corners[1]).astype(int) + 1, 0, shape[1:])
    if (stop <= start).any():
        raise UsageError(f"{layer.name}: nothing of it is seen; move the view or choose another part")
    return Box((z, int(start[0]), int(start[1])), (z + 1, int(stop[0]), int(stop[1])))


def restored_layer(layer: Any, part: Box, done: Done, how: str) -> LayerData:
    """Return what was restored as an image layer at its place."""
    counts = done.counts
    assert counts is not None
    flat = layer.ndim == 2
    scale, offset = np.asarray(layer.scale), np.asarray(layer.translate)
    start = np.asarray(part.start[1:] if flat else part.start)
    about = {
        "name": f"{layer.name} restored",
        "scale": scale,
        "translate": offset + start * scale,
        "units": layer.units,
        "contrast_limits": layer.contrast_limits,
        "metadata": {"refocal": {"from": layer.name, "part": (part.start, part.stop), "how": how}},
    }
    return counts[0] if flat else counts, about, "image"


def grade_layer(layer: Any, graded: tuple[Graded, ...]) -> LayerData:
    """Return one rectangle for each tile, coloured by its verdict; measures are features of the rectangles."""
    flat = layer.ndim == 2
    verdicts = [str(g.event["verdict"] or "unreadable") for g in graded]
    features = {
        "verdict": verdicts,
        "reason": [str(g.event["reason"] or g.event["error"] or "") for g in graded],
        **{name: [_number(g.event[name]) for g in graded] for name in ("sigma_px", "noise", "anisotropy", "expected")},
    }
    colours = [COLOURS[verdict] for verdict in verdicts]
    about = {
        "name": f"{layer.name} grades",
        "shape_type": "rectangle",
        "face_color": colours,
        "edge_color": colours,
        "edge_width": max(1.0, min((g.box.shape[1] for g in graded), default=1) / 64),
        "opacity": 0.35,
        "features": features,
        "scale": np.asarray(layer.scale),
        "translate": np.asarray(layer.translate),
        "units": layer.units,
    }
    return [_rectangle(g.box, flat) for g in graded], about, "shapes"


def _rectangle(box: Box, flat: bool) -> Any:
    (z, top, left), (_, bottom, right) = box.start, box.stop
    corners = [(top, left), (top, right), (bottom, right), (bottom, left)]
    # A pixel is around its index, so its edge is half a pixel before it.
    placed = np.asarray(corners, float) - 0.5
    return placed if flat else np.column_stack([np.full(4, float(z)), placed])


def _number(value: Any) -> float:
    return float("nan") if value is None else float(value)
