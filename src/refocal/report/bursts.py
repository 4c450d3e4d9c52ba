"""One page about a stream: what was restored from what, the way of the stage, and which frames were left out."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

import refocal
from refocal.bursts.window import windowed
from refocal.errors import TileError
from refocal.formats import open_image
from refocal.log import latest, read_log, split_key
from refocal.report.pictures import data_url
from refocal.values import Contrast, Counts
from refocal.whole import whole

__all__ = ["write_burst_report"]

_EDGE_PX, _WAY_PX = 420, 900


@dataclass(frozen=True, slots=True)
class _Shown:
    name: str
    words: str
    views: tuple[tuple[str, str], ...]
    """Caption and picture (data URL)."""


def write_burst_report(log: Path, html_path: Path, most: int = 40) -> Path:
    """Write the page of a run over a stream and return its path; at most `most` restored frames are pictured."""
    events = list(read_log(log))
    tiles = list(latest(events).values())
    frames = {e["key"]: e for e in events if e["event"] == "frame"}
    jobs = [e for e in events if e["event"] == "job"]
    inputs = [Path(given) for given in jobs[-1].get("inputs", [])] if jobs else []
    restored = [e for e in tiles if e["decision"] == "restored" and e.get("frames")]
    picked = [restored[round(i)] for i in np.linspace(0, len(restored) - 1, min(most, len(restored)))]
    left = {e["key"]: e["left_out"] for e in frames.values() if e["left_out"]}
    for event in tiles:
        left |= {k: why for k, why in (event.get("left_out") or {}).items() if k not in left}
    environment = Environment(loader=PackageLoader("refocal.report", "."), autoescape=True, undefined=StrictUndefined)
    page = environment.get_template("bursts.html.j2").render(
        shown=[_shown(event, log.parent, inputs) for event in picked],
        restored=len(restored),
        frames=len(frames),
        left=sorted(left.items()),
        failed=[(e["key"], e.get("error") or e.get("reason") or "") for e in tiles if e["decision"] != "restored"],
        way=_way(list(frames.values())),
        segments=1 + max((e["segment"] for e in frames.values()), default=0),
        window=restored[0]["window"] if restored else None,
        version=refocal.__version__,
    )
    with whole(html_path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
    return html_path


def _shown(event: Mapping[str, Any], out: Path, inputs: list[Path]) -> _Shown:
    views = []
    raw = _raw(event, inputs)
    if raw is not None:
        top, left, bottom, right = event["crop_px"]
        views.append(("as recorded", _view(windowed(raw, Contrast(*event["window"]))[top:bottom, left:right])))
    try:
        with open_image(out / event["output"]) as image:
            views.append(("restored", _view(image.read())))
    except TileError:
        views = views[:1]
    shifts = "; ".join(f"{x:.2f}, {y:.2f}" for y, x in event["shifts_px"][1:])
    words = f"from {len(event['frames'])} frames" + (f"; shifts x, y in px: {shifts}" if shifts else "")
    return _Shown(str(event["key"]), words, tuple(views))


def _raw(event: Mapping[str, Any], inputs: list[Path]) -> Counts | None:
    name, page = split_key(event["key"])
    for given in inputs:
        path = given / name if given.is_dir() else given
        if path.is_file() and (given.is_dir() or path.name == name):
            try:
                with open_image(path) as image:
                    return image.read(page)
            except TileError:
                return None
    return None


def _way(frames: list[Mapping[str, Any]]) -> str | None:
    """Draw the positions of the frames, segments beside each other; frames that were left out are red."""
    placed = [e for e in frames if e["shape"][0]]
    if not placed:
        return None
    segments = sorted({e["segment"] for e in placed})
    width = max(40, min(240, _WAY_PX // len(segments)))
    picture = np.full((360, width * len(segments), 3), 255, np.uint8)
    for column, segment in enumerate(segments[: _WAY_PX // 40]):
        own = [e for e in placed if e["segment"] == segment]
        at = np.array([(e["y_px"], e["x_px"]) for e in own if not e["left_out"]] or [(0.0, 0.0)])
        low, span = at.min(0), np.maximum(np.ptp(at, 0), 1.0)
        scale = min(320 / span[0], (width - 24) / span[1], 1.0)
        points = np.rint((at - low) * scale + (20, 12 + column * width)).astype(int)
        cv2.polylines(picture, [points[:, ::-1].astype(np.int32)], False, (180, 120, 40), 1, cv2.LINE_AA)
        for y, x in points:
            cv2.circle(picture, (int(x), int(y)), 2, (120, 60, 0), -1, cv2.LINE_AA)
    return data_url("png", ".png", picture, [])


def _view(image: Counts) -> str:
    scale = min(1.0, _EDGE_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return data_url("jpeg", ".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 86])
