"""How often a run opens a tile, its side-cars and its log, and what it measures and imports: counted from outside."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from drawn import SHARP, SOFT, save, texture
from program import TIMEOUT

COUNTING = """
import json, os, sys
from pathlib import Path

raw, log, found = Path(sys.argv[1]), os.path.realpath(sys.argv[2]), Path(sys.argv[3])
opened, reads, measured = {}, [], []

def hook(event, given):
    if event != "open" or isinstance(given[0], int):
        return
    path = os.path.realpath(os.fsdecode(given[0]))  # a link in the output is the tile
    if Path(path).is_relative_to(raw):
        name = Path(path).relative_to(raw).as_posix()
        opened[name] = opened.get(name, 0) + 1
    elif path == log and "a" not in (given[1] or ""):
        reads.append(given[1])

sys.addaudithook(hook)

from refocal.imaging import structure_function

plain = structure_function.structure
structure_function.structure = lambda image: measured.append(image.shape) or plain(image)

from refocal.ui.cli import main

sys.argv[1:] = sys.argv[4:]
try:
    main()
finally:
    volumes = [m for m in sys.modules if m.startswith(("refocal.engine.volumes", "refocal.parts.volume_formats"))]
    found.write_text(json.dumps([opened, len(reads), len(measured), volumes]))
"""


@dataclass(frozen=True)
class Counted:
    """What a run of the program did."""

    opened: dict[str, int]
    """How often each file of the raw folder was opened, also one that is not there."""
    log_reads: int
    measured: int
    """Structure functions."""
    volumes: list[str]
    """Modules about volumes that were imported."""


def counted(raw: Path, out: Path, command: str, *given: str) -> Counted:
    """Run a command on a folder in a process of its own, and count."""
    found = out.with_suffix(".json")
    words = [sys.executable, "-c", COUNTING, raw.resolve(), out / "log.jsonl", found, command, raw, "-o", out, *given]
    done = subprocess.run(words, capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0, done.stderr
    return Counted(*json.loads(found.read_text()))


def tiles(folder: Path, suffix: str, *blurs: float) -> Path:
    """Save tiles in a folder that has not changed for a minute."""
    for number, blur in enumerate(blurs):
        save(folder / f"{number}{suffix}", [texture(blur, number, (160, 160))])
    quiet = folder.stat().st_mtime - 60
    os.utime(folder, (quiet, quiet))
    return folder


RESTORE = ("--restorer", "unsharp", "--no-report", "--quiet")


@pytest.mark.parametrize("suffix", [".tif", ".png", ".bmp"])
def test_a_tile_is_opened_once_to_be_kept_and_once_more_to_be_restored(tmp_path: Path, suffix: str) -> None:
    raw = tiles(tmp_path / "raw", suffix, SHARP, SOFT)
    run = counted(raw, tmp_path / "out", "restore", "--carry", "symlink", *RESTORE)
    # The second time is for the tags that the new file takes over. No side-car is looked for: the folder holds none.
    assert run.opened == {f"0{suffix}": 1, f"1{suffix}": 2}
    assert run.volumes == []
    assert run.measured == 2


def test_copying_a_tile_reads_its_bytes_once_more(tmp_path: Path) -> None:
    raw = tiles(tmp_path / "raw", ".tif", SHARP)
    assert counted(raw, tmp_path / "out", "restore", *RESTORE).opened == {"0.tif": 2}
    assert (tmp_path / "out" / "0.tif").read_bytes() == (raw / "0.tif").read_bytes()


def test_tiles_that_are_sampled_for_a_contrast_are_opened_no_more_often(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    for number in range(20):
        save(raw / f"{number}.tif", [texture(SHARP, number, (64, 64)).astype("u2") * 9])
    quiet = raw.stat().st_mtime - 60
    os.utime(raw, (quiet, quiet))
    run = counted(raw, tmp_path / "out", "restore", "--carry", "symlink", "--gate", "sharpness:keep_px=9,retake_px=10",
                  *RESTORE)  # fmt: skip
    assert run.opened == {f"{number}.tif": 1 for number in range(20)}


def test_a_side_car_is_read_where_there_is_one(tmp_path: Path) -> None:
    raw = tiles(tmp_path / "raw", ".tif", SHARP)
    (raw / "0-tif.hdr").write_text("[MAIN]\nPixelSizeX=7e-9\n[SEM]\nHV=2000\n")
    quiet = raw.stat().st_mtime - 60
    os.utime(raw, (quiet, quiet))
    run = counted(raw, tmp_path / "out", "restore", "--carry", "symlink", *RESTORE)
    assert run.opened == {"0.tif": 1, "0.hdr": 1, "0-tif.hdr": 1}


def test_the_log_is_read_once_by_each_run(tmp_path: Path) -> None:
    raw, out = tiles(tmp_path / "raw", ".tif", SHARP, SOFT, 6.0), tmp_path / "out"
    assert counted(raw, out, "restore", *RESTORE).log_reads == 1
    retakes = (out / "retake.csv").read_bytes()
    assert b"2.tif,0,retake" in retakes
    again = counted(raw, out, "restore", *RESTORE)
    assert again.log_reads == 1
    assert again.measured == 0
    assert (out / "retake.csv").read_bytes() == retakes


def test_a_soft_tile_of_a_watch_is_measured_twice_and_its_result_once(tmp_path: Path) -> None:
    raw, out = tiles(tmp_path / "raw", ".tif", SOFT), tmp_path / "out"
    run = counted(raw, out, "watch", "--restorer", "wiener:sigma_px=1.0", "--settings", "idle=1", "--quiet")
    assert '"decision": "restored"' in (out / "log.jsonl").read_text()
    assert run.measured == 3
    # Is it whole? Graded; read again from the queue; its tags. The first is not asked where a log names it as finished.
    assert run.opened["0.tif"] <= 4
    assert run.volumes == []
