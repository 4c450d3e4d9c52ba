"""One self-contained HTML page from a log: what was done, with the proof in pictures.

The page loads nothing: pictures are data URLs, style and script are inside, and its content security policy forbids the
rest. Everything that comes from the log is escaped, because tile names cannot be trusted.
"""

import base64
import hashlib
import json
import math
import os
import random
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from refocal.core.atomic import writing
from refocal.core.values import Contrast
from refocal.core.version import __version__
from refocal.eventlog.log import read_log
from refocal.ui.report import drawing
from refocal.ui.report.pictures import INSET_PX, OVERVIEW_PX, Locate, Locators, Pictures, depict
from refocal.ui.report.summary import DECISIONS, RETAKE_LINE, Digest, Tile, contrast_in, summarise

__all__ = ["write_report"]

_LISTED = 200
_SHOWN = ("sigma_px", "sigma_nm", "noise", "anisotropy", "angle_deg", "expected", "seconds")


def write_report(
    log: Path,
    html_path: Path,
    *,
    truth: Path | None = None,
    inputs: Path | Sequence[Path] | None = None,
    title: str = "Focus report",
    max_pictures: int = 24,
) -> Path:
    """Write the report of a run and return its path.

    Parameters
    ----------
    log
        A `log.jsonl`, or the output folder that holds it. A missing log gives a report without tiles.
    html_path
        The page to write, whole or not at all.
    truth
        A folder with the true images under the names of the tiles; adds PSNR and SSIM.
    inputs
        The folders (or files) of the raw tiles; without it, the `inputs` that the log's jobs name.
    title
        Heading of the page.
    max_pictures
        Show pictures of at most this many tiles: all, or else the softest, the sharpest and random ones.

    Raises
    ------
    WriteError
        If the page cannot be written.
    """
    log = Path(log)
    log = log / "log.jsonl" if log.is_dir() else log
    found = summarise(read_log(log))
    raw = _inputs(found) if inputs is None else [inputs] if isinstance(inputs, Path) else list(inputs)
    locators = Locators(_locate(raw), _locate([log.parent]), _locate([truth] if truth else []))
    shown = [depict(tile, locators, tile.contrast or _contrast(found)) for tile in choose(found.tiles, max_pictures)]
    page = _render(found, shown, title)
    with writing(Path(html_path), tag=str(os.getpid())) as part:
        part.write_text(page, encoding="utf-8", errors="replace")
    return Path(html_path)


def choose(tiles: Sequence[Tile], most: int, seed: int = 0) -> list[Tile]:
    """Choose the tiles to show: all if there are no more than `most`, else a third each softest, sharpest and random.

    Tiles that were restored come before those that were not touched.
    """
    if len(tiles) <= most:
        return list(tiles)
    ranked = sorted(
        (t for t in tiles if t.sigma_px is not None), key=lambda t: (t.decision != "restored", -(t.sigma_px or 0))
    )
    restored = [t for t in ranked if t.decision == "restored"] or ranked
    third = most // 3
    chosen = {t.number: t for t in (*restored[:third], *restored[max(0, len(restored) - third) :])}
    rest = [t for t in tiles if t.number not in chosen and t.decision not in ("failed", "unreadable")]
    for tile in random.Random(seed).sample(rest, min(len(rest), most - len(chosen))):  # noqa: S311
        chosen[tile.number] = tile
    return [chosen[number] for number in sorted(chosen)]


def _locate(roots: Sequence[Path]) -> Locate:
    """Return a function that finds a name in folders; a root may also be the very file."""

    def find(name: str) -> Path | None:
        places = (path for root in roots for path in (root / name, *([root] if root.name == name else [])))
        try:
            return next((path for path in places if name and path.is_file()), None)
        except (OSError, ValueError):
            return None

    return find


def _inputs(found: Digest) -> list[Path]:
    """Return the inputs that the runs name, the last run's first."""
    named = [job.get("inputs") for job in reversed(found.jobs)]
    return [Path(text) for texts in named if isinstance(texts, list) for text in texts if isinstance(text, str)]


def _contrast(found: Digest) -> Contrast | None:
    """Return the contrast of the last run, where it says one."""
    job = found.jobs[-1].get("job") if found.jobs else None
    return contrast_in(job) if isinstance(job, Mapping) else None


def _render(found: Digest, shown: Sequence[Pictures], title: str) -> str:
    environment = Environment(
        loader=PackageLoader("refocal.ui.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.filters["number"] = number
    script = files("refocal.ui.report").joinpath("page.js").read_text(encoding="utf-8")
    unread = [t for t in found.tiles if t.decision in ("unreadable", "failed")]
    return environment.get_template("page.html.j2").render(
        title=title,
        version=__version__,
        now=datetime.now().astimezone().isoformat(" ", "minutes"),
        found=found,
        decisions=DECISIONS,
        retake_line=RETAKE_LINE,
        maps=drawing.section_maps(found.tiles),
        drawing=drawing,
        signs=drawing.key(),
        plots=_plots(found.tiles),
        shown=shown,
        retakes=[t for t in found.tiles if t.decision == "retake"][:_LISTED],
        unread=unread[:_LISTED],
        listed=_LISTED,
        warned=found.warnings.lines(),
        inset_px=INSET_PX,
        overview_px=OVERVIEW_PX,
        table=_table(found.tiles, shown),
        jobs=[json.dumps(job, indent=1, sort_keys=True, ensure_ascii=True) for job in found.jobs[-3:]],
        style=Markup(files("refocal.ui.report").joinpath("page.css").read_text(encoding="utf-8")),  # noqa: S704
        script=Markup(script),  # noqa: S704
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _plots(tiles: Sequence[Tile]) -> list[tuple[str, Markup]]:
    drawn = (
        ("Blur", drawing.histogram(tiles, "sigma_px", "blur, px")),
        ("Noise", drawing.histogram(tiles, "noise", "noise, counts")),
        ("Blur against noise", drawing.scatter(tiles)),
    )
    return [(name, plot) for name, plot in drawn if plot is not None]


def _table(tiles: Sequence[Tile], shown: Sequence[Pictures]) -> Markup:
    """Return the rows of the table as JSON that is safe inside a script element."""
    scores = {p.tile.number: [_brief(v) for row in p.scores for v in row[1:]] for p in shown if p.scores}
    unscored = [None] * 4 if scores else []
    rows = [
        [t.label, t.decision, *(_brief(t.numbers[n]) for n in _SHOWN), *scores.get(t.number, unscored), t.reason]
        for t in tiles
    ]
    facts = {"rows": rows, "pictured": [p.tile.number for p in shown], "scored": bool(scores)}
    text = json.dumps(facts, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


def _brief(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else float(f"{value:.5g}")


def number(value: float | None, digits: int = 2) -> str:
    """Write a number for people; a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "–"
    return f"{value:,.{digits}f}"
