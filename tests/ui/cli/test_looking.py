"""Commands that only look: `info` and `grade` of images, volumes, folders and models."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from drawn import SHARP, SOFT, save, texture
from program import Program, state


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, one with a volume and one with nothing."""
    zarr = pytest.importorskip("zarr")
    lab = tmp_path_factory.mktemp("lab")
    for number in (10, 9, 2, 1):
        save(lab / "raw" / f"t{number}.tif", [texture(SHARP if number == 9 else SOFT, number)])
    (lab / "raw" / "t3.tif").write_bytes(b"")
    (lab / "nothing").mkdir()
    zarr.save(lab / "bare.zarr", np.zeros((2, 16, 16), np.uint8))
    group = zarr.open_group(lab / "em.zarr", mode="w", zarr_format=3)
    counts = np.stack([texture(SOFT, z, (64, 96)) for z in range(3)])
    group.create_array("s0", data=counts, chunks=(2, 32, 32), shards=(2, 64, 64))
    axes = [{"name": name, "type": "space", "unit": "nanometer"} for name in "zyx"]
    dataset = {"path": "s0", "coordinateTransformations": [{"type": "scale", "scale": [40, 4, 8]}]}
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": [dataset]}]}
    return lab


def test_info_tells_how_a_volume_is_stored(inside: Program, lab: Path) -> None:
    told = json.loads(inside("info", lab / "em.zarr", "--json").out)
    assert told == {
        "volume": str(lab / "em.zarr"), "format": "ome_zarr 0.5", "axes": "zyx", "sections": 3, "height": 64,
        "width": 96, "mode": "uint8", "voxel_nm": [40, 4, 8], "chunk": [2, 32, 32], "shard": [2, 64, 64], "levels": 1,
    }  # fmt: skip
    assert "40.0, 4.0, 8.0" in inside("info", lab / "em.zarr").out


def test_info_tells_what_is_in_a_folder_and_what_to_do(inside: Program, lab: Path, tmp_path: Path) -> None:
    told = json.loads(inside("info", lab / "raw", "--json").out)
    assert (told["images"], told["layout"], told["next"]) == ("5 .tif", "folder", f"refocal grade {lab / 'raw'}")
    assert "96 x 112 px, uint8, pixel_nm 8.0" in told["first"]
    assert "image files" in json.loads(inside("info", lab / "nothing", "--json").out)["next"]
    inside("restore", lab / "raw" / "t1.tif", "-o", tmp_path / "out", "--restorer", "unsharp", "-q")
    assert "refocal report" in inside("info", tmp_path / "out").out
    (tmp_path / "out").rename(tmp_path / "my out")
    assert f"refocal dashboard '{tmp_path}/my out'" in inside("info", tmp_path / "my out").out
    above = json.loads(inside("info", lab, "--json").out)
    assert above["volumes"] == f"{lab / 'bare.zarr'}, {lab / 'em.zarr'}"


def test_info_shows_a_model_as_a_person_reads_it(inside: Program) -> None:
    said = inside("info", "gran-em").out
    assert "{'" not in said
    recipe = said.partition("recipe\n")[2].partition("\nrecipe_sha256")[0]
    assert yaml.safe_load(recipe)["net"] == "gran"


@pytest.mark.parametrize("command", ["info", "grade", "restore -o out"])
def test_zarr_that_is_no_image_is_refused(inside: Program, lab: Path, command: str) -> None:
    said = inside(*command.split(), "bare.zarr", code=2, cwd=lab)
    assert "multiscales" in said.line
    assert not (lab / "out").exists()


def test_grade_keeps_the_order_of_the_files_and_touches_nothing(inside: Program, lab: Path) -> None:
    before = state(lab)
    said = inside("grade", lab / "raw", code=1)
    assert [line.split()[:2] for line in said.out.splitlines()] == [
        ["t1.tif", "restore"], ["t2.tif", "restore"], ["t3.tif", "unreadable"], ["t9.tif", "keep"],
        ["t10.tif", "restore"],
    ]  # fmt: skip
    rows = [json.loads(line) for line in inside("grade", lab / "raw", "--json", code=1).out.splitlines()]
    assert [row["decision"] for row in rows] == ["restore", "restore", "unreadable", "kept", "restore"]
    assert state(lab) == before


def test_a_sharp_tile_that_is_mostly_noise_is_kept_and_says_so(inside: Program, tmp_path: Path) -> None:
    save(tmp_path / "noisy.tif", [texture(SHARP, 1, (256, 256), noise=60)])
    save(tmp_path / "clean.tif", [texture(SHARP, 1, (256, 256))])
    rows = [json.loads(line) for line in inside("grade", tmp_path, "--json").out.splitlines()]
    assert [row["verdict"] for row in rows] == ["keep", "keep"]
    assert ["more noise" in row["reason"] for row in rows] == [False, True]


def test_grade_looks_at_every_section_of_a_volume(inside: Program, lab: Path) -> None:
    rows = [json.loads(line) for line in inside("grade", lab / "em.zarr", "--json").out.splitlines()]
    assert [(row["path"], row["page"], row["verdict"]) for row in rows] == [
        ("em.zarr", z, "restore") for z in range(3)
    ]  # fmt: skip
    assert rows[0]["sigma_nm"] == pytest.approx(rows[0]["sigma_px"] * 8)
    assert "one volume at a time" in inside("grade", lab / "em.zarr", lab / "raw", code=2).line
