"""The drawings of the report as inline SVG: map of the sections, histogram and scatter plot.

Colour says blur (dark blue is sharp, yellow is soft; the order of lightness survives colour blindness and grey print),
the sign in a cell says the decision. Text comes from tile names and is escaped here.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise

from markupsafe import Markup

from refocal.ui.report.summary import DECISIONS, Tile

BLUR_STEPS = ("#0b2d63", "#27477a", "#46608a", "#667892", "#868f94", "#a8a68a", "#c9bd77", "#e6d35c", "#fbe93b")
"""Colours from sharp to soft, rising in lightness."""
BLUR_STEP_PX = 0.5
"""Each colour stands for half a pixel of blur; the last for all above."""
DECISION_COLOURS = {
    "restored": "#0072b2",
    "kept": "#009e73",
    "retake": "#d55e00",
    "no_content": "#999999",
    "unreadable": "#cc79a7",
    "failed": "#a0527f",
}
"""Okabe and Ito's colours."""
SIGNS = {
    "restored": "M0-.26A.26.26 0 1 1-.001-.26Z",
    "kept": "M-.26 .02L-.08.2L.27-.2",
    "retake": "M-.24-.24L.24.24M.24-.24L-.24.24",
    "no_content": "M-.26 0H.26",
    "unreadable": "M0-.28V.06M0 .2V.28",
    "failed": "M0-.28V.06M0 .2V.28",
}
"""Sign of each decision as an SVG path in a unit cell: ring, tick, cross, dash, exclamation mark."""
_SCATTERED = 3000
_GRID = re.compile(r"(?:^|[^a-z])r(?:ow)?[-_]?(\d+)[^0-9a-z]*c(?:ol(?:umn)?)?[-_]?(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SectionMap:
    """The drawn map of one section."""

    name: str
    tiles: int
    svg: Markup


def blur_step(sigma_px: float | None) -> int | None:
    """Return which of `BLUR_STEPS` stands for a blur, None where it was not measured."""
    return None if sigma_px is None else min(int(max(sigma_px, 0) / BLUR_STEP_PX), len(BLUR_STEPS) - 1)


def section_maps(tiles: Sequence[Tile]) -> list[SectionMap]:
    """Draw one map for each folder of tiles."""
    sections: dict[str, list[Tile]] = {}
    for tile in tiles:
        sections.setdefault(tile.section, []).append(tile)
    return [SectionMap(name, len(group), _map(group)) for name, group in sections.items()]


def positions(tiles: Sequence[Tile]) -> list[tuple[float, float]]:
    """Return (x, y) of each tile, in tiles: from the stage, else from r/c numbers in the names, else in order."""
    stage = [tile.stage_nm for tile in tiles if tile.stage_nm is not None]
    if len(stage) == len(tiles):
        pitch_x, pitch_y = (_pitch([s[axis] for s in stage]) for axis in (0, 1))
        left, top = min(s[0] for s in stage), min(s[1] for s in stage)
        places = [((x - left) / pitch_x, (y - top) / pitch_y) for x, y in stage]
        if max(max(p) for p in places) <= 4 * len(tiles) + 4:
            return places
    found = [_GRID.search(tile.name.rsplit("/", 1)[-1]) for tile in tiles]
    numbers = [(int(match[2][:6]), int(match[1][:6])) for match in found if match]
    if len(set(numbers)) == len(tiles):
        left, top = min(n[0] for n in numbers), min(n[1] for n in numbers)
        if max(max(x - left, y - top) for x, y in numbers) <= 4 * len(tiles) + 4:
            return [(float(x - left), float(y - top)) for x, y in numbers]
    columns = math.ceil(math.sqrt(len(tiles)))
    return [(float(i % columns), float(i // columns)) for i in range(len(tiles))]


def _pitch(values: list[float]) -> float:
    """Return the typical distance of neighbouring columns: the median of the steps that are not jitter."""
    ordered = sorted(values)
    steps = [b - a for a, b in pairwise(ordered)]
    real = sorted(step for step in steps if step > 0.2 * max(steps))
    return real[len(real) // 2] if real else 1.0


def _map(tiles: Sequence[Tile]) -> Markup:
    places = positions(tiles)
    width, height = max(p[0] for p in places) + 1, max(p[1] for p in places) + 1
    edge = max(8.0, min(84.0, 460 / max(width, height)))
    cells = "".join(_cell(tile, x, y) for tile, (x, y) in zip(tiles, places, strict=True))
    return Markup(  # noqa: S704 - numbers, fixed names and escaped text only
        f'<svg class="map" viewBox="0 0 {width:.3f} {height:.3f}" width="{width * edge:.0f}" '
        f'height="{height * edge:.0f}" role="group" aria-label="map of {len(tiles)} tiles">{cells}</svg>'
    )


def _cell(tile: Tile, x: float, y: float) -> str:
    step = blur_step(tile.sigma_px)
    shade = f"b{step}" if step is not None else "bx"
    ink = "light" if step is not None and step < 4 else "dark"
    return (
        f'<a href="#t{tile.number}" class="cell {ink}" data-tile="{tile.number}" aria-label="{escape(_said(tile))}" '
        f'transform="translate({x:.3f} {y:.3f})"><rect class="{shade}" x=".03" y=".03" width=".94" height=".94"/>'
        f'<path transform="translate(.5 .5)" d="{SIGNS[tile.decision]}"/></a>'
    )


def _said(tile: Tile) -> str:
    blur = f", blur {tile.sigma_px:.2f} px" if tile.sigma_px is not None else ""
    return f"{tile.label}: {DECISIONS[tile.decision]}{blur}"


def histogram(tiles: Iterable[Tile], quantity: str, label: str, bins: int = 24) -> Markup | None:
    """Draw how often each value of a number occurs, bars split by decision; None where nothing was measured."""
    values = [(v, t.decision) for t in tiles if (v := t.numbers[quantity]) is not None]
    if not values:
        return None
    top = _ceiling(sorted(v for v, _ in values)[max(0, math.ceil(0.995 * len(values)) - 1)])
    counts = [dict.fromkeys(DECISIONS, 0) for _ in range(bins)]
    for value, decision in values:
        counts[max(0, min(int(value / top * bins), bins - 1))][decision] += 1
    highest = 4 * math.ceil(max(sum(c.values()) for c in counts) / 4)
    step = 400 / bins
    bars = []
    for i, count in enumerate(counts):
        base = 200.0
        for decision, number in count.items():
            if number:
                tall = 180 * number / highest
                base -= tall
                bars.append(
                    f'<rect x="{50 + i * step + 0.5:.1f}" y="{base:.1f}" width="{step - 1:.1f}" height="{tall:.1f}" '
                    f'fill="{DECISION_COLOURS[decision]}"><title>{i * top / bins:.3g} to {(i + 1) * top / bins:.3g}: '
                    f"{number} {DECISIONS[decision]}</title></rect>"
                )
    return _plot("".join(bars), label, "tiles", top, highest)


def scatter(tiles: Sequence[Tile]) -> Markup | None:
    """Draw blur against noise, a dot a tile (an even choice of at most 3,000); None where neither was measured."""
    both = [(t.noise, t.sigma_px, t) for t in tiles if t.noise is not None and t.sigma_px is not None]
    if not both:
        return None
    right, top = _ceiling(max(b[0] for b in both)), _ceiling(max(b[1] for b in both))
    every = -(-len(both) // _SCATTERED)
    dots = "".join(
        f'<a href="#t{t.number}" data-tile="{t.number}" aria-label="{escape(_said(t))}"><g class="dot" '
        f'transform="translate({50 + 400 * max(0, noise) / right:.1f} {200 - 180 * max(0, sigma) / top:.1f})">'
        f'<circle r="7"/><path transform="scale(14)" d="{SIGNS[t.decision]}" '
        f'stroke="{DECISION_COLOURS[t.decision]}"/></g></a>'
        for noise, sigma, t in both[::every]
    )
    return _plot(dots, "noise, counts", "blur, px", right, top)


def _ceiling(value: float) -> float:
    """Return the next number of 1, 1.5, 2, 3, 4, 5, 6, 8 times a power of ten."""
    if not value > 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return float(next(m * power for m in (1, 1.5, 2, 3, 4, 5, 6, 8, 10, 20) if m * power >= value * 0.999999))


def _plot(inside: str, label_x: str, label_y: str, right: float, top: float) -> Markup:
    marks = []
    for i in range(5):
        x, y = 50 + 100 * i, 200 - 45 * i
        marks.append(
            f'<path class="grid" d="M50 {y}H450"/><text x="44" y="{y + 4}" text-anchor="end">{top * i / 4:.3g}</text>'
        )
        marks.append(f'<text x="{x}" y="217" text-anchor="middle">{right * i / 4:.3g}</text>')
    return Markup(  # noqa: S704 - numbers, fixed names and escaped text only
        f'<svg class="plot" viewBox="0 0 470 246" role="img" aria-label="{escape(label_y)} against {escape(label_x)}">'
        f'{"".join(marks)}{inside}<path class="axis" d="M50 20V200H450"/>'
        f'<text x="250" y="240" text-anchor="middle">{escape(label_x)}</text>'
        f'<text transform="translate(12 110) rotate(-90)" text-anchor="middle">{escape(label_y)}</text></svg>'
    )


def key() -> Mapping[str, Markup]:
    """Return the sign of each decision as a small picture, for legends."""
    return {
        decision: Markup(  # noqa: S704
            f'<svg class="sign" viewBox="-.5 -.5 1 1" aria-hidden="true"><path d="{path}" '
            f'stroke="{DECISION_COLOURS[decision]}"/></svg>'
        )
        for decision, path in SIGNS.items()
    }
