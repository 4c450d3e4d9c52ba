"""A part of each family in a package of its own: found by its entry point, and held to its contract."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import refocal.testing
from program import PROGRAM
from refocal.core import registry

HERE = Path(__file__).parent
PARTS = {
    "degradations": "dead_rows:DeadRows",
    "formats": "pgm:Pgm",
    "gates": "brightness:Brightness",
    "layouts": "sessions:Sessions",
    "metrics": "mae:mae",
    "nets": "narrow:Narrow",
    "objectives": "cubed:Cubed",
    "restorers": "median:Median",
    "segmenters": "islands:Islands",
    "volume_formats": "bricks:Bricks",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package of a lab as pip would leave it."""
    site = tmp_path_factory.mktemp("site")
    shutil.copytree(HERE / "lab_parts", site / "lab_parts")
    entries = [f"[refocal.{family}]\n{at.partition(':')[0]} = lab_parts.{at}\n" for family, at in PARTS.items()]
    info = site / "lab_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lab-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "\n".join([*entries, "[refocal.microscopes]\nsessions = lab_parts.script\n"])
    )
    shutil.copy(HERE / "contracts_of_a_lab.py", site / "test_lab.py")
    return site


def run(site: Path, *command: object) -> str:
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*map(str, command)], cwd=site, env={**os.environ, "PYTHONPATH": path, "COLUMNS": "200"}, capture_output=True,
        text=True, timeout=280,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def test_the_lab_has_a_part_of_every_family() -> None:
    assert PARTS.keys() == set(registry.families())


def test_every_part_keeps_its_contract(installed: Path) -> None:
    out = run(
        installed, sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-p", "no:napari",
        "-p", "no:napari-plugin-engine", "-p", "no:npe2", "-p", "no:xdist", "test_lab.py",
    )  # fmt: skip
    classes = re.findall(r"^class (\w+)", (HERE / "contracts_of_a_lab.py").read_text(), re.MULTILINE)
    assert len(classes) == len(PARTS)
    assert set(re.findall(r"^PASSED test_lab\.py::(\w+)::", out, re.MULTILINE)) == set(classes)


def test_they_are_listed_with_one_line_each(installed: Path) -> None:
    out = run(installed, PROGRAM, "list")
    for family, at in PARTS.items():
        kind = at.partition(":")[0]
        (row,) = [line for line in out.splitlines() if line.split()[:1] == [family]]
        assert kind in re.split(r"[ ,]+", row)
    out = run(installed, PROGRAM, "list", "formats")
    assert re.search(r"^pgm +Portable grey maps\. *$", out, re.MULTILINE), out


def test_the_program_works_with_them(installed: Path, tmp_path: Path) -> None:
    """What tells images, volumes and layouts apart by a list would not know these."""
    run(installed, PROGRAM, "replay", "sessions", tmp_path / "scope", "--size", "64x48", "--plan", "sections=1,tiles=2")
    tile = tmp_path / "scope" / "session_00" / "tile_0000.pgm"
    code = (
        "import sys; from pathlib import Path; from refocal.parts.formats import create_image, open_image;"
        "image = open_image(Path(sys.argv[1])); create_image(Path(sys.argv[2]), [image.read()], image.info)"
    )
    run(installed, sys.executable, "-c", code, tile.with_suffix(".tif"), tile)
    run(installed, PROGRAM, "restore", tile, "-o", tmp_path / "out", "--restorer", "median", "--gate", "brightness")
    assert (tmp_path / "out" / "tile_0000.pgm").read_bytes().startswith(b"P5\n")
    stack = tmp_path / "out.bricks"
    run(installed, PROGRAM, "restore", tile, "-o", stack, "--restorer", "median", "--gate", "brightness")
    assert (stack / "bricks.json").is_file()
    assert "bricks" in run(installed, PROGRAM, "info", stack)


def test_a_part_that_its_package_does_not_have_is_one_line(tmp_path: Path) -> None:
    info = tmp_path / "lost-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lost\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[refocal.gates]\nlost = math:Lost\n")
    assert "lost declares it as math:Lost, which does not exist" in run(tmp_path, PROGRAM, "list", "gates")


def test_every_family_has_a_contract() -> None:
    tested = {getattr(refocal.testing, name).family for name in refocal.testing.__all__}
    assert tested == set(registry.families())


def test_a_contract_without_a_part_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text(
        "import refocal.testing\n\n\nclass TestNothing(refocal.testing.MetricContract):\n    pass\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:napari", "-p", "no:npe2"]
    done = subprocess.run([*command, "test_nothing.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "TestNothing tests no part: set kind" in done.stdout + done.stderr
