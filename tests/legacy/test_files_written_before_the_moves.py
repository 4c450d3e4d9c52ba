"""Files that refocal 0.1.0 wrote before its modules moved: a log, a calibration, a model, the record of a volume.

They name parts by kind, never by module, so that they can be read as long as the kinds exist.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from program import Program
from refocal.eventlog.index import History
from refocal.eventlog.index.schema import DECISIONS
from refocal.models import header
from refocal.parts.formats import open_image

BEFORE = Path(__file__).parent
WIENER = ("--restorer", "wiener:sigma_px=1.6")
DECIDED = {"sharp.tif": "kept", "soft.tif": "restored", "sub/hopeless.png": "retake"}
UNSHARP = ("--restorer", "unsharp", "--gate", "always")


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """A copy of the files, whose log names the folder where they lie now."""
    lab = tmp_path / "lab"
    shutil.copytree(BEFORE, lab, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    log = lab / "out" / "log.jsonl"
    log.write_text(log.read_text().replace("/lab/raw", str(lab / "raw")))
    return lab


def counts(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return image.read(0).astype(int)


def test_a_run_is_resumed_where_it_ended(inside: Program, lab: Path) -> None:
    before = (lab / "out" / "soft.tif").read_bytes()
    assert "3 skipped" in inside("restore", "raw", "-o", "out", *WIENER, cwd=lab).err
    listed = (lab / "out" / "retake.csv").read_text()
    for name in ("soft.tif", "retake.csv"):
        (lab / "out" / name).unlink()
    assert "1 restored, 2 skipped" in inside("restore", "raw", "-o", "out", *WIENER, cwd=lab).err
    assert (lab / "out" / "soft.tif").read_bytes() == before
    assert (lab / "out" / "retake.csv").read_text() == listed


def test_a_log_is_shown_and_handed_over(inside: Program, lab: Path) -> None:
    inside("report", "out", cwd=lab)
    page = (lab / "out" / "report.html").read_text()
    assert "soft.tif" in page
    assert "data:image" in page, "the raw tile is found by the inputs that the log names"
    told = (lab / "out" / "retake.json").read_text()
    (lab / "out" / "retake.json").unlink()
    inside("handoff", "out", cwd=lab)
    assert (lab / "out" / "retake.json").read_text() == told
    with History(lab / "out" / "log.jsonl") as history:
        history.catch_up()
        with history.readings() as readings:
            found = {key: DECISIONS[tile["decision"]] for key in DECIDED if (tile := readings.tile(key))}
    assert found == DECIDED


def test_a_calibration_grades_as_before(inside: Program, lab: Path) -> None:
    said = inside("grade", "raw", "--gate", "calibrated:path=calibration.json", "--json", cwd=lab)
    now = [json.loads(line) for line in said.out.splitlines()]
    before = json.loads((lab / "grades.json").read_text())
    for name in ("path", "verdict", "reason"):
        assert [row[name] for row in now] == [row[name] for row in before]
    for name in ("sigma_px", "noise", "expected"):
        assert [row[name] for row in now] == pytest.approx([row[name] for row in before], rel=1e-4)


@pytest.mark.parametrize("name", ["tiny.safetensors", "tiny.onnx"])
def test_a_model_restores_as_before(name: str, inside: Program, lab: Path) -> None:
    about = header.read(lab / "model" / "tiny.safetensors")
    assert (about.name, about.net, about.training.steps) == ("tiny", "gran", 2)
    inside("restore", "raw/soft.tif", "-o", "by_tiny", "--model", f"model/{name}", "--gate", "always", cwd=lab)
    assert np.abs(counts(lab / "by_tiny" / "soft.tif") - counts(lab / "model" / "soft.tif")).max() <= 1


def test_the_record_of_a_volume_verifies_and_resumes(inside: Program, lab: Path) -> None:
    pytest.importorskip("zarr")
    fsspec = pytest.importorskip("fsspec")
    # The record names its input by an absolute path; that of memory is the same on every machine.
    fsspec.filesystem("memory").put(str(lab / "volume.zarr"), "/legacy/volume.zarr", recursive=True)
    inside("verify", "restored.zarr", cwd=lab)
    asked = ("restore", "memory://legacy/volume.zarr", "-o", "restored.zarr", *UNSHARP)
    assert "3 skipped" in inside(*asked, cwd=lab).err
    next((lab / "restored.zarr.refocal" / "blocks").rglob("*.json")).unlink()
    assert "3 restored" in inside(*asked, cwd=lab).err
    inside("verify", "restored.zarr", cwd=lab)
    (lab / "restored.zarr" / "0" / "0" / "0" / "1").unlink()
    inside("verify", "restored.zarr", code=1, cwd=lab)
