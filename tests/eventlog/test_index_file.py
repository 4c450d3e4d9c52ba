"""The file of the index may go away, or not be writable."""

import json
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from refocal.core.errors import UsageError
from refocal.eventlog.index import History
from refocal.ui.dashboard.index_feed import Feed


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"event": "tile", "key": "a.tif", "decision": "kept"}) + "\n")
    return log


def test_an_index_that_is_deleted_while_it_is_in_use_is_made_anew(log: Path) -> None:
    def wait(true: Any) -> None:
        end = time.monotonic() + 30
        while not true():
            assert time.monotonic() < end
            time.sleep(0.02)

    with Feed(log) as feed:
        wait(lambda: sum(feed.news.get("counts", [])) == 1)
        before = feed.news["generation"]
        feed.history.index.unlink()
        wait(lambda: feed.news["generation"] != before and sum(feed.news["counts"]) == 1)
        assert feed.news["trouble"] is None


def test_an_index_that_cannot_be_written_is_told_and_not_waited_for(log: Path) -> None:
    class Broken:
        def execute(self, statement: str) -> None:
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error

    with History(log) as history:
        base, history._base = history._base, Broken()  # type: ignore[assignment]
        with pytest.raises(UsageError, match="disk I/O error"):
            history.catch_up()
        history._base = base
