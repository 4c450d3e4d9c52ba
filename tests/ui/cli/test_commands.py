"""The other commands: degrade, evaluate, list, info, doctor, report, bench, and the demo."""

import csv
import json
import os
import shutil
import subprocess
import sys
from importlib import import_module, metadata
from importlib.resources import files as installed_files
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from drawn import SHARP, save, texture
from program import Program, files, state
from refocal.core import registry
from refocal.models import header
from refocal.parts.formats import open_image

ROOT = Path(str(installed_files("refocal")))


@pytest.fixture(scope="module")
def sharp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sharp")
    for i in range(3):
        save(folder / "epfl" / f"{i}.png", [texture(SHARP, i)])
    save(folder / "tem" / "a.tif", [texture(SHARP, 9), texture(SHARP, 10)])
    return folder


def test_degrade_is_repeatable_and_another_seed_is_another_job(inside: Program, sharp: Path, tmp_path: Path) -> None:
    before = state(sharp)
    run = ("degrade", sharp, "--degradation", "gran_protocol", "-q", "-o")
    inside(*run, tmp_path / "a")
    inside(*run, tmp_path / "b")
    inside(*run, tmp_path / "c", "--seed", "7")
    assert state(sharp) == before
    assert set(files(tmp_path / "a")) == set(files(sharp))
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert not set(files(tmp_path / "a").values()) & set(files(tmp_path / "c").values())
    with open_image(sharp / "tem" / "a.tif") as truth, open_image(tmp_path / "a" / "tem" / "a.tif") as spoilt:
        assert spoilt.info == truth.info
        error = [spoilt.read(page).astype(float) - truth.read(page) for page in range(2)]
    assert all(2 < np.std(e) < 60 for e in error)
    assert "another job" in inside(*run, tmp_path / "a", "--seed", "7", code=2).line
    inside(*run, tmp_path / "a", "--seed", "7", "--overwrite")
    assert files(tmp_path / "a") == files(tmp_path / "c")


def test_evaluate_makes_tables_and_pictures(inside: Program, sharp: Path, tmp_path: Path) -> None:
    out = tmp_path / "new" / "scores"
    said = inside(
        "evaluate", sharp / "epfl" / "*.png", f"thin={sharp / 'tem'}", "-r", "unsharp", "-r", "oracle_wiener",
        "-r", "mine=wiener:sigma_px=1.6", "-m", "psnr", "-m", "ssim", "-o", out, "--json",
    )  # fmt: skip
    rows = {(row["group"], row["restorer"]): row for row in map(json.loads, said.out.splitlines())}
    names = ("nothing", "unsharp", "oracle_wiener", "mine")
    assert set(rows) == {(group, name) for group in ("epfl", "thin") for name in names}
    assert rows["epfl", "nothing"]["count"] == 3
    assert rows["thin", "nothing"]["count"] == 2
    assert rows["epfl", "nothing"]["psnr_gain"] == 0
    for group in ("epfl", "thin"):
        assert rows[group, "oracle_wiener"]["psnr"] > rows[group, "nothing"]["psnr"] + 1
        assert 0 < rows[group, "mine"]["ssim"] < 1
    table = list(csv.DictReader((out / "table.csv").open()))
    assert len(table) == 8
    assert float(table[0]["psnr"]) == pytest.approx(rows["epfl", "nothing"]["psnr"])
    markdown = (out / "table.md").read_text()
    assert markdown.count("| oracle_wiener |") == 2
    assert len(list((out / "pictures").glob("*.png"))) == 8
    again = inside("evaluate", sharp / "epfl", "--limit", "2", "--crop", "64", "-r", "unsharp")
    assert "unsharp" in again.out
    assert "psnr_gain" in again.out


@pytest.mark.parametrize("family", [*registry.families(), "models"])
def test_every_family_is_listed_with_a_line_for_each_part(inside: Program, family: str) -> None:
    known = header.shipped() if family == "models" else registry.names(family)
    rows = [json.loads(line) for line in inside("list", family, "--json").out.splitlines()]
    assert tuple(row["name"] for row in rows) == known
    assert all(len(row["what"]) >= 10 for row in rows)
    assert family in inside("list").out


def test_info_tells_of_images_and_models(inside: Program, sharp: Path, raw: Path) -> None:
    told = json.loads(inside("info", sharp / "tem" / "a.tif", "--json").out)
    assert (told["pages"], told["height"], told["width"], told["mode"], told["pixel_nm"]) == (2, 96, 112, "uint8", 8)
    assert "45" in json.dumps(json.loads(inside("info", raw / "stacks" / "volume.mrc", "--json").out)["pixel_nm"] * 10)
    model = json.loads(inside("info", "gran-em", "--json").out)
    assert model["net"] == "gran"
    assert model["data_files"] > 0
    assert "licence" in inside("info", header.find("gran-em")).out


def test_the_version_is_that_of_the_package(inside: Program) -> None:
    assert inside("--version").out == f"refocal {metadata.version('refocal')}\n"


def test_doctor_finds_this_installation_whole(inside: Program) -> None:
    rows = {row["what"]: row for row in map(json.loads, inside("doctor", "--json").out.splitlines())}
    assert rows["model gran-em"]["found"] == "whole"
    assert all(row["ok"] for row in rows.values())
    extras = set(metadata.metadata("refocal").get_all("Provides-Extra") or ()) - {"dev"}
    assert {what.removeprefix("extra ") for what in rows if what.startswith("extra ")} == extras
    assert rows["numpy"]["found"] == metadata.version("numpy")
    assert metadata.version("torch") in rows["extra train"]["found"]


