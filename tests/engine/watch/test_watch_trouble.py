"""What goes wrong beside a microscope: shares, disks, logs and files that come and go."""

import os
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from drawn import HOPELESS, SHARP, SOFT, save, texture
from refocal.engine.job import Job, Part
from refocal.engine.watch import Settings, completeness
from refocal.engine.watch import event_writer as journal_module
from refocal.engine.watch.sink import DiskSpace
from watching import Start, decisions, events, until


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
    monkeypatch.setattr(DiskSpace, "free", lambda self: free[0])
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
    monkeypatch.setattr(completeness, "DAMAGED", (0.1, 0.2, 0.2))
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
    monkeypatch.setattr(completeness, "SHARED", (0.05,) * 100)
    monkeypatch.setattr(completeness, "DAMAGED", (0.05,))
    attempts, read_page = [], completeness.read_page

    def shared(image: Any, path: Path, *given: Any) -> Any:
        attempts.append(path)
        if len(attempts) < 12:
            raise PermissionError(13, "Permission denied", str(path))
        return read_page(image, path, *given)

    monkeypatch.setattr(completeness, "read_page", shared)
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

    monkeypatch.setattr("refocal.engine.watch.scanner.os.scandir", refusing)
    monkeypatch.setattr("refocal.engine.watch.scanner._REFUSED", 0.1)
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
