"""One page about a stream: what was restored from what, the way of the stage, and which frames were left out."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from refocal.core.atomic import writing
from refocal.core.errors import TileError
from refocal.core.values import Contrast, Counts
from refocal.core.version import __version__
from refocal.eventlog.current import latest
from refocal.eventlog.log import of_last_job, read_log, split_key
from refocal.imaging.intensity_window import windowed
from refocal.parts.formats import open_image
from refocal.ui.report.pictures import data_url

__all__ = ["write_burst_report"]

_EDGE_PX, _WAY_PX = 420, 900


@dataclass(frozen=True, slots=True)
class _Shown:
    name: str
    words: str
    views: tuple[tuple[str, str], ...]
    """Caption and picture (data URL)."""


def write_burst_report(log: Path, html_path: Path, most: int = 40, inputs: Path | None = None) -> Path:
    """Write the page of a run over a stream and return its path; at most `most` restored frames are pictured.

    `inputs` is where the stream is, if it was moved.
    """
    events = of_last_job(list(read_log(log)))
    tiles = list(latest(events).values())
    frames = {e["key"]: e for e in events if e["event"] == "frame"}
    jobs = [e for e in events if e["event"] == "job"]
    given = [inputs] if inputs else [Path(name) for name in jobs[-1].get("inputs", [])] if jobs else []
    restored = [e for e in tiles if e["decision"] == "restored" and e.get("frames")]
    picked = [restored[round(i)] for i in np.linspace(0, len(restored) - 1, min(most, len(restored)))]
    left = {e["key"]: e["left_out"] for e in frames.values() if e["left_out"]}
    for event in tiles:
        left |= {k: why for k, why in (event.get("left_out") or {}).items() if k not in left}
    environment = Environment(
        loader=PackageLoader("refocal.ui.report", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("bursts.html.j2").render(
        shown=[_shown(event, log.parent, given) for event in picked],
        restored=len(restored),
        frames=len(frames),
        left=sorted(left.items()),
        failed=[(e["key"], e.get("error") or e.get("reason") or "") for e in tiles if e["decision"] != "restored"],
        way=_way(list(frames.values())),
        segments=1 + max((e["segment"] for e in frames.values()), default=0),
        by=_restorer(jobs[-1]["job"]) if jobs else "",
        window=restored[0]["window"] if restored else None,
        version=__version__,
    )
    with writing(html_path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
    return html_path


def _restorer(job: Mapping[str, Any]) -> str:
    part = job.get("restorer") or {}
    model = part.get("options", {}).get("model")
    return Path(model).stem if model else str(part.get("kind", ""))


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
    """Draw the positions of the frames that were placed, segments side by side, a ring around each first one."""
    ways: dict[int, list[tuple[float, float]]] = {}
    for event in frames:
        if not event["left_out"]:
            ways.setdefault(event["segment"], []).append((event["y_px"], event["x_px"]))
    shown = [np.array(ways[segment]) for segment in sorted(ways)][: _WAY_PX // 40]
    if not shown:
        return None
    width = max(40, min(240, _WAY_PX // len(shown)))
    spans = np.maximum([np.ptp(at, 0) for at in shown], 1.0)
    scales = np.minimum(np.minimum(320 / spans[:, 0], (width - 24) / spans[:, 1]), 1.0)
    picture = np.full((40 + math.ceil((spans[:, 0] * scales).max()), width * len(shown), 3), 255, np.uint8)
    for column, (at, scale) in enumerate(zip(shown, scales, strict=True)):
        points = np.rint((at - at.min(0)) * scale + (20, 12 + column * width)).astype(np.int32)[:, ::-1]
        cv2.polylines(picture, [points], False, (180, 120, 40), 1, cv2.LINE_AA)
        for number, (x, y) in enumerate(points.tolist()):
            cv2.circle(picture, (x, y), 2, (120, 60, 0), -1, cv2.LINE_AA)
            if number == 0:
                cv2.circle(picture, (x, y), 7, (0, 90, 220), 2, cv2.LINE_AA)
    return data_url("png", ".png", picture, [])


def _view(image: Counts) -> str:
    scale = min(1.0, _EDGE_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return data_url("jpeg", ".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 86])
