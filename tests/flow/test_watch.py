"""A watch beside a microscope that is played: what is decided, written and said, and what goes wrong meanwhile."""

import json
import os
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from refocal import watch as start_watch
from refocal.errors import UsageError
from refocal.formats import open_image
from refocal.job import Job, Part
from refocal.live import Settings, Watch, proof
from refocal.live import journal as journal_module
from refocal.live.sink import Room
from refocal.log import latest, read_log
from refocal.replay import Plan, Shares, replay
from refocal.values import Frames, Grade, Reach, Restored

from .conftest import HOPELESS, PROGRAM, SHARP, SOFT, Program, blank, save, state, texture

UNSHARP = Job(restorer=Part(kind="unsharp"), carry="symlink")
QUICK = Settings(poll=0.03, settle=0.2, beat_seconds=0.3)
SECONDS = 60.0

Start = Callable[..., Watch]


def until(true: Callable[[], Any], what: str = "", seconds: float = SECONDS) -> Any:
    """Wait until something is true, and return it."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        assert time.monotonic() < deadline, what or "waited too long"
        time.sleep(0.01)
    return found


def events(out: Path, kind: str = "tile") -> list[dict[str, Any]]:
    return [event for event in read_log(out / "log.jsonl") if event["event"] == kind]


def decisions(out: Path) -> dict[str, str]:
    return {key: event["decision"] for key, event in latest(read_log(out / "log.jsonl")).items()}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start watches of `tmp_path / "raw"` into `tmp_path / "out"`, and stop them in the end."""
    (tmp_path / "raw").mkdir()
    running: list[Watch] = []

    def go(job: Job = UNSHARP, settings: Settings = QUICK, **more: Any) -> Watch:
        running.append(Watch(tmp_path / "raw", tmp_path / "out", job, settings, **more))
        return running[-1]

    yield go
    for one in running:
        one.stop()


class Gated:
    """Restores nothing until it is let, then inverts."""

    reach = Reach()

    def __init__(self) -> None:
        self.let = threading.Event()

    def __call__(self, batch: Any, /) -> list[Restored]:
        assert self.let.wait(SECONDS)
        return [Restored(255 - frames.image, contrast=frames.contrast) for frames in batch]


def test_a_multisem_is_graded_as_it_runs_and_its_soft_tiles_are_restored(start: Start, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "raw")
    plan = Plan(
        sections=2, mfovs=3, beams=7, height=96, width=112, tiles_per_second=60, variants=2, retakes=1,
        shares=Shares(soft=0.3, slow=0.2, doubled=0.3, hopeless=0.1),
    )  # fmt: skip
    ready = threading.Event()
    playing = threading.Thread(
        target=replay, args=("multisem", tmp_path / "raw", plan),
        kwargs={"ready": ready.set, "truth": tmp_path / "truth.jsonl"},
    )  # fmt: skip
    playing.start()
    assert ready.wait(SECONDS)
    until(lambda: list((tmp_path / "raw").rglob("*.bmp")))
    running = start(settings=Settings(poll=0.03, settle=0.2, layout="multisem"))
    playing.join()
    until(lambda: len(d := decisions(tmp_path / "out")) == 63 and "queued" not in d.values())

    def states() -> dict[str, str]:
        return {e["section"]: e["state"] for e in events(tmp_path / "out", "section")}

    until(lambda: list(states().values()) == ["complete"] * 2)
    running.stop()
    done = latest(read_log(tmp_path / "out" / "log.jsonl"))
    assert set(done) == {p.relative_to(tmp_path / "raw").as_posix() for p in (tmp_path / "raw").rglob("[0-9]*.bmp")}
    event = next(iter(done.values()))
    assert {"section", "tile", "region", "field", "beam", "grid", "taken", "stage_x_nm", "size", "mtime_ns"} <= set(
        event
    )
    assert all(e["latency_s"] >= 0 for e in done.values())
    assert any(e["stage_x_nm"] is not None for e in done.values())
    said = Counter(e["state"] for e in events(tmp_path / "out", "section"))
    assert said["superseded"] == 1
    final = [e for e in events(tmp_path / "out", "section") if e["state"] == "complete"][-2:]
    assert [e["tiles"] for e in final] == [21, 21]
    assert sum(final[0]["counts"].values()) == 21
    for key, e in done.items():
        target = tmp_path / "out" / key
        if e["decision"] == "restored":
            assert not target.is_symlink()
            with open_image(target) as image:
                assert image.info.shape == (1, 96, 112)
        else:
            assert target.is_symlink()
            assert target.samefile(tmp_path / "raw" / key)