def test_doctor_tells_what_is_missing_or_too_old(inside: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    needs = ["numpy>=99.1", "none-such>=1; extra == 'train'", "zarr[all]>=3; extra == 'train'"]
    monkeypatch.setattr(metadata, "requires", lambda _: needs)
    rows = {row["what"]: row for row in map(json.loads, inside("doctor", "--json", code=1).out.splitlines())}
    assert not rows["numpy"]["ok"]
    assert rows["extra train"] == {
        "what": "extra train", "found": "lacks none-such: pip install 'refocal[train]'", "ok": True,
    }  # fmt: skip


def test_doctor_finds_what_an_update_left_behind(
    inside: Program, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "refocal" / "old" / "inner" / "__pycache__").mkdir(parents=True)
    (tmp_path / "refocal" / "old" / "__pycache__").mkdir()
    (tmp_path / "refocal" / "old" / "__pycache__" / "a.cpython-311.pyc").touch()
    (tmp_path / "refocal" / "new" / "__pycache__").mkdir(parents=True)
    (tmp_path / "refocal" / "new" / "__init__.py").touch()
    stale = metadata.EntryPoint("refocal", "refocal.cli:main", "console_scripts")
    monkeypatch.setattr(
        metadata, "distribution", lambda _: SimpleNamespace(entry_points=[stale], version="99", requires=[])
    )
    monkeypatch.setattr("refocal.ui.cli.doctor.files", lambda _: tmp_path / "refocal")
    rows = {row["what"]: row for row in map(json.loads, inside("doctor", "--json", code=1).out.splitlines())}
    for what, words in (
        ("console script", "refocal.cli:main"),
        ("leftover folders", str(tmp_path / "refocal" / "old")),
    ):
        assert words in rows[what]["found"]
        assert "pip install -e ." in rows[what]["found"]
        assert not rows[what]["ok"]
    assert str(tmp_path / "refocal" / "new") not in rows["leftover folders"]["found"]
    assert str(tmp_path / "refocal" / "old" / "inner") not in rows["leftover folders"]["found"]


def test_an_old_console_script_ends_in_one_line(tmp_path: Path) -> None:
    # What pip wrote for a tree in which the program was refocal.cli; the update left that folder's compiled files.
    tree = tmp_path / "src" / "refocal"
    shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns("__pycache__", "parts", "shipped", "static"))
    (tree / "cli" / "__pycache__").mkdir(parents=True)
    (tree / "cli" / "__pycache__" / "__init__.cpython-311.pyc").write_bytes(b"of an older tree")
    code = "import sys; from refocal.cli import main; sys.exit(main())"
    environment = {**os.environ, "PYTHONPATH": str(tree.parent)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "pip install -e ." in done.stderr


def test_leftover_folders_are_no_families_and_no_parts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("old", "new"):
        (tmp_path / name / "__pycache__").mkdir(parents=True)
        (tmp_path / name / "__pycache__" / "__init__.cpython-311.pyc").touch()
    (tmp_path / "new" / "__init__.py").touch()
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "gone.cpython-311.pyc").touch()
    for package in [import_module(name) for name in ("refocal.parts", "refocal.parts.gates")]:
        monkeypatch.setattr(package, "__path__", [str(tmp_path)])
    assert registry.families.__wrapped__() == ("new",)
    assert registry._modules.__wrapped__("gates") == ("new",)


def test_a_report_is_made_again_from_the_log_with_the_truth(inside: Program, sharp: Path, tmp_path: Path) -> None:
    soft, out = tmp_path / "soft", tmp_path / "out"
    inside("degrade", sharp, "-o", soft, "--degradation", "defocus:sigma_px=1.6", "-q")
    inside("restore", soft, "-o", out, "--restorer", "unsharp", "--no-report", "-q")
    assert not (out / "report.html").exists()
    said = inside("report", out, "--truth", sharp)
    assert said.out.strip() == str(out / "report.html")
    page = (out / "report.html").read_text()
    assert "SSIM" in page
    assert page.count("data:image/") >= 10
    soft.rename(tmp_path / "moved")
    inside("report", out, "--inputs", tmp_path / "moved", "--pictures", "1")
    assert 0 < (out / "report.html").read_text().count("data:image/") < page.count("data:image/")


def test_the_demo_shows_the_whole_way(program: Program, tmp_path: Path) -> None:
    # The gate of `make demo` restores four tiles; one is enough here.
    gate = "sharpness:keep_px=2.8,retake_px=3.2"
    said = program("demo", "-o", "demo", "--seed", "3", "--gate", gate, cwd=tmp_path)
    out = tmp_path / "demo"
    assert len(files(out / "raw")) == len(files(out / "truth")) == len(files(out / "restored")) == 9
    events = [json.loads(line) for line in (out / "restored" / "log.jsonl").read_text().splitlines()]
    decisions = [event["decision"] for event in events if event["event"] == "tile"]
    assert {"restored", "kept", "retake", "no_content"} == set(decisions)
    assert said.out.count("section_0001/tile_") == 9
    assert "SSIM" in (out / "restored" / "report.html").read_text()
    for name in files(out / "raw"):
        with open_image(out / "raw" / name) as before, open_image(out / "restored" / name) as after:
            assert after.info == before.info
