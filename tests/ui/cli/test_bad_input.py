"""Files that cannot be restored: each is named in one line, the others are done, nothing raw is touched."""

import csv
import json
import os
import resource
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import tifffile

from drawn import SHARP, SOFT, save, texture
from program import PROGRAM, Program, files, state

REASONS = {
    "truncated.tif": "truncated",
    "truncated.png": "truncated",
    "truncated.mrc": "section",
    "empty.tif": "empty",
    "zeros.tif": "zeros",
    "text.png": "no known kind",
    "photo.tif": "JPEG",
    "int32.tif": "int32",
    "complex.tif": "complex",
    "bool.tif": "bool",
    "colour.png": "colour",
    "nan.tif": "NaN",
    "dot.png": "at least 8 x 8",
    "narrow.tif": "at least 8 x 8",
    "flipped.png": "damaged",
    "bomb.tif": "damaged",
}
GOOD = {"good.tif", "misnamed.png", "float.tif", "signed.tif"}


def spoil(folder: Path) -> None:
    """Write every bad file that we know of among some good ones."""
    soft = texture(SOFT)
    save(folder / "good.tif", [soft])
    misnamed = save(folder / "misnamed.bmp", [soft])
    misnamed.rename(folder / "misnamed.png")
    save(folder / "float.tif", [soft.astype(np.float32) / 3 - 20])
    save(folder / "signed.tif", [soft.astype(np.int16) * 9 - 900])
    for kind in ("tif", "png", "mrc"):
        whole = save(folder / f"truncated.{kind}", [soft.astype(np.int16) if kind == "mrc" else soft])
        whole.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    (folder / "empty.tif").touch()
    (folder / "zeros.tif").write_bytes(bytes(9000))
    (folder / "text.png").write_text("beam current log\n" * 20)
    (folder / "photo.tif").write_bytes(cv2.imencode(".jpg", soft)[1].tobytes())
    tifffile.imwrite(folder / "int32.tif", soft.astype(np.int32))
    tifffile.imwrite(folder / "complex.tif", soft.astype(np.complex64))
    tifffile.imwrite(folder / "bool.tif", soft > 128)
    cv2.imwrite(str(folder / "colour.png"), np.stack([soft, soft, 255 - soft], -1))
    holed = soft.astype(np.float32)
    holed[3, 4:9] = np.nan
    tifffile.imwrite(folder / "nan.tif", holed)
    cv2.imwrite(str(folder / "dot.png"), soft[:1, :1])
    tifffile.imwrite(folder / "narrow.tif", soft[:, :3])
    content = bytearray(save(folder / "flipped.png", [soft]).read_bytes())
    content[len(content) // 2] ^= 255
    (folder / "flipped.png").write_bytes(content)
    tifffile.imwrite(folder / "bomb.tif", soft, compression="zlib", rowsperstrip=96)
    with tifffile.TiffFile(folder / "bomb.tif", mode="r+b") as tiff:
        for tag in ("ImageLength", "RowsPerStrip", "ImageWidth"):
            tiff.pages[0].tags[tag].overwrite(60_000)


def test_a_folder_with_every_bad_file_is_done_but_for_these(program: Program, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    spoil(raw)
    before = state(raw)
    said = program("restore", raw, "-o", out, "--restorer", "unsharp", "--gate", "always", "--json", code=1)
    assert state(raw) == before
    assert set(files(out)) == GOOD
    rows = {row["path"]: row for row in map(json.loads, said.out.splitlines())}
    assert set(rows) == GOOD | set(REASONS)
    for name, reason in REASONS.items():
        assert rows[name]["decision"] in ("unreadable", "failed"), rows[name]
        assert reason in rows[name]["error"], (name, rows[name]["error"])
        assert "\n" not in rows[name]["error"]
        assert rows[name]["output"] is None
        assert said.err.count(name) == 1
        assert f"failed: {name}: " in said.err
    assert all(rows[name]["decision"] == "restored" for name in GOOD)
    assert not list(out.rglob("*.part"))
    wanted = {row["path"]: row["reason"] for row in csv.DictReader((out / "retake.csv").open())}
    assert wanted["truncated.png"] == rows["truncated.png"]["error"]
    page = (out / "report.html").read_text()
    assert "narrow.tif" in page
    again = program("restore", raw, "-o", out, "--restorer", "unsharp", "--gate", "always", "--json", code=1)
    decisions = {row["path"]: row["decision"] for row in map(json.loads, again.out.splitlines())}
    assert {name for name, decision in decisions.items() if decision == "skipped"} == GOOD
    graded = program("grade", raw, "--json", code=1)
    assert {row["path"] for row in map(json.loads, graded.out.splitlines())} == set(rows)
    assert program("info", raw / "empty.tif", code=1).line
    assert "BMP" in program("info", raw / "misnamed.png").out


def wide_png(path: Path, edge: int) -> Path:
    """Write a constant grey PNG of any size without holding it."""
    packer = zlib.compressobj(1)
    data = b"".join(packer.compress(b"\0" + b"\x80" * edge) for _ in range(edge)) + packer.flush()
    head = struct.pack(">IIBBBBB", edge, edge, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", data), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    return path


# Linux counts what a process held before it became another program, so a small process starts the one to be measured.
MEASURED = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.skipif(os.name != "posix", reason="needs the resources that one process used")
def test_a_hundred_megapixels_without_content_are_cheap(tmp_path: Path) -> None:
    wide, out = wide_png(tmp_path / "wide.png", 10_000), tmp_path / "out"
    command = [PROGRAM, "restore", wide, "-o", out, "--restorer", "unsharp", "--json", "--no-report", "-q"]
    done = subprocess.run([sys.executable, "-c", MEASURED, *command], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["decision"] == "no_content"
    assert (out / "wide.png").read_bytes() == wide.read_bytes()
    assert int(done.stderr.split()[-1]) < 1.5e6  # KiB


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs Linux")
def test_an_output_that_cannot_be_written_is_refused(inside: Program, tmp_path: Path) -> None:
    raw = save(tmp_path / "raw" / "a.tif", [texture(SOFT)]).parent
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        assert str(out) in inside("restore", raw, "-o", out, "--restorer", "unsharp", code=2).line
        assert str(out) in inside("degrade", raw, "-o", out, "--degradation", "quantise", code=2).line
    assert "log.jsonl" in inside("report", raw, code=2).line
    inside("restore", raw, "-o", tmp_path / "out", "--restorer", "unsharp", "-q")
    assert "nowhere" in inside("report", tmp_path / "out", "--truth", "nowhere", code=2).line


def _small_files_only() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))


def _no_files() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))


