"""Restoring and grading as a lab does it: files, folders and stacks, and what is left behind."""

import contextlib
import csv
import json
import os
import pty
import re
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile

from drawn import BLOCKS, SHARP, SOFT, save, texture
from program import PROGRAM, Program, files, state
from refocal.parts.formats import open_image

FIELDS = {
    "path", "page", "verdict", "decision", "reason", "sigma_px", "sigma_nm", "noise", "anisotropy", "angle_deg",
    "expected", "pixel_nm", "height", "width", "mode", "seconds", "output", "clipped", "error",
}  # fmt: skip


@pytest.fixture(scope="module")
def restored(program: Program, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """`raw` restored once with the default gate, and what was said as JSON."""
    out, before = tmp_path_factory.mktemp("restored") / "new" / "folder", state(raw)
    said = program("restore", raw, "-o", out, "--restorer", "unsharp", "--json")
    assert state(raw) == before
    assert f"{BLOCKS - 5} restored" in said.err
    return out, [json.loads(line) for line in said.out.splitlines()]


def test_the_output_has_the_names_the_tree_and_the_kind_of_the_input(restored, raw: Path) -> None:
    out, _ = restored
    assert {"log.jsonl", "retake.csv", "report.html"} <= {p.name for p in out.iterdir()}
    assert set(files(out)) == {n for n in files(raw) if n not in ("notes.txt", ".hidden.tif")}
    for name in files(out):
        with open_image(raw / name) as before, open_image(out / name) as after:
            assert after.info == before.info, name
    with tifffile.TiffFile(raw / "tagged.tif") as before, tifffile.TiffFile(out / "tagged.tif") as after:
        tags = ("ImageDescription", "Software", "DateTime", "Compression", "XResolution", "ResolutionUnit")
        assert [after.pages[0].tags[t].value for t in tags] == [before.pages[0].tags[t].value for t in tags]
    with mrcfile.open(out / "stacks" / "volume.mrc") as mrc:
        assert float(mrc.voxel_size.x) == 45
        assert mrc.data.dtype == np.int16


def test_json_has_one_object_a_line_with_every_field(restored) -> None:
    rows = restored[1]
    assert len(rows) == BLOCKS
    assert all(set(row) == FIELDS for row in rows)
    soft = next(row for row in rows if row["path"] == "t2.tif")
    assert soft["verdict"] == "restore"
    assert soft["decision"] == "restored"
    assert soft["sigma_px"] > 1
    assert soft["sigma_nm"] == pytest.approx(8 * soft["sigma_px"])
    assert (soft["height"], soft["width"], soft["mode"], soft["pixel_nm"]) == (96, 112, "uint8", 8)


def test_the_gate_decides_and_what_is_not_restored_is_copied(restored, raw: Path) -> None:
    out, rows = restored
    decisions = {(row["path"], row["page"]): row["decision"] for row in rows}
    assert decisions["t1.tif", 0] == "kept"
    assert decisions["t10.png", 0] == "retake"
    assert decisions["sub dir/deep/blank.tif", 0] == "no_content"
    assert [decisions["stacks/pages.tif", i] for i in range(3)] == ["kept", "restored", "restored"]
    for name in ("t1.tif", "t10.png", "sub dir/deep/blank.tif"):
        assert (out / name).read_bytes() == (raw / name).read_bytes()
    for name in ("t2.tif", "sub dir/Präparat 7 é.png", "sub dir/deep/100% #3 'x'.bmp", "wide.tif"):
        with open_image(raw / name) as before, open_image(out / name) as after:
            change = np.abs(after.read().astype(float) - before.read())
            assert 0 < change.mean() < 0.2 * np.ptp(before.read())
    with open_image(raw / "stacks" / "pages.tif") as before, open_image(out / "stacks" / "pages.tif") as after:
        assert [np.array_equal(after.read(i), before.read(i)) for i in range(3)] == [True, False, False]
    listed = list(csv.DictReader((out / "retake.csv").open()))
    assert [row["path"] for row in listed] == ["t10.png"]
    assert float(listed[0]["sigma_px"]) > 3


def test_the_log_tells_the_whole_job(restored, raw: Path) -> None:
    out, rows = restored
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [e["event"] for e in events] == ["job", *["tile"] * BLOCKS, "end"]
    assert events[0]["job"]["restorer"] == {"kind": "unsharp", "options": {}}
    assert events[0]["inputs"] == [str(raw.resolve())]
    assert {e["key"] for e in events[1:-1]} == {
        r["path"] + (f"#{r['page']}" if r["path"].startswith("stacks") else "") for r in rows
    }
    page = (out / "report.html").read_text()
    assert "t10.png" in page
    assert page.count("data:image/") >= 2 * 7


def test_a_second_run_does_nothing_again(restored, inside: Program, raw: Path) -> None:
    out, _ = restored
    before = {n: (out / n).stat().st_mtime_ns for n in files(out)}
    said = inside("restore", raw, "-o", out, "--restorer", "unsharp", "--json")
    assert {json.loads(line)["decision"] for line in said.out.splitlines()} == {"skipped"}
    assert f"{BLOCKS} skipped" in said.err
    assert {n: (out / n).stat().st_mtime_ns for n in files(out)} == before


def test_what_is_missing_or_damaged_in_the_output_is_done_again(inside: Program, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    for i in range(3):
        save(raw / f"{i}.tif", [texture(SOFT, i)])
    run = ("restore", raw, "-o", out, "--restorer", "unsharp", "--no-report")
    inside(*run)
    good = files(out)
    (out / "0.tif").unlink()
    (out / "1.tif").write_bytes((out / "1.tif").read_bytes()[:-10])
    save(raw / "3.tif", [texture(SHARP, 3)])
    said = inside(*run)
    assert "2 restored, 1 kept, 1 skipped" in said.err
    assert not (out / "report.html").exists()
    assert {n: b for n, b in files(out).items() if n != "3.tif"} == good


def test_another_job_in_the_same_output_is_refused_unless_asked_for(
    restored, inside: Program, raw: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(restored[0], tmp_path / "out")
    before = files(out)
    run = ("restore", raw, "-o", out, "--restorer", "unsharp", "--gate", "always")
    refused = inside(*run, code=2).line
    assert "another job" in refused
    assert "--overwrite" in refused
    assert "(gate: sharpness -> always)" in refused
    assert files(out) == before
    assert f"{BLOCKS} restored" in inside(*run, "--overwrite").err
    assert all((out / name).read_bytes() != before[name] for name in ("t1.tif", "t10.png"))


def test_two_shards_equal_one_run_and_skip_leaves_out(restored, inside: Program, raw: Path, tmp_path: Path) -> None:
    one, two, few = restored[0], tmp_path / "two", tmp_path / "few"
    inside("restore", raw, "-o", two, "--restorer", "unsharp", "-q", "--shard", "0/2")
    assert 0 < len(files(two)) < len(files(one))
    inside("restore", raw, "-o", two, "--restorer", "unsharp", "-q", "--shard", "1/2")
    assert files(two) == files(one)
    assert (two / "retake.csv").read_text() == (one / "retake.csv").read_text()
    inside("restore", raw, "-o", few, "--restorer", "unsharp", "-q", "--carry", "skip", "--no-report")
    assert set(files(one)) - set(files(few)) == {"t1.tif", "t10.png", "sub dir/deep/blank.tif"}


def test_what_fails_the_check_stays_as_it_was_and_is_to_be_taken_again(
    inside: Program, raw: Path, tmp_path: Path
) -> None:
    mild, wild = tmp_path / "mild", tmp_path / "wild"
    inside("restore", raw / "t2.tif", "-o", mild, "--restorer", "unsharp:amount=0.2", "--check", "-q")
    inside("restore", raw / "t2.tif", "-o", wild, "--restorer", "unsharp:amount=30", "--check", "-q")
    assert (mild / "t2.tif").read_bytes() != (raw / "t2.tif").read_bytes()
    assert (wild / "t2.tif").read_bytes() == (raw / "t2.tif").read_bytes()
    good, bad = (json.loads((out / "log.jsonl").read_text().splitlines()[1]) for out in (mild, wild))
    assert (good["decision"], bad["decision"]) == ("restored", "retake")
    assert good["checked"]["blur_after_px"] < good["checked"]["blur_before_px"]
    assert bad["reason"].startswith("check after restoring: ")
    assert "t2.tif" in (wild / "retake.csv").read_text()


def test_single_files_keep_their_names(inside: Program, raw: Path, tmp_path: Path) -> None:
    inside("restore", raw / "t2.tif", raw / "stacks" / "volume.mrc", "-o", tmp_path / "out", "--restorer", "unsharp")
    assert set(files(tmp_path / "out")) == {"t2.tif", "volume.mrc"}


def test_grade_says_the_same_and_writes_nothing(restored, inside: Program, raw: Path, tmp_path: Path) -> None:
    before = state(raw)
    said = inside("grade", raw, "--json", cwd=tmp_path)
    assert state(raw) == before
    assert not list(tmp_path.iterdir())
    rows = {(r["path"], r["page"]): r for r in map(json.loads, said.out.splitlines())}
    assert all(set(row) == FIELDS for row in rows.values())
    assert {row["decision"] for row in rows.values()} == {"restore", "kept", "retake", "no_content"}
    for row in restored[1]:
        found = rows[row["path"], row["page"]]
        assert {k: found[k] for k in ("verdict", "sigma_px", "noise")} == {
            k: row[k] for k in ("verdict", "sigma_px", "noise")
        }
    lines = inside("grade", raw / "t2.tif", raw / "t1.tif").out.splitlines()
    assert any("t2.tif" in line and "restore" in line and " px" in line and " nm" in line for line in lines)


def test_the_shipped_model_restores_and_so_does_python(inside: Program, raw: Path, tmp_path: Path) -> None:
    import refocal

    inside("restore", raw / "t1.tif", "-o", tmp_path / "out", "--gate", "always")
    got = tifffile.imread(tmp_path / "out" / "t1.tif")
    before = tifffile.imread(raw / "t1.tif")
    assert got.shape == before.shape
    assert not np.array_equal(got, before)
    assert np.array_equal(got, refocal.restore(before))


@pytest.mark.skipif(os.name != "posix", reason="needs names that are bytes")
def test_names_that_are_no_text_are_carried_through(program: Program, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    good, bad = os.fsdecode(b"good\xff\n.tif"), os.fsdecode(b"bad\xff.tif")
    try:
        save(raw / good, [texture(SOFT)])
    except OSError:
        pytest.skip("this file system takes text only")
    (raw / bad).touch()
    said = program("restore", raw, "-o", out, "--restorer", "unsharp", "--json", code=1)
    assert {json.loads(line)["path"] for line in said.out.splitlines()} == {good, bad}
    assert set(files(out)) == {good}
    assert "skipped" in program("restore", raw, "-o", out, "--restorer", "unsharp", code=1).err


def test_a_terminal_shows_a_bar_with_rate_and_time_left(raw: Path, tmp_path: Path) -> None:
    shown = on_a_terminal(["restore", raw, "-o", tmp_path, "--restorer", "unsharp", "--no-report"])
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    assert re.search(rf"8 restored.* {BLOCKS}/{BLOCKS} [\d.]+ Mpx/s \d+:\d\d:\d\d", text), text


def test_json_goes_to_its_file_while_the_bar_is_on_the_terminal(raw: Path, tmp_path: Path) -> None:
    with (tmp_path / "grades.jsonl").open("wb") as file:
        shown = on_a_terminal(["grade", raw, "--json"], output=file.fileno())
    rows = [json.loads(line) for line in (tmp_path / "grades.jsonl").read_text().splitlines()]
    assert len(rows) == BLOCKS
    assert f"{BLOCKS}/{BLOCKS}" in shown
    assert "verdict" not in shown


def on_a_terminal(arguments: list[object], output: int | None = None) -> str:
    """Run the program on a pseudo-terminal, with its standard output elsewhere if given; return what is shown."""
    screen, ours = pty.openpty()
    running = subprocess.Popen([PROGRAM, *map(str, arguments)], stdin=ours, stdout=output or ours, stderr=ours)
    os.close(ours)
    shown = b""
    with contextlib.suppress(OSError):  # the end of a terminal is an error on Linux
        while some := os.read(screen, 1 << 16):
            shown += some
    os.close(screen)
    assert running.wait() == 0
    return shown.decode()
