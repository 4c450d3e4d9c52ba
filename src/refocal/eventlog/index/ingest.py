"""Take the lines of a log into the index: rows are replaced, aggregates are updated by what a row adds or removes.

For a key the latest line counts; where it belongs (section, tile, page, beam) is what its first line said. Of several
keys of one place the one taken last is current, and only current rows are in the aggregates of sections and beams.
The verdict of an operator overrides the gate as long as the file is the same (`refocal.eventlog.current.stamp`).
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any

from refocal.eventlog import current, fields
from refocal.eventlog.index.row import COLUMNS, Row, values
from refocal.eventlog.index.schema import BEAT, COUNTS, DECISIONS, MILLION, MINUTE, SUMS
from refocal.eventlog.log import split_key

_NUMBERS = {name: number for number, name in enumerate(DECISIONS)}
_RESTORED, _QUEUED, _RETAKE, _FAILED = (_NUMBERS[name] for name in ("restored", "queued", "retake", "failed"))
_TILE_SQL = f"INSERT OR REPLACE INTO tiles ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_ROW_SQL = f"SELECT {', '.join(COLUMNS)} FROM tiles WHERE"  # noqa: S608
_SECTION_COLUMNS = (*COUNTS, *SUMS)
_BEAM_COLUMNS = ("tiles", "retakes", *SUMS)


def shown(decision: int, verdict: str | None) -> int:
    """Return the decision after the operator's verdict; a tile that is to be restored is queued until it is."""
    if verdict == "restore":
        return decision if decision in (_RESTORED, _QUEUED, _FAILED) else _QUEUED
    return _NUMBERS[current.decided(DECISIONS[decision], verdict)]


