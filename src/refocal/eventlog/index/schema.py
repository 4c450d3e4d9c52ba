"""The tables of the index, and how a file of them is opened.

`rev` is the place in the log (bytes) of the last line that changed a row, so "what changed since" is one comparison.
Sums are whole millionths: adding and subtracting in any order gives the same sum.
"""

import secrets
import sqlite3
from contextlib import suppress
from pathlib import Path

from refocal.core.errors import UsageError
from refocal.eventlog.index.row import COLUMNS

DECISIONS = ("restored", "kept", "queued", "retake", "no_content", "unreadable", "failed")
"""The number of a decision in the index is its place here; what is not named here counts as failed."""
MILLION = 1_000_000

COUNTS = tuple(f"n_{name}" for name in DECISIONS)
SUMS = ("sigma_n", "sigma_sum", "anisotropy_n", "anisotropy_sum")
BEAT = (
    "seen", "pending", "graded", "queued", "restored", "lag_tiles", "lag_seconds", "tiles_per_s", "bytes_per_s",
    "free_bytes", "rss_bytes",
)  # fmt: skip
MINUTE = ("graded", "restored", "retakes", "sigma_n", "sigma_sum", "latency_n", "latency_sum")

_VERSION = "2"
_TABLES = ("meta", "tiles", "overrides", "sections", "beams", "minutes", "beats", "alerts", "jobs")
_SCHEMA = f"""
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE tiles (id INTEGER PRIMARY KEY, {", ".join(COLUMNS[1:])});
CREATE UNIQUE INDEX tiles_key ON tiles (key);
CREATE INDEX tiles_rev ON tiles (section, rev);
CREATE INDEX tiles_place ON tiles (section, tile, page) WHERE tile IS NOT NULL;
CREATE INDEX tiles_trouble ON tiles (shown, section) WHERE current = 1 AND shown >= 2 AND shown != 4;
CREATE TABLE overrides (key TEXT PRIMARY KEY, verdict, note, by, time, line);
CREATE TABLE sections (id INTEGER PRIMARY KEY, name TEXT UNIQUE, state, expected, first, last, rev,
    {", ".join(f"{name} DEFAULT 0" for name in (*COUNTS, *SUMS))});
CREATE INDEX sections_rev ON sections (rev);
CREATE TABLE beams (section, beam, tiles DEFAULT 0, retakes DEFAULT 0, {", ".join(f"{n} DEFAULT 0" for n in SUMS)},
    PRIMARY KEY (section, beam)) WITHOUT ROWID;
CREATE TABLE minutes (minute INTEGER PRIMARY KEY, {", ".join(f"{name} DEFAULT 0" for name in MINUTE)});
CREATE TABLE beats (line INTEGER PRIMARY KEY, time, {", ".join(BEAT)});
CREATE INDEX beats_time ON beats (time);
CREATE TABLE alerts (kind, subject, section, since, time, message, severity, value, active, rev,
    PRIMARY KEY (kind, subject, section));
CREATE TABLE jobs (line INTEGER PRIMARY KEY, time, event);
"""


def connect(path: Path, *, write: bool) -> sqlite3.Connection:
    """Open an index; one to be written is made where it is absent, and rebuilt where it is damaged.

    Raises
    ------
    UsageError
        If it cannot be opened.
    """
    try:
        if not write:
            return _open(path, "ro")
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            return _prepared(path)
        except sqlite3.OperationalError:
            raise
        except sqlite3.DatabaseError:
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)
            return _prepared(path)
    except (OSError, sqlite3.Error) as error:
        raise UsageError(f"cannot keep the index {path}: {error}; choose another place for it") from error


def _prepared(path: Path) -> sqlite3.Connection:
    base = _open(path, "rwc")
    try:
        base.execute("PRAGMA journal_mode = WAL")
        base.execute("PRAGMA synchronous = NORMAL")
        base.execute("PRAGMA cache_size = -65536")
        if version(base) != _VERSION:
            base.execute("BEGIN IMMEDIATE")
            if version(base) != _VERSION:
                clear(base)
            base.execute("COMMIT")
    except BaseException:
        base.close()
        raise
    return base


def _open(path: Path, mode: str) -> sqlite3.Connection:
    # A connection is used by one thread at a time, but not always the one that made it.
    base = sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=5, check_same_thread=False
    )
    base.row_factory = sqlite3.Row
    return base


def version(base: sqlite3.Connection) -> str | None:
    """Return the version of the tables, None where there are none."""
    with suppress(sqlite3.OperationalError):
        row = base.execute("SELECT value FROM meta WHERE name = 'version'").fetchone()
        return str(row[0]) if row else None
    return None


def clear(base: sqlite3.Connection) -> None:
    """Empty the index inside the running transaction; a new generation says that ids are no longer the same."""
    for table in _TABLES:
        base.execute(f"DROP TABLE IF EXISTS {table}")
    for statement in filter(str.strip, _SCHEMA.split(";\n")):
        base.execute(statement)
    values = {"version": _VERSION, "generation": secrets.token_hex(8), "offset": 0}
    base.executemany("INSERT INTO meta VALUES (?, ?)", values.items())
