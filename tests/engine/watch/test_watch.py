"""A watch beside a microscope that is played: what is decided, written and said."""

import json
import os
import shutil
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn import HOPELESS, SHARP, SOFT, blank, save, texture
from program import Program, state
from refocal import watch as start_watch
from refocal.core.errors import UsageError
from refocal.core.values import Frames, Grade, Restored
from refocal.engine.job import Job, Part
from refocal.engine.watch import Settings, Watch
from refocal.eventlog.current import latest
from refocal.eventlog.log import read_log
from refocal.microscope.simulate import Plan, Shares, replay
from refocal.parts.formats import open_image
from watching import QUICK, SECONDS, UNSHARP, Gated, Start, decisions, events, until


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


@pytest.mark.parametrize("hard_links", [True, False])
def test_where_links_are_refused_the_next_best_is_taken_and_said_once(
    inside: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    def refuse(*given: object, **more: object) -> None:
        raise OSError(1, "A required privilege is not held by the client")

    monkeypatch.setattr(os, "symlink", refuse)
    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(3):
        save(raw / f"{i}.tif", [texture(SHARP, i)])
    options = ("--restorer", "unsharp", "--settings", "idle=0.2,poll=0.03,settle=0.2")
    said = inside("watch", raw, "-o", out, *options)
    assert said.err.count("privilege is not held") == 1
    assert ("hard links" if hard_links else "copies") in said.err
    assert decisions(out) == {f"{i}.tif": "kept" for i in range(3)}
    for i in range(3):
        assert (out / f"{i}.tif").samefile(raw / f"{i}.tif") == hard_links
        assert (out / f"{i}.tif").read_bytes() == (raw / f"{i}.tif").read_bytes()
    assert not list(out.glob(".refocal.*part"))
    said = inside("watch", raw, "-o", tmp_path / "new", *options, "--carry", "symlink", code=2)
    assert "cannot hold symbolic links: A required privilege is not held by the client" in said.line
    with pytest.warns(UserWarning, match="no symbolic links"):
        start_watch(raw, tmp_path / "newer", restorer="unsharp", settings=QUICK).stop()


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
