"""What a watch makes of an operator's word and of foreign lines, and what it must not lose beside them."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from drawn import SHARP, SOFT, save, texture
from program import Program
from refocal.core.errors import UsageError
from refocal.engine.job import Job, Part
from refocal.engine.watch import Watch, lock
from refocal.engine.watch import watch as watch_module
from refocal.engine.watch.state import WatchState
from refocal.eventlog.current import latest
from refocal.eventlog.log import read_log
from watching import QUICK, SECONDS, Gated, Start, decisions, until


@pytest.fixture
def raw(start: Start, tmp_path: Path) -> Path:
    return tmp_path / "raw"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def tiles(out: Path) -> dict[str, Any]:
    return dict(latest(read_log(out / "log.jsonl")))


def say(out: Path, key: str, verdict: str) -> None:
    with open(out / "log.jsonl", "a") as log:
        log.write(json.dumps({"event": "override", "key": key, "verdict": verdict, "by": "Ada"}) + "\n")


def test_a_word_about_the_tile_in_hand_is_not_lost(start: Start, raw: Path, out: Path) -> None:
    save(raw / "a.tif", [texture(SOFT, 1)])
    slow = Gated()
    running = start(restorer=slow)
    assert slow.began.wait(SECONDS)
    say(out, "a.tif", "retake")
    until(lambda: running._queue._urgent)
    slow.let.set()
    until(lambda: tiles(out)["a.tif"].get("override") == "retake")
    assert decisions(out) == {"a.tif": "retake"}
    assert (out / "a.tif").is_symlink()


def test_a_word_lapses_with_its_file_while_no_watch_runs(start: Start, raw: Path, out: Path) -> None:
    save(raw / "a.tif", [texture(SHARP, 1)])
    running = start()
    until(lambda: decisions(out) == {"a.tif": "kept"})
    running.stop()
    say(out, "a.tif", "retake")
    save(raw / "a.tif", [texture(SHARP, 2)])
    os.utime(raw / "a.tif", ns=(1, 10**18))
    for _ in range(2):  # the second one sees the word before a tile that was taken anew
        running = start()
        until(lambda: tiles(out)["a.tif"]["mtime_ns"] == 10**18)
        time.sleep(0.3)
        running.stop()
    assert decisions(out) == {"a.tif": "kept"}


def test_queued_tiles_outlive_an_empty_mount_point(
    start: Start, raw: Path, out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refocal.engine.watch.completeness.DAMAGED", (0.2,))
    for name in ("a.tif", "b.tif"):
        save(raw / name, [texture(SOFT, 1)])
    slow = Gated()
    start(restorer=slow)
    until(lambda: decisions(out) == {"a.tif": "queued", "b.tif": "queued"})
    assert slow.began.wait(SECONDS)
    aside = tmp_path / "aside"
    aside.mkdir()
    for name in ("a.tif", "b.tif"):
        (raw / name).rename(aside / name)
    until(lambda: [e for e in read_log(out / "log.jsonl") if e["event"] == "alert" and e["active"]])
    slow.let.set()
    time.sleep(1.0)
    for name in ("a.tif", "b.tif"):
        (aside / name).rename(raw / name)
    until(lambda: decisions(out) == {"a.tif": "restored", "b.tif": "restored"})


def test_a_pixel_size_that_only_the_layout_knows_is_known_when_restoring(start: Start, raw: Path, out: Path) -> None:
    field = raw / "w_20260105_08-00-00" / "021_S1R1" / "000001"
    name = "021_000001_001_2026-01-05T0800021234567.bmp"
    save(field / name, [texture(SOFT, 1)])
    content = bytearray((field / name).read_bytes())
    content[38:46] = bytes(8)  # pixels per metre: this microscope leaves them out
    (field / name).write_bytes(content)
    (field / "metadata.txt").write_text("Pixelsize:\t7 nm\n")
    (field / "image_coordinates.txt").write_text(f"{name}\t10.0\t20.0\t0\n")
    restorer = Gated()
    restorer.let.set()
    start(restorer=restorer)
    until(lambda: list(decisions(out).values()) == ["restored"])
    (event,) = tiles(out).values()
    assert (event["pixel_nm"], event["sigma_nm"]) == (7.0, pytest.approx(7 * event["sigma_px"]))
    assert restorer.pixel_nm == [7.0]


def test_counts_stay_right_when_tiles_are_decided_anew(start: Start, raw: Path, out: Path) -> None:
    save(raw / "s" / "a.tif", [texture(SHARP, 1)])
    (out / "s").mkdir(parents=True)
    (out / "s" / "a.tif").mkdir()  # nothing can be written there
    running = start()
    until(lambda: decisions(out) == {"s/a.tif": "failed"})
    running.stop()
    (out / "s" / "a.tif").rmdir()
    running = start()
    until(lambda: running.state()["counts"] == {"kept": 1})
    assert running._state.sections["s"].tiles == 1


def test_a_tile_of_a_closed_folder_is_counted_once_when_an_operator_has_it_done_again() -> None:
    ledger = WatchState()
    kept = {"event": "tile", "key": "s/a.tif", "decision": "kept", "section": "s", "size": 9, "mtime_ns": 1}
    ledger.add(kept)
    ledger.forget("s")
    ledger.recall(kept)
    ledger.add({**kept, "decision": "retake"})
    assert +ledger.counts == {"retake": 1}
    assert ledger.sections["s"].tiles == 1


def test_a_script_that_waits_searches_the_log_once(start: Start, raw: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(raw / "a.tif", [texture(SHARP, 1)])
    searched: list[str] = []
    monkeypatch.setattr(watch_module, "last_event", lambda log, key: searched.append(key))
    running = start()
    with pytest.raises(TimeoutError):
        running.is_good("absent.tif", timeout=1.0)
    assert searched == ["absent.tif"]


def test_a_beat_counts_a_tile_once_whatever_becomes_of_it(start: Start, raw: Path, out: Path) -> None:
    save(raw / "a.tif", [texture(SOFT, 1)])
    save(raw / "b.tif", [texture(SHARP, 2)])
    start(check=lambda frames, restored, grade: "no good")
    until(lambda: decisions(out) == {"a.tif": "retake", "b.tif": "kept"})
    say(out, "b.tif", "retake")
    until(lambda: decisions(out)["b.tif"] == "retake")
    count = len([e for e in read_log(out / "log.jsonl") if e["event"] == "beat"])
    beats = until(lambda: [e for e in read_log(out / "log.jsonl") if e["event"] == "beat"][count + 1 :])
    assert beats[-1]["graded"] == 2


LINES = [
    {"event": "tile"},
    {"event": "tile", "key": ["a.tif"]},
    {"event": "tile", "key": "a.tif", "decision": ["kept"], "size": 1, "mtime_ns": 1},
    {"event": "tile", "key": "z.tif", "decision": "moon", "size": 1, "mtime_ns": 1},
    {"event": "tile", "key": "z.tif", "decision": "kept", "size": None, "mtime_ns": "x"},
    {"event": "tile", "key": "z.tif", "decision": "kept", "mtime_ns": 1},
    {"event": ["job"]},
    {"event": "job"},
    {"event": "job", "job": 3, "job_sha256": 1},
    {"event": "contrast"},
    {"event": "section", "section": ["s"]},
    {"event": "override", "key": "z.tif", "verdict": "keep"},
]


@pytest.mark.parametrize("line", LINES, ids=json.dumps)
def test_foreign_lines_stop_nothing(inside: Program, raw: Path, out: Path, line: dict[str, Any]) -> None:
    save(raw / "a.tif", [texture(SHARP, 1)])
    inside("restore", raw, "-o", out, "--restorer", "unsharp", "-q", "--no-report")
    with open(out / "log.jsonl", "a") as log:
        log.write(json.dumps(line) + "\n")
    inside("restore", raw, "-o", out, "--restorer", "unsharp", "-q", "--no-report")
    with Watch(raw, out, Job(restorer=Part(kind="unsharp"), carry="copy"), QUICK) as running:
        until(lambda: "mtime_ns" in tiles(out)["a.tif"])
        assert running.running
    inside("handoff", out)


def test_a_disk_without_locks_is_told_from_a_second_watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: Any) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "_lock", refuse)
    with pytest.raises(UsageError, match=r"cannot lock .* No locks available"):
        lock.WatchLock(tmp_path / "x" / "watch.lock")
