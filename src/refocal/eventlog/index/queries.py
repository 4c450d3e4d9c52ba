"""Questions to the index. A reader is used by one thread at a time and sees what was committed.

Decisions are numbers: their places in `DECISIONS`. Everything that is not in the index (reasons, sizes, names of files)
is read from the tile's own line of the log.
"""

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from refocal.eventlog.index.schema import BEAT, COUNTS, MILLION, MINUTE, SUMS

__all__ = ["TROUBLE", "Plain", "Readings", "tile_columns"]

Plain = dict[str, Any]

TROUBLE = (2, 3, 5, 6)
"""Decisions that somebody or something must still act on: queued, retake, unreadable, failed."""
_MAP = ("id", "rev", "current", "tile", "key", "x_nm", "y_nm", "w_nm", "h_nm", "shown", "sigma_px", "anisotropy",
        "noise", "beam", "field", "override", "page")  # fmt: skip
_SORTS = {"sigma_px", "anisotropy", "noise", "time", "key", "section", "beam", "shown"}
_LONGEST_LINE = 1 << 22
_SECTIONS = 5000


class Readings:
    """Answers from the index of a log; a context manager."""

    def __init__(self, log: Path, base: sqlite3.Connection) -> None:
        self._log = log
        self._base = base

    def close(self) -> None:
        """Close the connection."""
        self._base.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def summary(self) -> Plain:
        """Return the counts of all current tiles, the sums of their grades, the last beat and the active alerts."""
        meta = dict(self._base.execute("SELECT name, value FROM meta").fetchall())
        wanted = ", ".join(f"ifnull(sum({name}), 0)" for name in (*COUNTS, *SUMS))
        totals = self._base.execute(f"SELECT {wanted}, count(*), max(last) FROM sections").fetchone()  # noqa: S608
        beat = self._one(f"SELECT time, {', '.join(BEAT)} FROM beats ORDER BY line DESC LIMIT 1")  # noqa: S608
        alerts = self._base.execute("SELECT count(*), ifnull(sum(severity = 'critical'), 0) FROM alerts WHERE active")
        urgent = tuple(alerts.fetchone())
        return {
            "generation": meta["generation"],
            "offset": meta["offset"],
            "counts": list(totals[: len(COUNTS)]),
            "sigma_px": _mean(totals, len(COUNTS)),
            "sections": totals[-2],
            "last": totals[-1],
            "beat": beat,
            "alerts": {"active": urgent[0], "critical": urgent[1]},
        }

    def sections(self, since: int = -1) -> list[Plain]:
        """Return the sections that changed after a place in the log, the latest last; at most the 5,000 latest."""
        rows = self._base.execute(
            f"SELECT id, name, state, expected, first, last, rev, {', '.join((*COUNTS, *SUMS))} FROM "  # noqa: S608
            "(SELECT * FROM sections WHERE rev > ? ORDER BY rev DESC LIMIT ?) ORDER BY rev",
            (since, _SECTIONS),
        )
        first = 7 + len(COUNTS)
        return [
            {
                **{name: row[name] for name in ("id", "name", "state", "expected", "first", "last", "rev")},
                "counts": list(row[7:first]),
                "sigma_px": _mean(row, first),
                "anisotropy": _mean(row, first + 2),
            }
            for row in rows
        ]

    def tiles(self, section: int, since: int = -1, limit: int = 20_000) -> tuple[list[list[Any]], int | None]:
        """Return rows (`tile_columns`) of a section that changed after a place in the log, and where to go on.

        Rows that are not current any more are among them. None says that there are no more now.
        """
        rows = self._base.execute(
            f"SELECT {', '.join(_MAP)} FROM tiles WHERE section = ? AND rev > ? ORDER BY rev LIMIT ?",  # noqa: S608
            (section, since, limit + 1),
        ).fetchall()
        more = len(rows) > limit
        if more:  # a line can change two rows, which must not be torn apart
            rows = [row for row in rows[:-1] if row["rev"] < rows[-1]["rev"]]
        return [_brief(row) for row in rows], rows[-1]["rev"] if more else None

    def key(self, number: int) -> str | None:
        """Return the key of a tile by its number, which holds for this generation of the index."""
        found = self._base.execute("SELECT key FROM tiles WHERE id = ?", (number,)).fetchone()
        return str(found[0]) if found else None

    def tile(self, key: str) -> Plain | None:
        """Return what is known of a tile: its row, the last event of the log as `event`, and the operator's verdict."""
        row = self._one("SELECT t.*, s.name AS section_name FROM tiles t JOIN sections s ON s.id = section "
                        "WHERE key = ?", key)  # fmt: skip
        if row is None:
            return None
        word = self._one("SELECT verdict, note, by, time FROM overrides WHERE key = ?", key)
        return {**row, "event": self._event(row["line"]), "word": word if row["override"] else None}

    def listed(
        self,
        decisions: Sequence[int],
        *,
        section: int | None = None,
        find: str = "",
        sort: str = "time",
        down: bool = True,
        start: int = 0,
        limit: int = 100,
    ) -> tuple[int, list[Plain]]:
        """Return how many current tiles have one of these decisions, and some of them with their reasons.

        `decisions` are of `TROUBLE`; `find` is a part of the key; `sort` one of key, section, time, beam, shown,
        sigma_px, anisotropy, noise.
        """  # fmt: skip
        wanted = [number for number in decisions if number in TROUBLE] or list(TROUBLE)
        where = f"current = 1 AND shown >= 2 AND shown != 4 AND shown IN ({', '.join('?' * len(wanted))})"
        values: list[Any] = [*wanted]
        if section is not None:
            where, values = f"{where} AND section = ?", [*values, section]
        if find:
            where, values = f"{where} AND instr(lower(t.key), lower(?))", [*values, find]
        count = int(self._base.execute(f"SELECT count(*) FROM tiles t WHERE {where}", values).fetchone()[0])  # noqa: S608
        by = "s.name" if sort == "section" else f"t.{sort}" if sort in _SORTS else "t.time"
        order = f"ORDER BY {by} IS NULL, {by} {'DESC' if down else 'ASC'}, t.id"
        # Sorted by themselves first: the joins are then of a hundred rows, not of all.
        named = "JOIN sections s ON s.id = t.section" if by == "s.name" else ""
        rows = self._base.execute(
            "SELECT t.*, s.name AS section_name, o.by, o.note FROM tiles t JOIN sections s ON s.id = t.section "  # noqa: S608
            "LEFT JOIN overrides o ON o.key = t.key WHERE t.id IN "
            f"(SELECT t.id FROM tiles t {named} WHERE {where} {order} LIMIT ? OFFSET ?) {order}",
            [*values, limit, start],
        ).fetchall()
        return count, [{**dict(row), "event": self._event(row["line"])} for row in rows]

    def found(self, text: str, limit: int = 20) -> list[Plain]:
        """Return current tiles whose key holds a text."""
        rows = self._base.execute(
            "SELECT t.key, t.tile, t.shown, t.sigma_px, s.name AS section_name FROM tiles t "
            "JOIN sections s ON s.id = section WHERE current = 1 AND instr(lower(key), lower(?)) LIMIT ?",
            (text, limit),
        )
        return [dict(row) for row in rows]

    def beams(self, sections: Sequence[int] = ()) -> list[Plain]:
        """Return tiles, retakes, mean blur and mean anisotropy of each beam, over some sections or all."""
        where = f"WHERE section IN ({', '.join('?' * len(sections))})" if sections else ""
        wanted = ", ".join(f"sum({name})" for name in ("tiles", "retakes", *SUMS))
        rows = self._base.execute(
            f"SELECT beam, {wanted} FROM beams {where} GROUP BY beam HAVING sum(tiles) ORDER BY beam",  # noqa: S608
            tuple(sections),
        )
        return [
            {"beam": r[0], "tiles": r[1], "retakes": r[2], "sigma_px": _mean(r, 3), "anisotropy": _mean(r, 5)}
            for r in rows
        ]

    def timeline(self, start: float | None = None, end: float | None = None, buckets: int = 240) -> Plain:
        """Return what happened per bucket of time (seconds since 1970): blur, retakes, graded, restored, latency, lag.

        Buckets are whole minutes; those in which nothing happened are left out.
        """
        first, last = self._base.execute("SELECT min(minute) * 60, max(minute) * 60 + 60 FROM minutes").fetchone()
        if first is None:
            return {"start": None, "end": None, "seconds": 60, "rows": [], "beats": []}
        begin, until = (first if start is None else start), (last if end is None else end)
        width = max(1, -(-int(until - begin) // (60 * buckets)))
        sums = ", ".join(f"sum({name})" for name in MINUTE)
        rows = self._base.execute(
            f"SELECT minute / ? AS bucket, {sums} FROM minutes WHERE minute BETWEEN ? AND ? GROUP BY bucket",  # noqa: S608
            (width, begin // 60, until // 60),
        )
        beats = self._base.execute(
            "SELECT CAST(time / ? AS INTEGER) AS bucket, max(lag_tiles), max(lag_seconds), avg(tiles_per_s), "
            "avg(bytes_per_s), max(rss_bytes) FROM beats WHERE time BETWEEN ? AND ? GROUP BY bucket",
            (width * 60, begin, until),
        )
        made = [
            [r[0] * width * 60, r[1], r[2], r[3], _mean(r, 4), _mean(r, 6)]
            for r in rows
        ]  # fmt: skip
        return {
            "start": begin,
            "end": until,
            "seconds": width * 60,
            "rows": made,
            "beats": [[r[0] * width * 60, *r[1:]] for r in beats],
        }

    def alerts(self, limit: int = 100) -> list[Plain]:
        """Return the alerts in their latest state, the active ones first, then the latest."""
        rows = self._base.execute("SELECT * FROM alerts ORDER BY active DESC, rev DESC LIMIT ?", (limit,))
        return [dict(row) for row in rows]

    def jobs(self) -> Iterator[Mapping[str, Any]]:
        """Yield the events that began a run, the last first."""
        for row in self._base.execute("SELECT event FROM jobs ORDER BY line DESC").fetchall():
            yield json.loads(row[0])

    def _event(self, line: int) -> Plain:
        """Return the event that begins at a place in the log; empty where the log is no longer that file."""
        try:
            with self._log.open("rb") as file:
                file.seek(line)
                event = json.loads(file.readline(_LONGEST_LINE))
        except (OSError, ValueError):
            return {}
        return event if isinstance(event, dict) else {}

    def _one(self, query: str, *values: object) -> Plain | None:
        row = self._base.execute(query, values).fetchone()
        return dict(row) if row else None


def tile_columns() -> tuple[str, ...]:
    """Return the names of the columns of `Readings.tiles`."""
    return _MAP


def _mean(row: Sequence[Any], column: int) -> float | None:
    """Return the mean whose count is in a column and whose sum, in millionths, is in the next."""
    return row[column + 1] / row[column] / MILLION if row[column] else None


def _brief(row: sqlite3.Row) -> list[Any]:
    """Return a row for the map with digits that can be seen; the key only where no name stands for it."""
    values = list(row)
    values[4] = None if row["tile"] is not None else row["key"]
    for at, digits in ((10, 3), (11, 3), (12, 2)):
        values[at] = None if values[at] is None else round(values[at], digits)
    return values