def test_decisions_outputs_and_the_retake_list(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "s1" / "sharp.tif", [texture(SHARP, 1)])
    save(raw / "s1" / "soft.bmp", [texture(SOFT, 2)])
    save(raw / "s1" / "hopeless.png", [texture(HOPELESS, 3, (128, 128))])
    save(raw / "s1" / "blank.tif", [blank()])
    save(raw / "s2" / "stack.tif", [texture(s, 8 + i) for i, s in enumerate((SHARP, SOFT, SOFT))])
    (raw / "s1" / "cut.bmp").write_bytes((raw / "s1" / "soft.bmp").read_bytes()[:-500])
    (raw / "s1" / "noise.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"x" * 100)
    before = state(raw)
    heard: list[Any] = []
    running = start(on_event=heard.append)
    expected = {
        "s1/sharp.tif": "kept", "s1/soft.bmp": "restored", "s1/hopeless.png": "retake", "s1/blank.tif": "no_content",
        "s2/stack.tif#0": "kept", "s2/stack.tif#1": "restored", "s2/stack.tif#2": "restored",
        "s1/cut.bmp": "unreadable", "s1/noise.png": "unreadable",
    }  # fmt: skip
    until(lambda: decisions(out) == expected)
    until(lambda: events(out, "beat"))
    running.stop()
    assert [e["key"] for e in events(out) if e["decision"] == "queued"]
    retakes = (out / "retake.csv").read_text()
    assert all(name in retakes for name in ("s1/hopeless.png", "s1/cut.bmp", "s1/noise.png"))
    assert len(retakes.splitlines()) == 4
    with open_image(out / "s2" / "stack.tif") as image:
        assert image.info.shape[0] == 3
    assert state(raw) == before
    logged = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert heard == logged[1:], "announced in the order of the log, after it"
    beat = events(out, "beat")[-1]
    assert {"seen", "pending", "graded", "queued", "restored", "lag_tiles", "lag_seconds", "rss_bytes"} <= set(beat)


def test_a_second_watch_does_nothing_again_and_a_third_beside_it_is_refused(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(4):
        save(raw / f"{i}.tif", [texture(SOFT if i % 2 else SHARP, i)])
    save(raw / "stack.tif", [texture(SHARP, 7), texture(SHARP, 8)])
    first = start()
    until(lambda: len(d := decisions(out)) == 6 and "queued" not in d.values())
    with pytest.raises(UsageError, match=r"another watch \(process \d+\)"):
        start()
    first.stop()
    lines = len(events(out))
    assert lines == 8
    second = start()
    save(raw / "late.tif", [texture(SHARP, 9)])
    until(lambda: "late.tif" in decisions(out))
    second.stop()
    assert len(events(out)) == lines + 1
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match="holds the work on"):
        Watch(tmp_path / "other", out, UNSHARP, QUICK)


def test_queued_tiles_wait_in_the_log_for_a_watch_that_restores(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(3):
        save(raw / f"s{i}" / "t.tif", [texture(SOFT, i)])
    only_grades = start(settings=Settings(poll=0.03, settle=0.2, restores=False))
    until(lambda: list(decisions(out).values()) == ["queued"] * 3)
    only_grades.stop()
    assert not list(out.rglob("*.tif"))
    for order, wanted in (("oldest", ["s0", "s1", "s2"]), ("newest", ["s2", "s1", "s0"])):
        again = tmp_path / order
        shutil.copytree(out, again)
        with Watch(raw, again, UNSHARP, Settings(poll=0.03, order=order)):
            until(lambda again=again: list(decisions(again).values()) == ["restored"] * 3)
        assert [e["section"] for e in events(again) if e["decision"] == "restored"] == wanted


def test_grading_goes_on_while_restoring_stands_still(start: Start, tmp_path: Path) -> None:
    raw, out, slow = tmp_path / "raw", tmp_path / "out", Gated()
    running = start(restorer=slow)
    for i in range(12):
        save(raw / f"{i}.tif", [texture(SOFT, i)])
        if i % 4 == 3:
            until(lambda i=i: len(decisions(out)) == i + 1)
    assert set(decisions(out).values()) == {"queued"}
    slow.let.set()
    until(lambda: set(decisions(out).values()) == {"restored"})
    running.stop()


def test_a_tile_taken_anew_is_graded_anew_and_its_output_replaced(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "a.tif", [texture(SOFT, 1)])
    save(raw / "b.tif", [texture(SHARP, 2)])
    running = start()
    until(lambda: decisions(out) == {"a.tif": "restored", "b.tif": "kept"})
    save(raw / "a.tif", [texture(SHARP, 1)])
    save(raw / "b.tif", [texture(SOFT, 2)])
    until(lambda: decisions(out) == {"a.tif": "kept", "b.tif": "restored"})
    running.stop()
    assert (out / "a.tif").is_symlink()
    assert not (out / "b.tif").is_symlink()
    with open_image(raw / "b.tif") as image:
        np.testing.assert_array_equal(image.read(), texture(SOFT, 2))


def test_an_older_version_that_is_restored_late_changes_nothing(start: Start, tmp_path: Path) -> None:
    raw, out, slow = tmp_path / "raw", tmp_path / "out", Gated()
    save(raw / "a.tif", [texture(SOFT, 1)])
    running = start(restorer=slow)
    until(lambda: decisions(out) == {"a.tif": "queued"})
    time.sleep(0.3)
    save(raw / "a.tif", [texture(SHARP, 1)])
    until(lambda: decisions(out) == {"a.tif": "kept"})
    slow.let.set()
    running.stop()
    assert decisions(out) == {"a.tif": "kept"}
    assert (out / "a.tif").is_symlink()


def test_a_check_after_restoring_can_refuse(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "bad.tif", [texture(SOFT, 1)])
    save(raw / "good.tif", [texture(SOFT, 2, (96, 128))])

    def check(frames: Frames, restored: Restored, grade: Grade) -> Any:
        assert frames.image.shape == restored.counts.shape
        return {"residual": 0.5} if frames.image.shape[1] == 128 else "worse than before"

    running = start(check=check)
    until(lambda: decisions(out) == {"bad.tif": "retake", "good.tif": "restored"})
    running.stop()
    done = latest(read_log(out / "log.jsonl"))
    assert done["bad.tif"]["reason"] == "worse than before"
    assert done["good.tif"]["checked"] == {"residual": 0.5}
    assert (out / "bad.tif").is_symlink()
    assert "bad.tif" in (out / "retake.csv").read_text()


def override(out: Path, key: str, verdict: str) -> None:
    line = {"event": "override", "key": key, "verdict": verdict, "note": "seen", "by": "Ada", "time": "", "x": 1}
    with open(out / "log.jsonl", "a") as log:
        log.write(json.dumps(line) + "\n")


@pytest.mark.parametrize("while_it_runs", [True, False])
def test_an_operator_is_heard(start: Start, tmp_path: Path, while_it_runs: bool) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "kept.tif", [texture(SHARP, 1)])
    save(raw / "restored.tif", [texture(SOFT, 2)])
    save(raw / "hopeless.png", [texture(HOPELESS, 3, (128, 128))])
    running = start()
    until(lambda: decisions(out) == {"kept.tif": "kept", "restored.tif": "restored", "hopeless.png": "retake"})
    if not while_it_runs:
        running.stop()
    override(out, "kept.tif", "retake")
    override(out, "restored.tif", "keep")
    override(out, "hopeless.png", "restore")
    override(out, "nobody.tif", "keep")
    if not while_it_runs:
        running = start()
    until(lambda: decisions(out) == {"kept.tif": "retake", "restored.tif": "kept", "hopeless.png": "restored"})
    running.stop()
    assert (out / "restored.tif").is_symlink()
    assert not (out / "hopeless.png").is_symlink()
    assert "kept.tif" in (out / "retake.csv").read_text()
    assert "hopeless" not in (out / "retake.csv").read_text()
    reasons = {e["key"]: e["reason"] for e in latest(read_log(out / "log.jsonl")).values()}
    assert reasons["kept.tif"] == "Ada: seen"
    lines = len(events(out))
    start().stop()
    assert len(events(out)) == lines


def test_a_share_that_goes_away_and_comes_back(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "s" / "1.tif", [texture(SHARP, 1)])
    running = start()
    until(lambda: len(decisions(out)) == 1)
    raw.rename(tmp_path / "away")
    until(lambda: events(out, "alert"))
    save(tmp_path / "away" / "s" / "2.tif", [texture(SOFT, 2)])
    time.sleep(0.2)
    (tmp_path / "away").rename(raw)
    until(lambda: decisions(out) == {"s/1.tif": "kept", "s/2.tif": "restored"})
    running.stop()
    alerts = [(e["kind"], e["active"]) for e in events(out, "alert") if e["kind"] == "share_gone"]
    assert alerts == [("share_gone", True), ("share_gone", False)]
    assert len([e for e in events(out) if e["key"] == "s/1.tif"]) == 1


def test_a_mount_point_without_its_share_is_a_share_that_is_gone(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "1.tif", [texture(SHARP, 1)])
    running = start()
    until(lambda: len(decisions(out)) == 1)
    (raw / "1.tif").rename(tmp_path / "1.tif")
    until(lambda: [e for e in events(out, "alert") if e["kind"] == "share_gone" and "mounted" in e["message"]])
    (tmp_path / "1.tif").rename(raw / "1.tif")
    until(lambda: [e for e in events(out, "alert") if e["kind"] == "share_gone" and not e["active"]])
    running.stop()
    assert len(events(out)) == 1


def test_a_full_output_disk_stops_restoring_only(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    free = [10**6]
    monkeypatch.setattr(Room, "free", lambda self: free[0])
    running = start(job=Job(restorer=Part(kind="unsharp"), carry="copy"))
    save(raw / "soft.tif", [texture(SOFT, 1)])
    save(raw / "sharp.tif", [texture(SHARP, 2)])
    until(lambda: decisions(out) == {"soft.tif": "queued", "sharp.tif": "queued"})
    until(lambda: [e for e in events(out, "alert") if e["kind"] == "output_full" and e["active"]])
    assert not list(out.glob("*.tif"))
    free[0] = 10**12
    until(lambda: decisions(out) == {"soft.tif": "restored", "sharp.tif": "kept"})
    running.stop()
    assert [e["active"] for e in events(out, "alert") if e["kind"] == "output_full"] == [True, False]
    assert (out / "sharp.tif").read_bytes() == (raw / "sharp.tif").read_bytes()


def test_a_log_that_cannot_grow_throws_ballast_overboard(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    ballast = out / ".refocal" / "ballast"
    monkeypatch.setattr(journal_module, "_AGAIN", 0.05)
    running = start(settings=Settings(poll=0.03, settle=0.2, beat_seconds=60))
    assert ballast.stat().st_size == 8 << 20
    blocked = threading.Event()
    append = running._log.append

    def full(event: Any) -> Any:
        if ballast.exists() or blocked.is_set():
            raise OSError(28, "No space left on device")
        return append(event)

    monkeypatch.setattr(running._log, "append", full)
    save(raw / "1.tif", [texture(SHARP, 1)])
    until(lambda: decisions(out) == {"1.tif": "kept"})
    assert not ballast.exists()
    blocked.set()
    save(raw / "2.tif", [texture(SHARP, 2)])
    time.sleep(0.3)
    assert "2.tif" not in decisions(out)
    blocked.clear()
    until(lambda: decisions(out) == {"1.tif": "kept", "2.tif": "kept"})
    running.stop()


def test_files_that_are_half_written_shrink_vanish_or_are_replaced(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    monkeypatch.setattr(proof, "DAMAGED", (0.1, 0.2, 0.2))
    whole = save(tmp_path / "whole.bmp", [texture(SHARP, 1)]).read_bytes()
    running = start()
    ahead = bytearray(whole)
    ahead[len(whole) // 2 :] = bytes(len(whole) - len(whole) // 2)
    with open(raw / "ahead.bmp", "wb") as file:  # space allocated ahead: the last rows are zeros
        file.write(ahead)
        file.flush()
        (raw / "growing.bmp").write_bytes(whole[: len(whole) // 2])
        (raw / "vanishing.bmp").write_bytes(whole[: len(whole) // 2])
        (raw / "shrinking.bmp").write_bytes(whole)
        until(lambda: "shrinking.bmp" in decisions(out))
        file.seek(0)
        file.write(whole)
    (raw / "growing.bmp").write_bytes(whole)
    (raw / "vanishing.bmp").unlink()
    (raw / "shrinking.bmp").write_bytes(whole[: len(whole) // 3])
    wanted = {"ahead.bmp": "kept", "growing.bmp": "kept", "shrinking.bmp": "unreadable"}
    until(lambda: {k: v for k, v in decisions(out).items() if k != "vanishing.bmp"} == wanted)
    running.stop()


def test_sharing_violations_are_waited_out(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    monkeypatch.setattr(proof, "SHARED", (0.05,) * 100)
    monkeypatch.setattr(proof, "DAMAGED", (0.05,))
    attempts, read_tile = [], proof.read_tile

    def shared(path: Path, *given: Any) -> Any:
        attempts.append(path)
        if len(attempts) < 12:
            raise PermissionError(13, "Permission denied", str(path))
        return read_tile(path, *given)

    monkeypatch.setattr(proof, "read_tile", shared)
    save(raw / "1.tif", [texture(SHARP, 1)])
    running = start()
    until(lambda: decisions(out) == {"1.tif": "kept"})
    running.stop()
    assert len(attempts) >= 12


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX names")
def test_names_that_are_not_utf8_and_folders_without_permission(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    odd = os.fsdecode(b"m\xfcll\n\xff")
    save(tmp_path / "x.bmp", [texture(HOPELESS, 1, (128, 128))])
    (raw / odd).mkdir()
    shutil.copy(tmp_path / "x.bmp", raw / odd / f"{odd}.bmp")
    save(raw / "closed" / "t.tif", [texture(SHARP, 3)])
    save(raw / "fine" / "t.tif", [texture(SHARP, 2)])
    scandir = os.scandir

    def refusing(path: Any) -> Any:
        if str(path).endswith("closed") and not (tmp_path / "open").exists():
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr("refocal.live.scanning.os.scandir", refusing)
    monkeypatch.setattr("refocal.live.scanning._REFUSED", 0.1)
    running = start()
    until(lambda: set(decisions(out)) == {f"{odd}/{odd}.bmp", "fine/t.tif"})
    until(lambda: [e for e in events(out, "alert") if e["kind"] == "no_access" and "closed" in e["message"]])
    (tmp_path / "open").touch()
    until(lambda: "closed/t.tif" in decisions(out))
    running.stop()
    assert (out / odd / f"{odd}.bmp").is_symlink()
    assert os.fsencode(odd).split(b"\n")[0] in (out / "retake.csv").read_bytes()


def test_torn_and_foreign_lines_of_the_log_are_passed_over(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "1.tif", [texture(SHARP, 1)])
    running = start()
    until(lambda: len(decisions(out)) == 1)
    running.stop()
    with open(out / "log.jsonl", "ab") as log:
        log.write(b'\x00\xff not json\n{"event": "moon"}\n{"event": "tile", "key": "old.tif", "decision": "kept"}\n')
        log.write(b'{"event": "override"}\n[]\n{"event": "tile", "ke')
    save(raw / "2.tif", [texture(SHARP, 2)])
    running = start()
    until(lambda: decisions(out).get("2.tif") == "kept")
    running.stop()
    assert len([e for e in events(out) if e["key"] == "1.tif"]) == 1


def test_a_clock_that_jumps_changes_nothing(start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    running = start()
    for i, stamp in enumerate((0, 2**31, 4_000_000_000)):
        save(raw / f"{i}.tif", [texture(SHARP, i)])
        os.utime(raw / f"{i}.tif", (stamp, stamp))
        monkeypatch.setattr(time, "time", lambda stamp=stamp: float(stamp))
    until(lambda: list(decisions(out).values()) == ["kept"] * 3)
    running.stop()


def test_tiles_that_are_not_uint8_share_one_contrast(start: Start, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(2):
        save(raw / f"{i}.tif", [texture(SOFT, i).astype(np.uint16) * 16 + 400])
    running = start()
    until(lambda: list(decisions(out).values()) == ["restored"] * 2)
    running.stop()
    (contrast,) = events(out, "contrast")
    assert 400 <= contrast["low"] < contrast["high"] <= 4500
    save(raw / "2.tif", [texture(SOFT, 2).astype(np.uint16) * 2])
    running = start()
    until(lambda: len(decisions(out)) == 3)
    running.stop()
    assert len(events(out, "contrast")) == 1


def test_scripts_can_ask_about_one_tile(tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    heard: list[Any] = []

    def hear(event: Any) -> None:
        heard.append(event)
        raise ZeroDivisionError("the script is wrong")

    with start_watch(raw, out, restorer="unsharp", on_tile=hear, settings=QUICK) as running:
        save(raw / "good.tif", [texture(SHARP, 1)])
        good = running.is_good(raw / "good.tif", timeout=SECONDS)
        assert good
        assert good.decision == "kept"
        save(raw / "bad.png", [texture(HOPELESS, 3, (128, 128))])
        bad = running.is_good("bad.png", timeout=SECONDS)
        assert not bad
        assert bad.grade.sigma_px is not None
        save(raw / "good.tif", [texture(HOPELESS, 3, (128, 128))])
        assert not running.is_good(raw / "good.tif", timeout=SECONDS), "the file as it is now"
        with pytest.raises(TimeoutError, match="there is no such file"):
            running.is_good(raw / "nowhere.tif", timeout=0.1)
        with pytest.raises(UsageError, match="not in the watched folder"):
            running.is_good(out / "x.tif")
        with pytest.raises(UsageError, match="not the name of a tile"):
            running.is_good("notes.txt")
        until(lambda: len(heard) >= 3)
    assert [e for e in events(out, "alert") if "ZeroDivisionError" in e["message"]]


def test_wrong_requests_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    for wrong, given in {
        "no such folder": {"folder": tmp_path / "nowhere"},
        "no restorer named": {"restorer": "magic"},
        "no gate named": {"gate": "magic"},
        "inside the input": {"out": tmp_path / "raw" / "out"},
    }.items():
        with pytest.raises(UsageError, match=wrong):
            start_watch(**{"folder": tmp_path / "raw", "out": tmp_path / "out", "restorer": "unsharp", **given})
    assert not (tmp_path / "out" / "log.jsonl").exists()


def test_the_command_runs_until_it_is_told(program: Program, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i, sigma_px in enumerate((SHARP, SOFT)):
        save(raw / f"{i}.tif", [texture(sigma_px, i)])
    save(raw / "2.png", [texture(HOPELESS, 3, (128, 128))])
    said = program("watch", raw, "-o", out, "--restorer", "unsharp", "--no-check", "--stop-when-idle", "1", "--json")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {e["key"]: e["decision"] for e in lines if e["event"] == "tile"} == {
        "0.tif": "kept", "1.tif": "restored", "2.png": "retake"
    }  # fmt: skip
    running = subprocess.Popen([PROGRAM, "watch", raw, "-o", out, "--restorer", "unsharp"], stderr=subprocess.PIPE)
    until(lambda: len(events(out, "job")) == 2)
    assert "another watch" in program("watch", raw, "-o", out, code=2).line
    running.send_signal(2)
    assert running.wait(SECONDS) == 0
    assert b"Traceback" not in running.communicate()[1]


def test_alerts_reach_a_command(tmp_path: Path, start: Start) -> None:
    raw, told = tmp_path / "raw", tmp_path / "told"
    raw.mkdir(exist_ok=True)
    options = ("--restorer", "unsharp", "--poll", "0.1", "--on-alert", f"sh -c 'cat >> {told}'")
    running = subprocess.Popen([PROGRAM, "watch", raw, "-o", tmp_path / "out", *options], stderr=subprocess.PIPE)
    until(lambda: events(tmp_path / "out", "job"))
    raw.rename(tmp_path / "away")
    until(lambda: told.exists() and told.read_text().endswith("\n"))
    running.send_signal(2)
    running.communicate()
    assert json.loads(told.read_text().splitlines()[0])["kind"] == "share_gone"


@pytest.mark.parametrize("carry", ["copy", "link", "symlink", "skip"])
def test_carry(start: Start, tmp_path: Path, carry: Any) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "s" / "a.tif", [texture(SHARP, 1)])
    running = start(job=Job(restorer=Part(kind="unsharp"), carry=carry))
    until(lambda: decisions(out) == {"s/a.tif": "kept"})
    running.stop()
    a = out / "s" / "a.tif"
    assert a.exists() == (carry != "skip")
    assert a.is_symlink() == (carry == "symlink")
    assert (a.exists() and a.samefile(raw / "s" / "a.tif")) == (carry in ("link", "symlink"))
    if carry == "copy":
        assert a.read_bytes() == (raw / "s" / "a.tif").read_bytes()


def test_slices_are_complete_when_the_microscope_says_so_and_all_their_tiles_are_decided(
    start: Start, tmp_path: Path
) -> None:
    shutil.rmtree(tmp_path / "raw")
    plan = Plan(sections=3, grids=2, tiles=2, height=96, width=112, variants=2, shares=Shares(rejected=0.3))
    replay("sbemimage", tmp_path / "raw", plan)
    logs = [*(tmp_path / "raw" / "meta" / "logs").glob("metadata_*.txt")]
    lines = logs[0].read_text().splitlines(keepends=True)
    last = max(i for i, line in enumerate(lines) if line.startswith("SLICE COMPLETE"))
    logs[0].write_text("".join(lines[:last]))
    running = start(settings=Settings(poll=0.03, settle=0.2, layout="sbemimage"))

    def complete() -> dict[str, int]:
        said = (e for e in events(tmp_path / "out", "section") if e["state"] == "complete")
        return {e["section"]: e["tiles"] for e in said}

    until(lambda: len(decisions(tmp_path / "out")) == 12 and len(complete()) == 2)
    assert complete() == {"s00000": 4, "s00001": 4}
    with logs[0].open("a") as log:
        log.write(lines[last])
    until(lambda: complete() == {f"s{number:05d}": 4 for number in range(3)})
    running.stop()
