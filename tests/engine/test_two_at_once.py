"""Two runs on one output, orphans of dead ones, and an output that goes away."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from drawn import SOFT, save, texture
from program import PROGRAM, Program
from refocal.core.atomic import writing
from refocal.core.errors import UsageError, WriteError
from refocal.eventlog.log import LOG, Log

HOLD = """
import sys, time
from pathlib import Path
from refocal.eventlog.log import Log
log = Log(Path(sys.argv[1]), alone=True)
print("held", flush=True)
time.sleep(60)
"""
RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs flock")


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    for number in (1, 2, 10, 9):
        save(tmp_path / "raw" / f"{number}.tif", [texture(SOFT, number)])
    return tmp_path / "raw"


def test_a_second_run_on_an_output_is_refused_until_the_first_ends(raw: Path, inside: Program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with Log(out / LOG, alone=True):
        said = inside("restore", raw, "-o", out, *RESTORE, code=2)
        assert "another run writes to" in said.line
    inside("restore", raw, "-o", out, *RESTORE)


def test_shards_share_an_output_and_keep_whole_runs_out(raw: Path, inside: Program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with Log(out / LOG, alone=False):
        inside("restore", raw, "-o", out, "--shard", "0/2", *RESTORE)
        assert "another run" in inside("restore", raw, "-o", out, *RESTORE, code=2).line


def test_a_run_that_was_killed_leaves_no_lock(raw: Path, inside: Program, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    holder = subprocess.Popen([PROGRAM.with_name("python"), "-c", HOLD, out / LOG], stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(UsageError, match="another run"):
        Log(out / LOG, alone=True)
    holder.kill()
    holder.wait()
    inside("restore", raw, "-o", out, *RESTORE)


def test_unfinished_names_are_never_shared_and_orphans_are_taken_over(tmp_path: Path) -> None:
    orphan = tmp_path / ".t.txt.part"
    orphan.write_text("half of another run")
    with writing(tmp_path / "t.txt") as one, writing(tmp_path / "t.txt") as two:
        assert one != two
        one.write_text("one")
        two.write_text("two")
    assert (tmp_path / "t.txt").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["t.txt"]


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda out: (out / LOG).unlink()])
def test_an_output_that_goes_away_is_an_error(
    gone: Callable[[Path], object], raw: Path, inside: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    append = Log.append

    def then_gone(log: Log, event: dict[str, object]) -> object:
        done = append(log, event)
        if event.get("key") == "2.tif":
            gone(out)
        return done

    monkeypatch.setattr(Log, "append", then_gone)
    assert "removed or replaced" in inside("restore", raw, "-o", out, *RESTORE, code=1).err


def test_the_list_of_retakes_is_in_natural_order(raw: Path, inside: Program, tmp_path: Path) -> None:
    for name in ("1.tif", "2.tif", "9.tif", "10.tif"):
        (raw / name).write_bytes(b"II*\0damaged")
    out = tmp_path / "out"
    for shard in ("1/2", "0/2"):
        inside("restore", raw, "-o", out, "--shard", shard, *RESTORE, code=1)
    rows = (out / "retake.csv").read_text().splitlines()[1:]
    assert [row.partition(",")[0] for row in rows] == ["1.tif", "2.tif", "9.tif", "10.tif"]


def test_a_watch_passes_a_pipe_by_and_ends_when_it_is_told(raw: Path, tmp_path: Path) -> None:
    os.mkfifo(raw / "p.tif")
    command = [
        PROGRAM,
        "watch",
        raw,
        "-o",
        tmp_path / "out",
        "--restorer",
        "identity",
        "-q",
        "--settings",
        "settle=0.2",
    ]
    running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = tmp_path / "out" / LOG
    ends = time.monotonic() + 60
    seen: set[str] = set()
    while time.monotonic() < ends and len(seen) < 4:
        time.sleep(0.2)
        lines = log.read_text().splitlines() if log.exists() else []
        events = [json.loads(line) for line in lines if line.endswith("}")]
        seen = {event["key"] for event in events if event["event"] == "tile"}
    assert {"1.tif", "2.tif", "9.tif", "10.tif"} <= seen
    running.terminate()
    assert running.wait(timeout=10) in (0, 130, 143)


def test_an_error_of_writing_names_what_could_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match="absent"), writing(tmp_path / "absent" / "t.txt"):
        pass
