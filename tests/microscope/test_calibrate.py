"""From good tiles to a calibration and to grades, from the command line."""

import json
from pathlib import Path

import pytest

from drawn import cells, save

CHEAP = ("--restorer", "wiener", "--samples", "crop=128,each=24", "-q")


@pytest.fixture
def good(tmp_path: Path) -> Path:
    for seed in range(5):
        save(tmp_path / "good" / f"{seed}.tif", [cells(seed, 160)])
    return tmp_path / "good"


def test_calibrate_then_grade_and_restore(inside, good: Path, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    said = inside("calibrate", good, "-o", path, *CHEAP, "--json")
    row = json.loads(said.out)
    assert row["tiles"] == 5
    assert row["keep"] + row["restore"] + row["retake"] == pytest.approx(1)
    first = path.read_bytes()
    assert "expected retakes" in inside("calibrate", good, "-o", path, *CHEAP).out
    assert path.read_bytes() == first
    raw = tmp_path / "raw"
    for i, sigma in enumerate((0.6, 1.8, 9.0)):
        save(raw / f"{i}.tif", [cells(50 + i, 160, sigma)])
    gate = f"calibrated:path={path}"
    rows = [json.loads(line) for line in inside("grade", raw, "--gate", gate, "--json").out.splitlines()]
    assert [row["verdict"] for row in sorted(rows, key=lambda row: row["path"])] == ["keep", "restore", "retake"]
    assert all(row["expected"] is not None for row in rows)
    save(raw / "3.tif", [cells(60, 160)], pixel_nm=4.0)
    out = tmp_path / "out"
    inside("restore", raw, "-o", out, "--gate", gate, "--restorer", "wiener", "-q", code=1)
    events = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    (failed,) = (e for e in events if e.get("decision") == "failed")
    assert "8 nm pixels and the tile has 4 nm" in failed["error"]
    assert events[0]["job"]["calibration_sha256"] == json.loads(first)["sha256"]
    for name in ("other/1.tif", "other/2.tif"):
        save(tmp_path / name, [cells(60, 160)], pixel_nm=4.0)
    for given, into in (("other", "none"), ("other/1.tif", "none.zarr")):
        wrong = (tmp_path / given, "-o", tmp_path / into, "--gate", gate, "--restorer", "wiener")
        assert "is for 8 nm pixels and the tile has 4 nm" in inside("restore", *wrong, code=2).line
    assert not (tmp_path / "none" / "log.jsonl").exists()
    expect = ("--expect-from", out, "--overrides", out / "log.jsonl")
    assert (
        "tiles of out"
        in json.loads(inside("calibrate", good, "-o", path, *CHEAP, "--json", *expect).out)["expected_for"]
    )


def test_refusals_are_one_line(inside, good: Path, tmp_path: Path) -> None:
    (good / "4.tif").unlink()
    assert "only 4 of 4 tiles" in inside("calibrate", good, "-o", tmp_path / "c.json", *CHEAP, code=2).line
    assert not (tmp_path / "c.json").exists()
    assert "no such file" in inside("calibrate", tmp_path / "gone", *CHEAP, code=2).line
    (tmp_path / "old.json").write_text('{"kind": "refocal calibration", "version": 0}')
    gate = f"calibrated:path={tmp_path / 'old.json'}"
    assert "version 0" in inside("grade", good, "--gate", gate, code=2).line
    assert "missing a required argument" in inside("grade", good, "--gate", "calibrated", code=2).line
