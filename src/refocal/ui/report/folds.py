"""One page about folds: each one with its line, before and after, its neighbours, and what was invented."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from refocal.core.atomic import writing
from refocal.core.errors import RefocalError
from refocal.core.values import Counts, Frames, ImageInfo, Pixels
from refocal.core.version import __version__
from refocal.engine.tiles.neighbours import FLOW, FLOW_STEP, ORIGIN, Sections, page_name
from refocal.eventlog.current import latest
from refocal.eventlog.log import read_log
from refocal.imaging.fold_detection import DarkLine, Search
from refocal.parts.formats import create_image, open_image
from refocal.ui.report.pictures import data_url

__all__ = ["WRINKLE", "write_fold_report", "write_materials"]

WRINKLE = 50
"""Label of folds in material masks, which FEABAS treats as free to expand and hard to compress."""
_EDGE_PX = 420
_ARROW_PX, _ARROW = 20, (0, 60, 230)
_COLOURS = np.array([[0, 0, 0], [200, 120, 0], [0, 60, 230]], np.float32)  # blue, green, red


@dataclass(frozen=True, slots=True)
class _Section:
    name: str
    decision: str
    reason: str
    shares: str
    views: tuple[tuple[str, str], ...]
    """Caption and picture (data URL)."""


def write_fold_report(log: Path, html_path: Path, sections: Sections, search: Search, most: int = 60) -> Path:
    """Write the page of a run over sections and return its path; at most `most` sections are pictured."""
    events = [e for e in latest(read_log(log)).values() if e["decision"] not in ("kept", "no_content")]
    blocks = {block.key: block for block in sections}
    shown = []
    for event in events[:most]:
        try:
            frames = sections.read(blocks[event["key"]])
        except (RefocalError, KeyError):
            continue
        shown.append(_section(event, frames, log.parent, search))
    environment = Environment(
        loader=PackageLoader("refocal.ui.report", "."), autoescape=True, undefined=StrictUndefined
    )
    page = environment.get_template("folds.html.j2").render(
        shown=shown, total=len(blocks), found=len(events), version=__version__
    )
    with writing(html_path) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
    return html_path


def write_materials(sections: Sections, folder: Path, search: Search) -> int:
    """Write NAME.png with `WRINKLE` on every fold for each section that has one; return how many have."""
    count = 0
    for block in sections:
        try:
            frames = sections.tiles.read(block)
        except RefocalError:
            continue
        found = search(frames.contrast.unit(frames.image))
        if not found:
            continue
        height, width = frames.image.shape
        mask = np.zeros((height, width), np.uint8)
        for line in found:
            mask[line.cover(mask.shape)] = WRINKLE
        path = folder / page_name(block.key)
        path.parent.mkdir(parents=True, exist_ok=True)
        create_image(path, [mask], like=ImageInfo((1, height, width), mask.dtype))
        count += 1
    return count


def _section(event: Mapping[str, Any], frames: Frames, out: Path, search: Search) -> _Section:
    found = search(frames.contrast.unit(frames.image))
    views = [("recorded, with the lines found", _view(_lined(_grey(frames, frames.target), found)))]
    after, origin = _after(event, out, frames), _origin(event, out)
    if after is not None:
        views.append(("restored", _view(after)))
    if after is not None and origin is not None and origin.shape == after.shape[:2]:
        tint = _COLOURS[np.minimum(origin // 127, 2)]
        shade = np.where(origin[..., None] > 0, 0.6 * after + 0.4 * tint, after)
        views.append(("blue moved, red invented", _view(shade.astype(np.uint8))))
    flow = _flow(event, out)
    if after is not None and flow is not None:
        views.append(
            (f"flow: where tissue was pulled to, at most {np.hypot(*flow).max():.0f} px", _arrows(after, flow))
        )
    for index, caption in ((frames.target - 1, "previous"), (frames.target + 1, "next")):
        if 0 <= index < len(frames.counts) and (frames.valid is None or frames.valid[index].any()):
            views.append((caption, _view(_grey(frames, index))))
    parts = ((n, event.get(n)) for n in ("moved", "invented"))
    shares = ", ".join(f"{value:.1%} {name}" for name, value in parts if isinstance(value, float))
    reason = str(event.get("error") or event.get("reason") or "")
    return _Section(str(event["key"]), str(event["decision"]), reason, shares, tuple(views))


def _after(event: Mapping[str, Any], out: Path, frames: Frames) -> Counts | None:
    target = out / str(event.get("path"))
    if event["decision"] != "restored" or not target.is_file():
        return None
    with open_image(target) as image:
        counts = image.read(int(event.get("page") or 0))
    return _grey(Frames(counts[None], contrast=frames.contrast), 0)


def _origin(event: Mapping[str, Any], out: Path) -> Counts | None:
    path = out / ORIGIN / page_name(str(event["key"]))
    if not path.is_file():
        return None
    with open_image(path) as image:
        return image.read()


def _flow(event: Mapping[str, Any], out: Path) -> Pixels | None:
    path = out / FLOW / page_name(str(event["key"]), ".tif")
    if not path.is_file():
        return None
    with open_image(path) as image:
        return np.stack([image.read(page).astype(np.float32) for page in range(2)])


def _arrows(image: Counts, flow: Pixels) -> str:
    """Picture a restored section with arrows from where tissue was recorded to where it is now."""
    scale = min(1.0, _EDGE_PX / max(image.shape[:2]))
    drawn = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) // 2 + 96
    step = max(1, round(_ARROW_PX / (FLOW_STEP * scale)))
    for y in range(step // 2, flow.shape[1], step):
        for x in range(step // 2, flow.shape[2], step):
            dy, dx = (float(part) for part in flow[:, y, x])
            if np.hypot(dy, dx) < 0.5:
                continue
            there, by = np.array([x, y]) * FLOW_STEP, np.array([dx, dy])
            start, end = ((at * scale).round().astype(int).tolist() for at in (there + by, there))
            cv2.arrowedLine(drawn, start, end, _ARROW, 1, cv2.LINE_AA, tipLength=0.35)
    return _view(drawn)


def _grey(frames: Frames, index: int) -> Counts:
    unit = np.clip(frames.contrast.unit(frames.counts[index]) * 255, 0, 255).astype(np.uint8)
    colour: Counts = cv2.cvtColor(unit, cv2.COLOR_GRAY2BGR)
    return colour


def _lined(image: Counts, found: Sequence[DarkLine]) -> Counts:
    drawn = image.copy()
    thick = max(1, max(image.shape) // 400)
    for line in found:
        points = np.rint(np.array(line.points)).astype(np.int32)
        cv2.polylines(drawn, [points], False, (0, 220, 255), thick)
        edge, *_ = cv2.findContours(line.cover(image.shape[:2]).astype(np.uint8), cv2.RETR_EXTERNAL, 2)
        cv2.drawContours(drawn, edge, -1, (255, 160, 0), thick)
    return drawn


def _view(image: Counts) -> str:
    scale = min(1.0, _EDGE_PX / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else image
    return data_url("jpeg", ".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, 86])
