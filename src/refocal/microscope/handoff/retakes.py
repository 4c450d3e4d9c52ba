"""`retake.json`: what must be imaged again, per section and per tile."""

from collections.abc import Sequence
from typing import Any

from refocal.eventlog.fields import printable
from refocal.microscope.handoff.retake_codes import cause, codes
from refocal.microscope.handoff.sections import Section, Tile

VERSION = 1


def retake_document(
    sections: Sequence[Section], *, retake_share: float, astigmatic: frozenset[int] = frozenset()
) -> dict[str, Any]:
    """Return the retake list as JSON can hold it; the same log gives the same document.

    Parameters
    ----------
    retake_share
        A section is to be imaged again when more of its tiles than this must be.
    """
    return {
        "version": VERSION,
        "retake_share": retake_share,
        "sections": [_section(section, retake_share, astigmatic) for section in sections],
    }


def _texts(value: object) -> list[str]:
    return [printable(text) for text in value if isinstance(text, str)] if isinstance(value, list) else []


def to_retake(section: Section, retake_share: float) -> bool:
    """Say whether a whole section is to be imaged again."""
    return section.retake_share > retake_share


def _section(section: Section, limit: float, astigmatic: frozenset[int]) -> dict[str, Any]:
    fields = sorted({field for tile in section.retakes if (field := tile.whole("field")) is not None})
    return {
        "section": section.name,
        "region": section.region,
        "folder": section.folder.as_posix(),
        "decision": "retake" if to_retake(section, limit) else "keep",
        "retake_share": round(section.retake_share, 6),
        "tiles": len(section.tiles),
        "complete": section.complete,
        "waiting": len(section.waiting),
        "superseded": len(section.superseded),
        "causes": codes(section, astigmatic),
        "fields": fields,
        "retakes": [_tile(tile, astigmatic) for tile in section.retakes],
    }


def _tile(tile: Tile, astigmatic: frozenset[int]) -> dict[str, Any]:
    return {
        "key": tile.key,
        "path": tile.path.as_posix(),
        "page": tile.page,
        "tile": tile.tile,
        "field": tile.whole("field"),
        "beam": tile.whole("beam"),
        "grid": tile.whole("grid"),
        "cause": cause(tile, astigmatic),
        "reason": tile.event.get("error") or tile.event.get("reason"),
        **({"warnings": said} if (said := _texts(tile.event.get("warnings"))) else {}),
        "by": "operator" if tile.verdict else "gate",
        "sigma_px": tile.number("sigma_px"),
        "stage_x_nm": tile.number("stage_x_nm"),
        "stage_y_nm": tile.number("stage_y_nm"),
    }
