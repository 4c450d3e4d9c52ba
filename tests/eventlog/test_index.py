"""The index equals a slow reading of the whole log, however the log comes."""

import json
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refocal.eventlog.index import History
from refocal.eventlog.index.schema import DECISIONS
from refocal.eventlog.log import Log

KEYS = [f"s{i % 2}/t{i}.tif" for i in range(6)] + ["b1/t0.tif", "b2/t0.tif", "odd \udc80.tif", "stack.tif#1"]
PLACED = {"b1/t0.tif": ("S", "t0", "1"), "b2/t0.tif": ("S", "t0", "2")}
tile = st.builds(
    lambda key, decision, sigma, beam, minute, size, changed: {
        "event": "tile", "key": key, "decision": decision, "sigma_px": sigma, "beam": beam, "size": size,
        "mtime_ns": changed,
        "time": f"2026-01-01T00:{minute:02}:07.5+00:00", "anisotropy": sigma and sigma / 10,
        **dict(zip(("section", "tile", "taken"), PLACED.get(key, ()), strict=False)),
    },
    st.sampled_from(KEYS),
    st.sampled_from([*DECISIONS, "nonsense"]),
    st.none() | st.floats(0, 9),
    st.integers(1, 3),
    st.integers(0, 4),
    st.integers(8, 9),
    st.none() | st.integers(1, 2),
)  # fmt: skip
override = st.builds(
    lambda key, verdict: {"event": "override", "key": key, "verdict": verdict, "by": "me", "note": "n"},
    st.sampled_from([*KEYS, "never.tif"]),
    st.sampled_from(["keep", "restore", "retake", "else"]),
)
lines = st.lists(
    (tile | override).map(lambda event: json.dumps(event).encode())
    | st.sampled_from([b"", b"{", b"[1]", b'"x"', b"\xff\x00", b"[" * 5000, b'{"event": "tile"}',
                       b'{"event": ["tile"]}',
                       b'{"event": "tile", "key": "x", "sigma_px": 1e999, "time": 3, "beam": 1e30, "decision": []}',
                       b'{"event": "beat", "time": "2026-01-01T00:00:00+00:00", "lag_tiles": "many"}',
                       b'{"event": "section", "section": "S", "state": "complete", "tiles": 3}',
                       b'{"event": "alert", "kind": {}, "active": 1}']),
    max_size=40,
)  # fmt: skip


def shown(decision, verdict):
    words = {"keep": "kept", "retake": "retake"}
    if verdict == "restore":
        return decision if decision in ("restored", "queued", "failed") else "queued"
    return words.get(verdict, decision)


def slowly(log):
    """Return decision and section by key, counts by section, and blur by beam: straight from the lines."""
    last, place, said, changed = {}, {}, {}, {}
    for line in log.split(b"\n")[:-1]:
        try:
            event = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if not isinstance(event, dict) or not isinstance(event.get("key"), str):
            continue
        key = event["key"].encode("utf-8", "backslashreplace").decode()
        if event["event"] == "override" and key in last and event["verdict"] in ("keep", "restore", "retake"):
            said[key] = event["verdict"]
        if event["event"] == "tile":
            mark = event.get("size"), event.get("mtime_ns")
            if changed.get(key, mark) != mark:
                said.pop(key, None)
            changed[key] = mark
            last[key] = event
            beam = event.get("beam")
            place.setdefault(key, (event.get("section"), event.get("tile"), event.get("taken"),
                                   beam if isinstance(beam, int) else None, len(place)))  # fmt: skip
    current = dict.fromkeys(last, True)
    rivals = [key for key in PLACED if key in last]
    if len(rivals) == 2:
        current[rivals[0]] = False
    made = {}
    for key, event in last.items():
        decision = event["decision"] if event["decision"] in list(DECISIONS) else "failed"
        folder = key.rpartition("#")[0] or key.rpartition("/")[0]
        made[key] = (place[key][0] or folder, shown(decision, said.get(key)), current[key])
    counts, blur = defaultdict(Counter), defaultdict(list)
    for key, (section, decision, counted) in made.items():
        if counted:
            counts[section][decision] += 1
            sigma = last[key].get("sigma_px")
            if place[key][3] is not None and sigma is not None and sigma < 1e15:
                blur[place[key][3]].append(sigma)
    return made, counts, blur


