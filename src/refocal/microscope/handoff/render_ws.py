"""Tile specifications for render-ws, the server of the Janelia pipelines: one JSON list for all sections."""

from collections.abc import Iterable, Mapping
from typing import Any

from refocal.microscope.handoff.montage import Montage

_LIMITS: Mapping[str, tuple[float, float]] = {"uint8": (0, 255), "uint16": (0, 65535)}


def tile_specs(montages: Iterable[Montage]) -> list[dict[str, Any]]:
    """Return a specification per tile; `z` counts the sections from 0 in natural order."""
    return [
        _spec(montage, index, float(z)) for z, montage in enumerate(montages) for index in range(len(montage.tiles))
    ]


def _spec(montage: Montage, index: int, z: float) -> dict[str, Any]:
    tile, (x, y) = montage.tiles[index], montage.places[index]
    low, high = _LIMITS.get(str(tile.event.get("mode")), (0, 255))
    return {
        "tileId": f"{tile.path.stem}.{montage.section.name}.{z:.1f}",
        "z": z,
        "layout": {
            "sectionId": montage.section.name,
            "imageRow": tile.whole("field") or 0,
            "imageCol": tile.whole("beam") or 0,
            "stageX": round(x, 3),
            "stageY": round(y, 3),
        },
        "width": montage.width,
        "height": montage.height,
        "minIntensity": low,
        "maxIntensity": high,
        "mipmapLevels": {"0": {"imageUrl": montage.files[index].absolute().as_uri()}},
        "transforms": {
            "type": "list",
            "specList": [
                {"className": "mpicbg.trakem2.transform.AffineModel2D", "dataString": f"1 0 0 1 {x:.3f} {y:.3f}"}
            ],
        },
    }