class Ingest:
    """Collects the lines of one transaction, then writes what they changed."""

    def __init__(self, base: sqlite3.Connection) -> None:
        self._base = base
        self._rows: dict[str, Row] = {}
        self._by_id: dict[int, Row] = {}
        self._winners: dict[tuple[int, str, int], Row] = {}
        self._names: dict[str, int] = {}
        self._next_id = 1 + (base.execute("SELECT max(id) FROM tiles").fetchone()[0] or 0)
        self._sections: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(_SECTION_COLUMNS))
        self._beams: defaultdict[tuple[int, int], list[int]] = defaultdict(lambda: [0] * len(_BEAM_COLUMNS))
        self._minutes: defaultdict[int, list[int]] = defaultdict(lambda: [0] * len(MINUTE))
        self._seen: dict[int, tuple[float | None, float | None, int]] = {}

    def add(self, line: bytes, offset: int) -> None:
        """Take one line of the log; anything that is not an event is skipped."""
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            return
        if not isinstance(event, dict):
            return
        kind, key = event.get("event"), event.get("key")
        if kind == "tile" and isinstance(key, str):
            self._tile(event, fields.printable(key), offset)
        elif kind == "override" and isinstance(key, str):
            self._override(event, fields.printable(key), offset)
        elif kind in ("beat", "alert", "section", "job"):
            getattr(self, f"_{kind}")(event, offset)

    def write(self) -> None:
        """Write everything that was taken; inside the caller's transaction."""
        self._base.executemany(_TILE_SQL, map(values, self._by_id.values()))
        self._add("sections", ("id",), _SECTION_COLUMNS, [((key,), sums) for key, sums in self._sections.items()])
        self._add("beams", ("section", "beam"), _BEAM_COLUMNS, list(self._beams.items()))
        self._add("minutes", ("minute",), MINUTE, [((key,), sums) for key, sums in self._minutes.items()])
        self._base.executemany(
            "UPDATE sections SET first = ifnull(first, ?), last = ifnull(?, last), rev = ? WHERE id = ?",
            [(*seen, section) for section, seen in self._seen.items()],
        )

    def _add(
        self, table: str, key: tuple[str, ...], columns: tuple[str, ...], sums: list[tuple[tuple[int, ...], list[int]]]
    ) -> None:
        marks = ", ".join("?" * (len(key) + len(columns)))
        plus = ", ".join(f"{name} = {name} + excluded.{name}" for name in columns)
        self._base.executemany(
            f"INSERT INTO {table} ({', '.join((*key, *columns))}) VALUES ({marks}) "  # noqa: S608
            f"ON CONFLICT ({', '.join(key)}) DO UPDATE SET {plus}",
            [(*where, *added) for where, added in sums],
        )

    def _row(self, key: str) -> Row | None:
        row = self._rows.get(key)
        if row is None:
            found = self._base.execute(f"{_ROW_SQL} key = ?", (key,)).fetchone()
            row = self._hold(found) if found else None
        return row

    def _hold(self, found: sqlite3.Row) -> Row:
        row = Row(*found)
        row = self._by_id.setdefault(row.id, row)
        self._rows[row.key] = row
        return row

    def _tile(self, event: Mapping[str, Any], key: str, offset: int) -> None:
        row, time = self._row(key), fields.seconds(event.get("time"))
        decision, (size, changed) = _decision(event), map(fields.whole_number, current.stamp(event))
        sigma, astigmatism = fields.number(event.get("sigma_px")), fields.number(event.get("anisotropy"))
        self._minute(event, time, decision, sigma, resumed=row is not None and row.decision == _QUEUED)
        if row is None:
            row = self._new(event, key)
            self._enter(row, offset)
        else:
            if (size, changed) != (row.size, row.mtime_ns):
                row.override = None
            self._count(row, -1)
        row.x_nm, row.y_nm, row.w_nm, row.h_nm = _position(event, key)
        row.time, row.decision, row.shown = time, decision, shown(decision, row.override)
        row.sigma_px, row.anisotropy, row.noise = sigma, astigmatism, fields.number(event.get("noise"))
        row.size, row.mtime_ns = size, changed
        row.line = row.rev = offset
        self._count(row, 1)
        self._see(row.section, time, offset)

    def _new(self, event: Mapping[str, Any], key: str) -> Row:
        path, page = split_key(key)
        tile = event.get("tile")
        row = Row(
            id=self._next_id,
            key=key,
            section=self._section_id(_section_of(event, key)),
            tile=fields.printable(tile) if isinstance(tile, str) else None,
            page=page if path != key else 0,
            beam=fields.whole_number(event.get("beam")),
            field=fields.whole_number(event.get("field")),
            taken=fields.printable(event.get("taken") or ""),
            override=None,
        )
        self._next_id += 1
        self._rows[key] = self._by_id[row.id] = row
        return row

    def _enter(self, row: Row, offset: int) -> None:
        """Make the row current, or not, among those of its place."""
        if row.tile is None:
            return
        place = (row.section, row.tile, row.page)
        rival = self._winners.get(place)
        if rival is None:
            found = self._base.execute(
                f"{_ROW_SQL} section = ? AND tile = ? AND page = ? AND current = 1", place
            ).fetchone()
            rival = (self._by_id.get(found["id"]) or self._hold(found)) if found else None
        if rival is not None and not current.is_newer(row.taken, rival.taken):
            row.current = 0
            row, rival = rival, None
        self._winners[place] = row
        if rival is not None:
            self._count(rival, -1)
            rival.current, rival.rev = 0, offset

    def _see(self, section: int, time: float | None, offset: int) -> None:
        first, last, _ = self._seen.get(section, (None, None, 0))
        self._seen[section] = (time if first is None else first, last if time is None else time, offset)

    def _section_id(self, name: str) -> int:
        found = self._names.get(name)
        if found is None:
            self._base.execute("INSERT OR IGNORE INTO sections (name, rev) VALUES (?, 0)", (name,))
            found = int(self._base.execute("SELECT id FROM sections WHERE name = ?", (name,)).fetchone()[0])
            self._names[name] = found
        return found

    def _count(self, row: Row, sign: int) -> None:
        """Add a row to the aggregates of its section and beam, or remove it."""
        if not row.current:
            return
        sums = (
            sign * (row.sigma_px is not None), sign * _millionths(row.sigma_px),
            sign * (row.anisotropy is not None), sign * _millionths(row.anisotropy),
        )  # fmt: skip
        section = self._sections[row.section]
        section[row.shown] += sign
        for column, value in enumerate(sums, len(COUNTS)):
            section[column] += value
        if row.beam is not None:
            beam = self._beams[row.section, row.beam]
            beam[0] += sign
            beam[1] += sign * (row.shown == _RETAKE)
            for column, value in enumerate(sums, 2):
                beam[column] += value

    def _minute(
        self, event: Mapping[str, Any], time: float | None, decision: int, sigma: float | None, *, resumed: bool
    ) -> None:
        """Count a line in its minute; the line that ends a queued tile is not a second grading."""
        if time is None:
            return
        sums = self._minutes[int(time // 60)]
        sums[1] += decision == _RESTORED
        if resumed:
            sums[2] += decision == _RETAKE
            return
        latency = fields.number(event.get("latency_s"))
        graded = (1, 0, decision == _RETAKE, sigma is not None, _millionths(sigma))
        for column, value in enumerate((*graded, latency is not None, _millionths(latency))):
            sums[column] += value

    def _override(self, event: Mapping[str, Any], key: str, offset: int) -> None:
        verdict = event.get("verdict")
        if verdict not in current.VERDICTS:
            return
        said = [fields.printable(event.get(name) or "") for name in ("note", "by")]
        self._base.execute(
            "INSERT OR REPLACE INTO overrides VALUES (?, ?, ?, ?, ?, ?)",
            (key, verdict, *said, fields.seconds(event.get("time")), offset),
        )
        row = self._row(key)
        if row is not None:
            self._count(row, -1)
            row.override, row.shown, row.rev = verdict, shown(row.decision, verdict), offset
            self._count(row, 1)
            self._see(row.section, None, offset)

    def _beat(self, event: Mapping[str, Any], offset: int) -> None:
        said = [fields.number(event.get(name)) for name in BEAT]
        marks = ", ".join("?" * (2 + len(said)))
        self._base.execute(
            f"INSERT OR REPLACE INTO beats VALUES ({marks})",  # noqa: S608
            (offset, fields.seconds(event.get("time")), *said),
        )

    def _alert(self, event: Mapping[str, Any], offset: int) -> None:
        where = [fields.printable(event.get(name) or "") for name in ("kind", "subject", "section")]
        said = [fields.printable(event.get(name) or "") for name in ("message", "severity")]
        time, active = fields.seconds(event.get("time")), int(bool(event.get("active", True)))
        before = self._base.execute(
            "SELECT since, active FROM alerts WHERE kind = ? AND subject = ? AND section = ?", where
        ).fetchone()
        since = before["since"] if before and (before["active"] or not active) else time
        self._base.execute(
            "INSERT OR REPLACE INTO alerts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*where, since, time, *said, fields.number(event.get("value")), active, offset),
        )

    def _section(self, event: Mapping[str, Any], offset: int) -> None:
        name, state = event.get("section"), event.get("state")
        if isinstance(name, str) and isinstance(state, str):
            self._base.execute(
                "UPDATE sections SET state = ?, expected = ifnull(?, expected), rev = ? WHERE id = ?",
                (fields.printable(state), fields.whole_number(event.get("tiles")), offset,
                 self._section_id(fields.printable(name))),
            )  # fmt: skip

    def _job(self, event: Mapping[str, Any], offset: int) -> None:
        self._base.execute(
            "INSERT OR REPLACE INTO jobs VALUES (?, ?, ?)",
            (offset, fields.seconds(event.get("time")), json.dumps(event)),
        )


def _decision(event: Mapping[str, Any]) -> int:
    """Return the number of a tile event's decision."""
    said = event.get("decision")
    return _NUMBERS.get(said, _FAILED) if isinstance(said, str) else _FAILED


def _section_of(event: Mapping[str, Any], key: str) -> str:
    """Return the section of a tile: what the event says, else the stack, else the folder."""
    if isinstance(said := event.get("section"), str) and said:
        return fields.printable(said)
    path, page = split_key(key)
    if page or path != key:
        return path
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def _position(event: Mapping[str, Any], key: str) -> tuple[float | None, float | None, float | None, float | None]:
    """Return x, y, width and height: nanometres on the stage, else column and row by the name and no sizes."""
    if (stage := fields.stage_nm(event)) is not None:
        pixel = fields.number(event.get("pixel_nm")) or 1.0
        width, height = fields.number(event.get("width")) or 1.0, fields.number(event.get("height")) or 1.0
        return *stage, width * pixel, height * pixel
    column, row = fields.grid_place(key) or (None, None)
    return column, row, None, None


def _millionths(value: float | None) -> int:
    """Return a number in whole millionths, 0 for None; clipped, so that sums of many cannot overflow."""
    return 0 if value is None else round(max(-MILLION, min(MILLION, value)) * MILLION)
