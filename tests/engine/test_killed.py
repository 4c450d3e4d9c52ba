"""Runs that are killed or interrupted: nothing half-done is taken for done, and the next run goes on."""

import os
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest

from drawn import SHARP, SOFT, save, texture
from program import PROGRAM, TIMEOUT, Program, files
from refocal.parts.formats import open_image

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
SLOW = ("--restorer", "richardson_lucy:sigma_px=1.5,iterations=100", "--no-report")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    for i in range(6):
        save(folder / "sub" / f"{i}.png", [texture(SOFT if i else SHARP, i, (160, 160))])
    save(folder / "stack.tif", [texture(SOFT, 50 + i, (160, 160)) for i in range(4)])
    save(folder / "volume.mrc", [texture(SOFT, 60 + i, (160, 160)).astype(np.int16) for i in range(3)])
    return folder


@pytest.fixture(scope="module")
def whole(program: Program, raw: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    out = tmp_path_factory.mktemp("whole")
    assert "12 restored, 1 kept" in program("restore", raw, "-o", out, *SLOW).err
    return files(out)


def end(raw: Path, out: Path, number: int, tiles: int, seconds: float) -> subprocess.CompletedProcess[str]:
    """Start a run and send it a signal some time after the log has so many lines."""
    running = subprocess.Popen(
        [PROGRAM, "restore", raw, "-o", out, *SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    log = out / "log.jsonl"
    while running.poll() is None and (log.read_bytes().count(b"\n") if log.exists() else 0) < tiles:
        time.sleep(0.002)
    time.sleep(seconds)
    running.send_signal(number)
    said, err = running.communicate(timeout=TIMEOUT)
    return subprocess.CompletedProcess(running.args, running.returncode, said, err)


def test_a_run_killed_at_any_moment_goes_on_and_ends_like_one_that_was_not(
    inside: Program, raw: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    rng = np.random.default_rng(7)
    lines = 0
    for more in (3, 5):
        killed = end(raw, tmp_path, signal.SIGKILL, lines + more, rng.uniform(0, 0.1))
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        for name, content in files(tmp_path).items():
            if not Path(name).name.startswith("."):
                assert content == whole[name], name
        lines = (tmp_path / "log.jsonl").read_bytes().count(b"\n")
    said = inside("restore", raw, "-o", tmp_path, *SLOW)
    assert "skipped" in said.err
    assert files(tmp_path) == whole
    assert "13 skipped" in inside("restore", raw, "-o", tmp_path, *SLOW).err


def test_half_written_files_of_a_killed_run_are_never_read(
    inside: Program, raw: Path, whole: dict[str, bytes], tmp_path: Path
) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("sub/.3.png.part", ".stack.tif.part", ".retake.csv.1.part"):
        (tmp_path / name).write_bytes(b"half")
    inside("restore", raw, "-o", tmp_path, *SLOW)
    made = {n: b for n, b in files(tmp_path).items() if not n.endswith(".1.part")}
    assert made == whole
    with open_image(tmp_path / "stack.tif") as stack:
        assert stack.info.shape[0] == 4


def test_an_interrupted_run_says_so_in_one_line(raw: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    stopped = end(raw, tmp_path, signal.SIGINT, 2, 0)
    assert stopped.returncode == 130
    assert stopped.stderr.splitlines() == ["refocal: interrupted; run the same command again to continue"]
    assert all(content == whole[name] for name, content in files(tmp_path).items())
    assert not list(tmp_path.rglob("*.part"))