@pytest.mark.skipif(os.name != "posix", reason="needs limits on files")
def test_a_full_disk_fails_tile_by_tile_and_the_next_run_goes_on(program: Program, tmp_path: Path) -> None:
    raw, out = tmp_path / "raw", tmp_path / "out"
    save(raw / "big.tif", [texture(SOFT, 1, (200, 300))])
    save(raw / "big.png", [texture(SOFT, 2, (200, 300))])
    save(raw / "kept.bmp", [texture(SHARP, 2, (200, 300))])
    save(raw / "stack.tif", [texture(SOFT, i, (96, 96)) for i in range(4)])
    save(raw / "small.tif", [texture(SOFT, 3)])
    run = ("restore", raw, "-o", out, "--restorer", "unsharp", "--no-report")
    said = program(*run, "--json", code=1, before=_small_files_only)
    rows = {(row["path"], row["page"]): row for row in map(json.loads, said.out.splitlines())}
    assert set(files(out)) == {"small.tif"}
    for key in (("big.tif", 0), ("big.png", 0), ("kept.bmp", 0)):
        assert rows[key]["decision"] == "failed"
        assert "cannot be written" in rows[key]["error"]
        assert "File too large" in rows[key]["error"] or "disk full" in rows[key]["error"]
    assert not list(out.rglob("*.part"))
    program(*run)
    program(*run[:3], tmp_path / "other", *run[4:])
    assert files(out) == files(tmp_path / "other")


@pytest.mark.skipif(os.name != "posix", reason="needs limits on files")
def test_a_log_on_a_full_disk_is_one_line(program: Program, tmp_path: Path) -> None:
    raw = save(tmp_path / "raw" / "a.tif", [texture(SOFT)]).parent
    run = ("restore", raw, "-o", tmp_path / "out", "--restorer", "unsharp")
    assert "no space left" in program(*run, code=1, before=_no_files).line
    assert "1 restored" in program(*run).err
    assert files(tmp_path / "out").keys() == {"a.tif"}
