"""The command, and FEABAS itself on what it hands over."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from refocal.core.values import ImageInfo
from refocal.eventlog.log import Log
from refocal.parts.formats import create_image
from refocal.ui.cli._show import gathered

FEABAS = os.environ.get("REFOCAL_FEABAS_PYTHON")
RUNNER = Path(__file__).parents[2] / "benchmarks" / "_feabas.py"
SIZE, STEP = 256, 192
OFF = ((0, 0), (3, -2), (-4, 1), (2, 5))
"""(x, y) by which the tiles lie beside where the log says."""


@pytest.fixture
def montage(tmp_path: Path) -> Path:
    """The output of a watch: one section of a multi-beam microscope, two mFoVs with two beams."""
    rng = np.random.default_rng(3)
    field = gaussian_filter(rng.standard_normal((520, 520)), 3)
    field = np.clip(128 + 40 * field / field.std(), 0, 255)
    out = tmp_path / "out"
    out.mkdir()
    with Log(out / "log.jsonl") as log:
        log.start({}, inputs=[])
        for number, (dx, dy) in enumerate(OFF):
            column, row = number % 2, number // 2
            x, y = 20 + column * STEP, 20 + row * STEP
            name = f"021_{row + 1:06d}_{column + 1:03d}_2026-01-05T0800001234567.bmp"
            path = f"b_20260105_08-00-00/021_S2R1/{row + 1:06d}/{name}"
            pixels = field[y + dy : y + dy + SIZE, x + dx : x + dx + SIZE] + 4 * rng.standard_normal((SIZE, SIZE))
            counts = np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
            (out / path).parent.mkdir(parents=True, exist_ok=True)
            create_image(out / path, [counts], ImageInfo((1, SIZE, SIZE), counts.dtype, 4.0))
            log.append({
                "event": "tile", "key": path, "path": path, "page": 0, "section": "S2R1", "region": 1, "field": row + 1,
                "beam": column + 1, "tile": f"m{row + 1:06d}_b{column + 1:03d}", "decision": "restored", "height": SIZE,
                "width": SIZE, "mode": "uint8", "pixel_nm": 4.0, "stage_x_nm": 4.0 * x, "stage_y_nm": 4.0 * y,
            })  # fmt: skip
        log.append({"event": "section", "section": "S2R1", "state": "complete"})
    return out


def test_the_command_writes_what_was_asked_for_and_says_what_it_cannot(
    montage: Path, tmp_path: Path, inside: Any
) -> None:
    said = inside("handoff", montage, "--feabas", tmp_path / "f", "--render-ws", tmp_path / "r.json", "--json")
    assert json.loads(said.out)["decision"] == "keep"
    assert (tmp_path / "f" / "stitch" / "stitch_coord" / "S2R1.txt").is_file()
    assert len(json.loads((tmp_path / "r.json").read_text())) == 4
    (montage / "b_20260105_08-00-00/021_S2R1/000002").rename(tmp_path / "away")
    said = inside("handoff", montage, "--feabas", tmp_path / "f", code=1)
    assert "2 tiles are missing" in said.err
    assert "exclude each other" in inside("handoff", montage, "--link", "--copy", code=2).line
    assert "no section" in inside("handoff", montage, "--section", "S9", code=2).line


def test_it_names_what_it_wrote_and_the_sections_to_be_imaged_again(montage: Path, tmp_path: Path, inside: Any) -> None:
    feabas = tmp_path / "f"
    said = inside("handoff", montage, "--feabas", feabas)
    assert "imaged again" not in said.err
    assert [line.removeprefix("wrote ") for line in said.err.splitlines()] == [
        str(feabas / "stitch" / "stitch_coord" / "S2R1.txt"),
        str(montage / "retake.json"),
    ]
    path = next(montage.rglob("*_001_2026*.bmp")).relative_to(montage).as_posix()
    with Log(montage / "log.jsonl") as log:
        log.append({
            "event": "tile", "key": path, "path": path, "page": 0, "section": "S2R1", "region": 1, "field": 1,
            "beam": 1, "tile": "m000001_b001", "decision": "retake", "verdict": "retake", "height": SIZE,
            "width": SIZE, "mode": "uint8", "pixel_nm": 4.0, "stage_x_nm": 80.0, "stage_y_nm": 80.0,
        })  # fmt: skip
    said = inside("handoff", montage, "--feabas", feabas).err
    assert "imaged again, and handed over for stitching as recorded: S2R1;" in said
    assert "imaged again" not in inside("handoff", montage).err


@pytest.mark.parametrize(("count", "lines"), [(3, 3), (30, 2)])
def test_many_files_are_named_by_their_folder(tmp_path: Path, count: int, lines: int) -> None:
    paths = [tmp_path / "retake.json", *(tmp_path / "flags" / f"{n}" / "yesretake" for n in range(count - 1))]
    said = gathered(paths)
    assert len(said) == lines
    assert str(tmp_path / "retake.json") in said
    assert count == 3 or f"{tmp_path / 'flags'}{os.sep} (29 files)" in said


@pytest.mark.skipif(
    FEABAS is None,
    reason="needs FEABAS: pip install feabas into an environment of its own, set REFOCAL_FEABAS_PYTHON to its python",
)
def test_feabas_stitches_what_is_handed_over(montage: Path, tmp_path: Path, inside: Any) -> None:
    inside("handoff", montage, "--feabas", tmp_path / "feabas")
    coordinates = tmp_path / "feabas" / "stitch" / "stitch_coord" / "S2R1.txt"
    done = subprocess.run([str(FEABAS), RUNNER, coordinates, "msem"], capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert (found["tiles"], found["resolution"], found["error"]) == (4, 4.0, False)
    assert found["groups"] == [1, 1, 2, 2]  # the mFoVs, from the names
    assert len(found["pairs"]) >= 4
    assert found["residue"] < 1
    true = {
        f"{i // 2 + 1:06d}/{i % 2 + 1:03d}": np.add(off, (STEP * (i % 2), STEP * (i // 2))) for i, off in enumerate(OFF)
    }
    for pair in found["pairs"]:
        first, second = (true[f"{name.split('/')[0]}/{name.split('_')[2]}"] for name in pair["tiles"])
        assert np.hypot(*(np.array(pair["shift"]) - (second - first))) < 1, pair


def test_importing_it_is_cheap() -> None:
    code = (
        "import sys, refocal.microscope.handoff, refocal.microscope.monitor, refocal.microscope.notify; "
        "print({'torch', 'cv2', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
