"""The log: whole lines, torn lines, who is trusted, and the retake table."""

import csv
import io
import json
import math
import os
import subprocess
import sys
from datetime import UTC, datetime

import numpy as np
import pytest

from refocal.core.errors import UsageError, WriteError
from refocal.eventlog.current import latest
from refocal.eventlog.log import Log, done, job_sha256, read_log, retake_table, split_key, write_retakes

JOB = {"model": "gran-em", "options": {"gate": "sharpness"}}


def tile(key, decision="restored", **more):
    return {"event": "tile", "key": key, "path": key, "page": 0, "decision": decision, **more}


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.jsonl"


def test_events_come_back_with_time_and_job(path):
    with Log(path, now=lambda: datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)) as log:
        sha = log.start(JOB, shard=2)
        log.append(tile("a.tif"))
    job, event = read_log(path)
    assert job == {"time": "2026-01-02T03:04:05.678+00:00", "job_sha256": sha, "event": "job", "shard": 2, "job": JOB}
    assert event == {"time": job["time"], "job_sha256": sha, **tile("a.tif")}
    assert sha == job_sha256(dict(reversed(JOB.items())))
    assert sha != job_sha256({**JOB, "model": "other"})


def test_a_disk_that_cannot_sync_doubles_no_line(path, monkeypatch):
    synced, failing = [], [True]

    def sync(number):
        synced.append(number)
        if failing:
            raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", sync)
    with Log(path, sync_seconds=0) as log:
        for i in range(3):
            for _ in range(2):  # as a caller does who tries again
                try:
                    log.append(tile(f"{i}.tif"))
                    break
                except OSError:
                    continue
        failing.clear()
    assert [event["key"] for event in read_log(path)] == ["0.tif", "1.tif", "2.tif"]
    assert len(synced) == 4, "each event tries again, and closing does"


@pytest.mark.parametrize("missing", [1, 2])
def test_a_disk_that_takes_all_but_the_end_of_a_line_doubles_none(path, missing):
    class Short:
        """A raw file on a disk that is full once."""

        def __init__(self, file):
            self.file, self.full = file, True

        def write(self, line):
            line, self.full = line[: len(line) - missing * self.full], False
            return self.file.write(line)

        def __getattr__(self, name):
            return getattr(self.file, name)

    with Log(path) as log:
        log._file = Short(log._file)
        for key in ("a.tif", "b.tif"):
            try:
                log.append(tile(key))
            except WriteError:
                log.append(tile(key))
    assert [event["key"] for event in read_log(path)] == ["a.tif", "b.tif"]


def test_lines_are_strict_json_whatever_comes(path):
    odd = {
        "nan": math.nan,
        "inf": np.float32("inf"),
        "f": np.float32(0.5),
        "i": np.int64(3),
        "b": np.bool_(True),
        "path": path,
        "list": [math.nan, (1, 2)],
        "name": "line\nbreak \udcff ä",
    }
    with Log(path) as log:
        log.append({"event": "odd", **odd})
    (line,) = path.read_text().splitlines()
    event = json.loads(line, parse_constant=pytest.fail)
    assert [event[k] for k in ("nan", "inf", "f", "i", "b", "list")] == [None, None, 0.5, 3, True, [None, [1, 2]]]
    assert event["path"] == str(path)
    assert event["name"] == odd["name"]


def test_every_event_is_on_file_at_once(path):
    with Log(path) as log:
        for n in range(3):
            log.append(tile(str(n)))
            assert len(list(read_log(path))) == n + 1


@pytest.mark.parametrize("garbage", [b'{"time": "2026', b"\0\0\0\0", b"\xff\xfe{", b"{", b"[1]", b'{"a": 1}', b"17"])
def test_torn_line_is_passed_over_and_ended(path, garbage):
    with Log(path) as log:
        log.append(tile("a"))
    with path.open("ab") as file:
        file.write(garbage)
    assert [e["key"] for e in read_log(path)] == ["a"]
    with Log(path) as log:
        log.append(tile("b"))
    assert [e["key"] for e in read_log(path)] == ["a", "b"]


