"""What a run that goes on knows of its log: the same as from all events, in a few bytes a line."""

import json
import tracemalloc
import warnings
from pathlib import Path

import pytest

from refocal.eventlog.log import DamagedLogWarning, done, read_log, retake_table
from refocal.eventlog.resume import Earlier
from refocal.ui.report.summary import summarise

JOB, OTHER = "a" * 64, "b" * 64


def tile(key: object, decision: str = "kept", job: str = JOB, **facts: object) -> str:
    time = {"time": "2026-01-05T08:00:00.000+00:00", "job_sha256": job}
    return json.dumps({**time, "event": "tile", "key": key, "path": key, "decision": decision, **facts}) + "\n"


def write(folder: Path, *lines: str | bytes) -> Path:
    path = folder / "log.jsonl"
    path.write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() for line in lines))
    return path


def test_it_knows_what_all_events_say(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        tile("first"),
        tile("again", "retake"),
        tile("again"),
        tile("worse"),
        tile("worse", "failed"),
        tile("stolen"),
        tile("stolen", job=OTHER),
        tile("höhe.tif", "restored"),
        tile("bytes\udcff.tif"),
        tile('quote".tif', "retake", reason="blur"),
        json.dumps({"decision": "kept", "job_sha256": JOB, "key": "foreign order", "event": "tile"}) + "\n",
        tile("lost", "unreadable", error="cut off"),
    )
    with Earlier(path, JOB).settled as settled:
        expected = done(read_log(path), JOB)
        assert dict(settled) == expected
        assert set(expected) == {"first", "again", "höhe.tif", "bytes\udcff.tif", 'quote".tif', "foreign order"}
        assert all(settled.get(key) is None for key in ("worse", "stolen", "lost", "absent", "\ud800"))
    assert Earlier(path, JOB).retakes.table() == retake_table(read_log(path))


def test_no_log_knows_nothing(tmp_path: Path) -> None:
    earlier = Earlier(tmp_path / "absent", JOB)
    assert (dict(earlier.settled), earlier.last_job, earlier.aside) == ({}, None, [])


@pytest.mark.parametrize("then", [b"", b"0" * 4000], ids=["cut", "overwritten"])
def test_a_log_that_changes_meanwhile_costs_the_tile_to_be_done_again(tmp_path: Path, then: bytes) -> None:
    path = write(tmp_path, tile("a"), tile("b"))
    with Earlier(path, JOB).settled as settled:
        path.write_bytes(then)
        assert settled.get("a") is None
        assert settled.get("b") is None


DAMAGE = {
    "deep": b'{"event": "tile", "key": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "nested": b'{"event": "tile", "key": "a", "more": ' + b"[" * 500 + b"]" * 500 + b"}\n",
    "surrogate": b'{"event": "tile", "key": "\\ud800.tif", "decision": "retake"}\n',
    "surrogate in a reason": b'{"event": "tile", "key": "a", "decision": "retake", "reason": "\\udfff"}\n',
    "huge integer": b'{"event": "tile", "key": "a", "size": ' + b"9" * 5000 + b"}\n",
    "key of another type": b'{"event": "tile", "key": 17}\n',
    "NUL": b"\0" * 600 + b"\n",
    "NUL in a key": b'{"event": "tile", "key": "a\0b"}\n',
    "not UTF-8": b'{"event": "tile", "key": "\xff"}\n',
    "half": tile("half").encode()[:90] + b"\n",
    "a number": b"17\n",
    "later version": b'{"happening": "tile", "key": "a"}\n',
}


@pytest.mark.parametrize("line", DAMAGE.values(), ids=DAMAGE)
def test_damaged_lines_are_counted_and_passed_over(tmp_path: Path, line: bytes) -> None:
    path = write(tmp_path, tile("good"), line, "\n", line, tile("bad", "retake"), tile("torn")[:-9])
    said = r"2 lines of log\.jsonl .* the first is line 2"
    with pytest.warns(DamagedLogWarning, match=said):
        assert [event["key"] for event in read_log(path)] == ["good", "bad"]
    with pytest.warns(DamagedLogWarning, match=said):
        earlier = Earlier(path, JOB)
    with earlier.settled as settled:
        assert set(settled) == {"good", "bad"}
    earlier.retakes.table().encode("utf-8", "surrogateescape")


def test_no_line_is_held_that_is_longer_than_any_of_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("refocal.eventlog.log._LONGEST", 1000)
    path = write(tmp_path, tile("a"), b'"' + b"x" * 4321 + b'"\n', tile("b"))
    with pytest.warns(DamagedLogWarning, match="1 line of"):
        assert [event["key"] for event in read_log(path)] == ["a", "b"]
    with pytest.warns(DamagedLogWarning), Earlier(path, JOB).settled as settled:
        assert set(settled) == {"a", "b"}, "places of lines after it are right"


def test_whole_log_warns_of_nothing(tmp_path: Path) -> None:
    path = write(tmp_path, tile("a"), "\n", tile("b"), tile("torn")[:20])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(list(read_log(path))) == 2
        Earlier(path, JOB).settled.close()


def peak(path: Path, use: object) -> int:
    tracemalloc.start()
    held = use(path)  # type: ignore[operator]
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    del held
    return found


@pytest.mark.parametrize(
    ("use", "most"),
    [(lambda path: Earlier(path, JOB), 120), (lambda path: summarise(read_log(path)), 1200)],
    ids=["resume", "report"],
)
def test_memory_of_a_line(tmp_path: Path, use: object, most: int) -> None:
    facts = dict.fromkeys(("sigma_px", "noise", "height", "width", "seconds", "x1", "x2", "x3", "x4"), 1.25)
    sizes = []
    for count in (2000, 6000):
        path = write(tmp_path, *(tile(f"S1/m{i:06d}/t_{i:08d}.tif", reason="sharp", **facts) for i in range(count)))
        sizes.append(peak(path, use))
    assert (sizes[1] - sizes[0]) / 4000 < most
