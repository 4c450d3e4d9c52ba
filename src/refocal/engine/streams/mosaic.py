"""One picture of a strip: restored frames at their positions, fading into each other.

A strip is put together band by band, so memory does not grow with its length; each segment of a stream, within which
positions are known, is a picture of its own.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.atomic import writing
from refocal.core.blocks import Box
from refocal.core.values import ImageInfo, Pixels
from refocal.eventlog.log import Event
from refocal.parts.formats import create_image, open_image

POSITIONS = "positions.csv"
MOSAICS = "mosaic*.ome.tif"
_BAND, _FADE_PX = 512, 48
_COLUMNS = ("key", "output", "segment", "y_px", "x_px", "height", "width", "y_nm", "x_nm", "frames", "left_out")


@dataclass(frozen=True, slots=True)
class Piece:
    """A restored frame and where it lies in its segment."""

    event: Event
    box: Box
    """(y, x) in the mosaic, px."""


def pieces(events: Iterable[Event]) -> dict[int, list[Piece]]:
    """Return the restored frames by segment, each segment from its upper left corner on; latest events only."""
    segments: dict[int, list[Event]] = {}
    for event in events:
        if event.get("decision") == "restored" and event.get("at_px") and event.get("output"):
            segments.setdefault(int(event["segment"]), []).append(event)
    laid = {}
    for segment, found in sorted(segments.items()):
        at = np.rint([event["at_px"] for event in found]).astype(int)
        at -= at.min(0)
        shapes = [(e["crop_px"][2] - e["crop_px"][0], e["crop_px"][3] - e["crop_px"][1]) for e in found]
        laid[segment] = [
            Piece(event, Box((int(y), int(x)), (int(y) + height, int(x) + width)))
            for event, (y, x), (height, width) in zip(found, at, shapes, strict=True)
        ]
    return laid


def assemble(events: Iterable[Event], out: Path, pixel_nm: float | None) -> list[Path]:
    """Write `mosaic.ome.tif` (`mosaic_N.ome.tif` where there are several segments) and `positions.csv`.

    Mosaics of earlier runs, of other segments, are removed.

    Parameters
    ----------
    events
        The latest tile events of a run over a stream.
    out
        Its output folder.
    pixel_nm
        Pixel edge, None where it is not known.

    Returns
    -------
    list of Path
        The mosaics, uint8, 0 where nothing was restored.
    """
    laid = pieces(events)
    written = []
    for segment, found in laid.items():
        height, width = (max(piece.box.stop[axis] for piece in found) for axis in (0, 1))
        path = out / ("mosaic.ome.tif" if len(laid) == 1 else f"mosaic_{segment}.ome.tif")
        scratch = out / f".{path.name}.strip"
        try:
            strip = np.memmap(scratch, np.uint8, "w+", shape=(height, width))
            for top, band in _bands(found, out, height, width):
                strip[top : top + len(band)] = band
            create_image(path, [strip], like=ImageInfo((1, height, width), np.dtype(np.uint8), pixel_nm))
        finally:
            scratch.unlink(missing_ok=True)
        written.append(path)
    for path in set(out.glob(MOSAICS)).difference(written):
        path.unlink()
    _write_positions(laid, out / POSITIONS, pixel_nm)
    return written


def _bands(found: list[Piece], out: Path, height: int, width: int) -> Iterator[tuple[int, NDArray[np.uint8]]]:
    for top in range(0, height, _BAND):
        rows = min(_BAND, height - top)
        total, weight = np.zeros((rows, width), np.float32), np.full((rows, width), 1e-6, np.float32)
        for piece in found:
            (y, x), (end, right) = piece.box.start, piece.box.stop
            low, high = max(y, top), min(end, top + rows)
            if low >= high:
                continue
            with open_image(out / piece.event["output"]) as image:
                part = image.read(0, Box((low - y, 0), (high - y, right - x)))
            into = (slice(low - top, high - top), slice(x, right))
            soft = _weight(piece.box.shape)[low - y : high - y]
            total[into] += soft * part
            weight[into] += soft
        yield top, np.rint(total / weight).astype(np.uint8)


def _weight(shape: tuple[int, ...]) -> Pixels:
    """Return weights that fall towards the border of a frame."""
    ramps = [np.minimum(np.arange(n), np.arange(n)[::-1]).astype(np.float32) + 1 for n in shape]
    weight: Pixels = np.minimum(np.minimum.outer(ramps[0], ramps[1]) / _FADE_PX, 1)
    return weight


def _write_positions(laid: Mapping[int, list[Piece]], path: Path, pixel_nm: float | None) -> None:
    with writing(path) as part, part.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file:
        table = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        table.writeheader()
        for segment, found in laid.items():
            table.writerows(_row(segment, piece, pixel_nm) for piece in found)


def _row(segment: int, piece: Piece, pixel_nm: float | None) -> dict[str, Any]:
    event, (y, x), (height, width) = piece.event, piece.box.start, piece.box.shape
    at = {"y_px": y, "x_px": x, "height": height, "width": width}
    nm = {"y_nm": round(y * pixel_nm, 2), "x_nm": round(x * pixel_nm, 2)} if pixel_nm else {}
    used = {"frames": len(event["frames"]), "left_out": len(event["left_out"])}
    return {"key": event["key"], "output": event["output"], "segment": segment, **at, **nm, **used}
