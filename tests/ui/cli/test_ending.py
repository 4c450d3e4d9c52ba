"""What is meant to be ended by Ctrl-C ends well: a watch and the dashboard."""

import signal
import subprocess
from pathlib import Path

import pytest

from drawn import SHARP, save, texture
from program import PROGRAM


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    save(tmp_path / "raw" / "a.tif", [texture(SHARP)])
    (tmp_path / "out").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "first", "last"),
    [
        (
            "watch raw -o out --restorer unsharp --gate always",
            ("raw", "out", "always", "unsharp", "dashboard out"),
            "out",
        ),
        ("dashboard out --port 0", ("http://127.0.0.1", "Ctrl-C"), "closed"),
    ],
)
def test_ctrl_c_is_exit_code_0_with_a_closing_line(lab: Path, command: str, first: tuple[str, ...], last: str) -> None:
    if command.startswith("dashboard"):
        pytest.importorskip("uvicorn")
    running = subprocess.Popen([PROGRAM, *command.split()], cwd=lab, stderr=subprocess.PIPE, text=True)
    assert running.stderr is not None
    line = running.stderr.readline()
    assert all(word in line for word in first), line
    running.send_signal(signal.SIGINT)
    _, rest = running.communicate(timeout=60)
    assert running.returncode == 0, rest
    assert last in rest.splitlines()[-1]
    assert "interrupted" not in rest