def test_no_log_is_an_empty_log(path):
    assert list(read_log(path)) == []
    assert done(read_log(path), "x") == {}


def test_only_the_latest_event_of_the_same_job_is_trusted(path):
    with Log(path) as log:
        first = log.start(JOB)
        for key in ("same", "redone", "broke", "mended"):
            log.append(tile(key, "failed" if key == "mended" else "restored"))
        log.append(tile("mended", "kept"))
        log.append(tile("broke", "failed"))
        log.append(tile("bad", "unreadable"))
    with Log(path) as log:
        second = log.start({**JOB, "model": "other"})
        log.append(tile("redone"))
    assert set(done(read_log(path), first)) == {"same", "mended"}
    assert set(done(read_log(path), second)) == {"redone"}


def test_processes_may_share_a_log(path):
    code = (
        "import sys; from pathlib import Path; from refocal.eventlog.log import Log\n"
        "with Log(Path(sys.argv[1])) as log:\n"
        "    for n in range(100): log.append({'event': 'tile', 'key': f'{sys.argv[2]}-{n}', 'fill': 'x' * 5000})"
    )
    writers = [subprocess.Popen([sys.executable, "-c", code, path, str(n)]) for n in range(3)]
    assert [w.wait(60) for w in writers] == [0, 0, 0]
    assert sorted(e["key"] for e in read_log(path)) == sorted(f"{w}-{n}" for w in range(3) for n in range(100))


def test_killed_process_loses_nothing_it_appended(path):
    code = (
        "import os, signal, sys; from pathlib import Path; from refocal.eventlog.log import Log\n"
        "log = Log(Path(sys.argv[1]))\n"
        "for n in range(5): log.append({'event': 'tile', 'key': str(n)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    assert subprocess.run([sys.executable, "-c", code, path], check=False).returncode == -9
    assert [e["key"] for e in read_log(path)] == list("01234")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full to imitate a full disk")
def test_full_disk_is_one_line():
    from pathlib import Path

    log = Log(Path("/dev/full"))
    with pytest.raises(WriteError, match="No space left") as caught:
        log.append(tile("a"))
    assert "\n" not in str(caught.value)


def test_log_that_cannot_be_opened_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="cannot write the log"):
        Log(tmp_path)
    with pytest.raises(UsageError, match="No such file"):
        Log(tmp_path / "absent" / "log.jsonl")


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a/b.tif", ("a/b.tif", 0)),
        ("a.tif#12", ("a.tif", 12)),
        ("#1/a#b.tif", ("#1/a#b.tif", 0)),
        ("v@0,1", ("v@0,1", 0)),
    ],
)
def test_keys_name_path_and_page(key, expected):
    assert split_key(key) == expected


def test_retake_table_lists_what_is_bad_now(path, tmp_path):
    with Log(path) as log:
        log.start(JOB)
        log.append(tile("ok", "kept"))
        log.append(tile("mended", "retake"))
        log.append(tile("soft", "retake", verdict="retake", reason='too soft, "very"', sigma_px=6.5, sigma_nm=26.0))
        log.append(tile("broken", "unreadable", verdict="unreadable"))
        log.append(tile("mended", "restored"))
    write_retakes(retake_table(read_log(path)), tmp_path / "retake.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "retake.csv").read_text())))
    assert [r["path"] for r in rows] == ["broken", "soft"]
    assert rows[1] == {
        "path": "soft", "page": "0", "verdict": "retake", "reason": 'too soft, "very"',
        "sigma_px": "6.5", "sigma_nm": "26.0", "noise": "",
    }  # fmt: skip
    assert retake_table([]) == "path,page,verdict,reason,sigma_px,sigma_nm,noise\n"
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".part")]
    assert list(latest(read_log(path))) == ["ok", "mended", "soft", "broken"]
    with pytest.raises(WriteError, match="cannot be written"):
        write_retakes(retake_table(read_log(path)), tmp_path / "absent" / "retake.csv")
