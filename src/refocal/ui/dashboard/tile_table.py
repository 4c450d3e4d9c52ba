"""The list of tiles that need attention: selected, sorted, as rows and as CSV."""

import csv
import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from refocal.eventlog.index import Readings
from refocal.eventlog.index.queries import TROUBLE
from refocal.eventlog.index.schema import DECISIONS

_EVENT = ("path", "page", "verdict", "reason", "error", "sigma_nm", "latency_s")
_COLUMNS = (
    "key", "section", "tile", "decision", "override", "override_by", "note", "verdict", "reason", "sigma_px",
    "sigma_nm", "noise", "anisotropy", "beam", "field", "stage_x_nm", "stage_y_nm", "path", "page",
)  # fmt: skip
_PORTION = 500


@dataclass(frozen=True, slots=True)
class Filter:
    """Which tiles, and in which order."""

    decisions: tuple[int, ...]
    section: int | None
    find: str
    sort: str
    down: bool

    @classmethod
    def parse(cls, query: Mapping[str, str]) -> "Filter":
        """Read a filter from the query of a request; unknown values are ignored."""
        names = query.get("decisions", "").split(",")
        section = query.get("section", "")
        return cls(
            tuple(number for number in TROUBLE if DECISIONS[number] in names) or TROUBLE,
            int(section) if section.isdecimal() and len(section) < 18 else None,
            query.get("find", "")[:200],
            query.get("sort", "time"),
            query.get("down", "1") != "0",
        )

    def read(self, read: Readings, start: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return how many tiles there are, and a portion of them as plain rows."""
        count, rows = read.listed(
            self.decisions, section=self.section, find=self.find, sort=self.sort, down=self.down, start=start,
            limit=limit,
        )  # fmt: skip
        return count, [_row(row) for row in rows]


def csv_lines(read: Readings, chosen: Filter) -> Iterator[str]:
    """Yield the whole list as CSV, in portions."""
    text = io.StringIO()
    table = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    table.writeheader()
    start = 0
    while True:
        _, rows = chosen.read(read, start, _PORTION)
        table.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
        yield text.getvalue().encode("utf-8", "backslashreplace").decode()
        text.seek(0)
        text.truncate()
        start += _PORTION
        if len(rows) < _PORTION:
            return


def _row(row: Mapping[str, Any]) -> dict[str, Any]:
    event = row["event"]
    stage = (row["x_nm"], row["y_nm"]) if row["w_nm"] is not None else (None, None)
    said = row["override"] is not None
    return {
        **{name: event.get(name) for name in _EVENT},
        **{name: row[name] for name in ("key", "tile", "override", "sigma_px", "noise", "anisotropy", "beam", "field")},
        "override_by": row["by"] if said else None,
        "note": row["note"] if said else None,
        "section": row["section_name"],
        "section_id": row["section"],
        "decision": DECISIONS[row["shown"]],
        "time": row["time"],
        "reason": event.get("error") or event.get("reason"),
        "stage_x_nm": stage[0],
        "stage_y_nm": stage[1],
    }


def _harmless(value: Any) -> Any:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