def check(history, log):
    made, counts, blur = slowly(log)
    with history.readings() as read:
        for key, (section, decision, current) in made.items():
            found = read.tile(key)
            assert (found["section_name"], DECISIONS[found["shown"]], bool(found["current"])) == (
                section, decision, current,
            )  # fmt: skip
            assert found["event"]["key"].encode("utf-8", "backslashreplace").decode() == key
        got = {s["name"]: {d: n for d, n in zip(DECISIONS, s["counts"], strict=True) if n} for s in read.sections()}
        assert {name: n for name, n in got.items() if n} == {name: dict(c) for name, c in counts.items() if c}
        for beam in read.beams():
            found = blur[beam["beam"]]
            mean = sum(found) / len(found) if found else None
            assert beam["sigma_px"] == (None if mean is None else pytest.approx(mean, abs=1e-5))
        listed, rows = read.listed((2, 3, 5, 6), limit=1000)
        assert listed == len(rows) == sum(n for c in counts.values() for d, n in c.items()
                                          if d in ("queued", "retake", "unreadable", "failed"))  # fmt: skip
        return read.timeline(), read.summary()["counts"]


@settings(max_examples=40, deadline=None)
@given(lines, st.lists(st.integers(0, 6000), max_size=6), st.booleans())
def test_index_equals_a_slow_reading_in_any_portions(tmp_path_factory, lines, cuts, whole_end):
    folder = tmp_path_factory.mktemp("log")
    log = b"\n".join(lines) + (b"\n" if whole_end else b"")
    path = folder / "log.jsonl"
    with History(path) as history:
        for cut in sorted({min(cut, len(log)) for cut in cuts} | {len(log)}):
            path.write_bytes(log[:cut])
            history.catch_up()
        grown = check(history, log)
    with History(path, folder / "again.sqlite") as again:
        again.catch_up()
        assert check(again, log) == grown


@settings(max_examples=15, deadline=None)
@given(lines, lines)
def test_another_log_is_indexed_anew(tmp_path_factory, before, after):
    path = tmp_path_factory.mktemp("log") / "log.jsonl"
    first, second = b"\n".join([*before, b""]), b"\n".join([*after, b""])
    with History(path) as history:
        for log in (first, second):
            path.write_bytes(log)
            history.catch_up()
            check(history, log)
        path.unlink()
        history.catch_up()
        check(history, b"")


def test_minutes_count_a_queued_tile_once(tmp_path):
    with Log(tmp_path / "log.jsonl") as log, History(log.path) as history:
        for i in range(10):
            log.append({"event": "tile", "key": f"t{i}", "decision": "queued", "sigma_px": 2.0, "latency_s": 0.25})
        history.catch_up()
        for i in range(10):
            log.append({"event": "tile", "key": f"t{i}", "decision": "restored" if i else "retake", "sigma_px": 2.0})
        history.catch_up()
        with history.readings() as read:
            rows = read.timeline()["rows"]
            assert [sum(column) for column in list(zip(*rows, strict=True))[1:4]] == [10, 9, 1]
            assert rows[0][4:] == [2.0, 0.25]


def test_a_damaged_index_is_made_anew(tmp_path):
    with Log(tmp_path / "log.jsonl") as log:
        log.append({"event": "tile", "key": "t", "decision": "kept"})
    index = tmp_path / "index.sqlite"
    index.write_bytes(b"no database" * 999)
    with History(log.path, index) as history:
        history.catch_up()
        with history.readings() as read:
            assert read.summary()["counts"][1] == 1


def test_two_writers_take_turns(tmp_path):
    with Log(tmp_path / "log.jsonl") as log, History(log.path) as one, History(log.path) as two:
        for i in range(300):
            log.append({"event": "tile", "key": f"t{i}", "decision": "kept"})
            (one, two)[i % 2].update(most_bytes=4096)
        one.catch_up()
        with two.readings() as read:
            assert read.summary()["counts"][1] == 300


def test_changes_come_in_pages_without_a_gap(tmp_path):
    with Log(tmp_path / "log.jsonl") as log, History(log.path) as history:
        for again in "12":
            for i in range(20):
                place = {"section": "S", "tile": f"t{i}", "taken": again}
                log.append({"event": "tile", "key": f"{again}/t{i}", "decision": "kept", **place})
        history.catch_up()
        with history.readings() as read:
            since, rows = -1, []
            while since is not None:
                page, since = read.tiles(read.sections()[0]["id"], since, limit=7)
                rows += page
            assert len(rows) == len({row[0] for row in rows}) == 40
            assert sum(row[2] for row in rows) == 20
