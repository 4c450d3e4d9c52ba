"""A watch that is killed ten times leaves what an undisturbed one leaves; `benchmarks/kills.py` does it more often."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[3] / "benchmarks" / "kills.py"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
@pytest.mark.parametrize(("kind", "carry"), [("multisem", "symlink"), ("folder", "copy")])
def test_ten_kills_lose_nothing_double_nothing_and_change_no_byte(tmp_path: Path, kind: str, carry: str) -> None:
    given = ("--kills", "10", "--tiles", "56", "--size", "96", "--kind", kind, "--carry", carry, "--folder", tmp_path)
    done = subprocess.run([sys.executable, BENCHMARK, *given], capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert (found["kills"], found["problems"]) == (10, [])
    assert found["tiles"] >= 56
    assert found["restored"] > 5
