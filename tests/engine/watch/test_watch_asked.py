"""A watch that is asked and told: by operators, by scripts, by its command."""

import json
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from drawn import HOPELESS, SHARP, SOFT, save, texture
from program import PROGRAM, Program
from refocal import watch as start_watch
from refocal.core.errors import UsageError
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.source import LiveSource
from refocal.eventlog.current import latest
from refocal.eventlog.log import read_log
from watching import QUICK, SECONDS, Start, decisions, events, until


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


def test_the_answer_about_a_stack_is_that_about_its_worst_page(start: Start, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    running = start()
    save(raw / "mixed.tif", [texture(s, i, (128, 128)) for i, s in enumerate((SHARP, HOPELESS, SHARP))])
    bad = running.is_good("mixed.tif", timeout=SECONDS)
    assert not bad
    assert (bad.name, bad.decision) == ("mixed.tif#1", "retake")
    save(raw / "fine.tif", [texture(SHARP, i) for i in range(3)])
    assert running.is_good("fine.tif", timeout=SECONDS)
    running.stop()
    again = start()
    assert again.is_good("fine.tif", timeout=SECONDS).name == "fine.tif#0", "from the log"
    assert len(events(tmp_path / "out")) == 6


def test_a_question_is_answered_while_there_is_much_to_catch_up_with(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(24):
        save(raw / f"{i:02d}.tif", [texture(SHARP, i)])
    asked, state_of, offer = threading.Event(), Scanner._state, LiveSource.offer

    def slow(self: Scanner, key: str) -> Any:  # a share that takes its time
        assert asked.wait(SECONDS)
        time.sleep(0.03)
        return state_of(self, key)

    def offered(self: LiveSource, name: str) -> None:
        offer(self, name)
        asked.set()

    monkeypatch.setattr(Scanner, "_state", slow)
    monkeypatch.setattr(LiveSource, "offer", offered)
    running = start()
    assert running.is_good("20.tif", timeout=SECONDS)
    assert events(out)[0]["key"] == "20.tif", "it did not wait its turn"
    until(lambda: len(decisions(out)) == 24)
    assert len(events(out)) == 24


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


def test_the_command_runs_until_it_is_told(program: Program, inside: Program, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i, sigma_px in enumerate((SHARP, SOFT)):
        save(raw / f"{i}.tif", [texture(sigma_px, i)])
    save(raw / "2.png", [texture(HOPELESS, 3, (128, 128))])
    said = program("watch", raw, "-o", out, "--restorer", "unsharp", "--no-check", "--settings", "idle=1", "--json")
    lines = [json.loads(line) for line in said.out.splitlines()]
    assert {e["key"]: e["decision"] for e in lines if e["event"] == "tile"} == {
        "0.tif": "kept", "1.tif": "restored", "2.png": "retake"
    }  # fmt: skip
    running = subprocess.Popen([PROGRAM, "watch", raw, "-o", out, "--restorer", "unsharp"], stderr=subprocess.PIPE)
    until(lambda: len(events(out, "job")) == 2)
    assert "another watch" in inside("watch", raw, "-o", out, code=2).line
    running.send_signal(2)
    assert running.wait(SECONDS) == 0
    assert b"Traceback" not in running.communicate()[1]


def test_alerts_reach_a_command(tmp_path: Path, start: Start) -> None:
    raw, told = tmp_path / "raw", tmp_path / "told"
    raw.mkdir(exist_ok=True)
    options = ("--restorer", "unsharp", "--settings", "poll=0.1", "--on-alert", f"sh -c 'cat >> {told}'")
    running = subprocess.Popen([PROGRAM, "watch", raw, "-o", tmp_path / "out", *options], stderr=subprocess.PIPE)
    until(lambda: events(tmp_path / "out", "job"))
    raw.rename(tmp_path / "away")
    until(lambda: told.exists() and told.read_text().endswith("\n"))
    running.send_signal(2)
    running.communicate()
    assert json.loads(told.read_text().splitlines()[0])["kind"] == "share_gone"
