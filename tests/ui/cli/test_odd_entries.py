"""One odd entry never stops a folder, and what a name holds never reaches the terminal raw."""

import csv
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from drawn import SOFT, save, texture
from program import PROGRAM, Program, files

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX names and pipes")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two tiles among a pipe, links to itself and to nothing, texts with the names of volumes, and hostile names."""
    raw = tmp_path / "raw"
    save(raw / "1.tif", [texture(SOFT, 1)])
    shutil.copy(raw / "1.tif", raw / "k::l.tif")
    os.mkfifo(raw / "pipe.tif")
    (raw / "loop.tif").symlink_to("loop.tif")
    (raw / "loop").symlink_to("loop")
    (raw / "gone.tif").symlink_to("nowhere")
    (raw / "dir.tif").mkdir()
    (raw / "notes.zarr").write_text("not a volume")
    (raw / "notes.h5").write_text("not a volume")
    (raw / "a\x1b[31mred\nnext.tif").write_text("x")
    return raw


BAD = {"pipe.tif", "loop.tif", "gone.tif", "a\x1b[31mred\nnext.tif"}


def test_the_others_are_restored_and_every_odd_one_is_listed(folder: Path, inside: Program, tmp_path: Path) -> None:
    said = inside("restore", folder, "-o", tmp_path / "out", *RESTORE, code=1)
    assert set(files(tmp_path / "out")) == {"1.tif", "k::l.tif"}
    with (tmp_path / "out" / "retake.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["path"] for row in rows} == BAD
    assert {row["verdict"] for row in rows} == {"unreadable"}
    assert "\x1b" not in said.err
    assert "a\\x1b[31mred\\nnext.tif" in said.err


@pytest.mark.parametrize("command", ["grade", "info"])
def test_looking_at_them(command: str, folder: Path, inside: Program) -> None:
    said = inside(command, folder, code=1 if command == "grade" else 0)
    assert "\x1b" not in said.out + said.err
    assert "1.tif" in said.out or "6 .tif" in said.out


@pytest.mark.parametrize("command", ["grade", "info"])
def test_a_pipe_by_its_name(command: str, folder: Path, inside: Program) -> None:
    said = inside(command, folder / "pipe.tif", code=1)
    assert "no plain file" in said.out + said.err


def test_a_file_whose_name_looks_like_a_dataset(folder: Path, inside: Program) -> None:
    assert "k::l.tif" in inside("grade", folder / "k::l.tif").out
    assert "uint8" in inside("info", folder / "k::l.tif").out


def test_a_reader_that_has_seen_enough(folder: Path) -> None:
    done = subprocess.run(
        f"{PROGRAM} grade {folder} | head -n 0; exit ${{PIPESTATUS[0]}}", shell=True, executable="/bin/bash",
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    closed = subprocess.run(f"{PROGRAM} grade {folder} >&-", shell=True, capture_output=True, text=True, timeout=60)
    assert closed.returncode == 1
    assert "Traceback" not in closed.stderr


def test_out_of_memory_is_called_so(folder: Path, inside: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("refocal.ui.cli.grade.run", full)
    assert "out of memory" in inside("grade", folder, code=1).line
