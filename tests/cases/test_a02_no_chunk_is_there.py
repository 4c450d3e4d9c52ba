"""A Zarr volume of which no chunk is found is not empty: it is refused, and says what is there instead."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr

from program import Program
from zarr_images import ome

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")


def test_nested_chunks_under_metadata_that_do_not_say_so(inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr")
    about = tmp_path / "v.zarr" / "0" / ".zarray"
    stored = json.loads(about.read_text())
    stored.pop("dimension_separator", None)
    about.write_text(json.dumps(stored))
    for file in [file for file in about.parent.iterdir() if "." in file.name.strip(".")]:
        nested = about.parent / file.name.replace(".", "/")
        nested.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(file, nested)
    said = inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.zarr", *RESTORE, code=1)
    assert "dimension_separator" in said.line
    assert not (tmp_path / "r.zarr").exists()
    assert "dimension_separator" in inside("grade", tmp_path / "v.zarr", code=1).err


@pytest.mark.parametrize("version", [2, 3])
def test_no_chunk_at_all(version: int, inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr", version)
    for file in [file for file in (tmp_path / "v.zarr" / "0").rglob("*") if file.is_file()]:
        if file.name not in (".zarray", ".zattrs", "zarr.json"):
            file.unlink()
    said = inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.zarr", *RESTORE, code=1)
    assert "no chunk at all" in said.line


@pytest.mark.parametrize("version", [2, 3])
def test_some_chunks_are_missing(version: int, inside: Program, tmp_path: Path) -> None:
    counts = ome(tmp_path / "v.zarr", version)
    chunk = next(f for f in (tmp_path / "v.zarr" / "0").rglob("*") if f.name.endswith("1") and f.is_file())
    chunk.unlink()
    said = inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "r.zarr", *RESTORE)
    assert "1 of 4 chunks are not there" in said.err
    np.testing.assert_array_equal(
        zarr.open_array(tmp_path / "r.zarr" / "0", mode="r")[:, :64, :64], counts[:, :64, :64]
    )


@pytest.mark.parametrize("where", ["compressor", "filters"])
@pytest.mark.parametrize("dtype", ["|O", "|u1"])
def test_a_codec_that_runs_code_is_refused_before_a_chunk_is_read(
    where: str, dtype: str, inside: Program, tmp_path: Path
) -> None:
    ome(tmp_path / "v.zarr")
    about = tmp_path / "v.zarr" / "0" / ".zarray"
    codec = {"id": "pickle"}
    stored = {**json.loads(about.read_text()), "dtype": dtype, where: codec if where == "compressor" else [codec]}
    about.write_text(json.dumps(stored))
    assert ("'pickle'" if dtype != "|O" else "plain numbers") in inside("grade", tmp_path / "v.zarr", code=1).line


def test_a_zarr_3_codec_of_others_is_refused(inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr", 3)
    about = tmp_path / "v.zarr" / "0" / "zarr.json"
    about.write_text(about.read_text().replace('"zstd"', '"somewhere.Codec"'))
    assert "'somewhere.Codec'" in inside("info", tmp_path / "v.zarr", code=1).line


def test_chunks_that_unpack_to_more_than_they_hold(inside: Program, tmp_path: Path) -> None:
    import zlib

    ome(tmp_path / "v.zarr")
    about = tmp_path / "v.zarr" / "0" / ".zarray"
    about.write_text(json.dumps({**json.loads(about.read_text()), "compressor": {"id": "zlib", "level": 1}}))
    for file in (tmp_path / "v.zarr" / "0").rglob("*"):
        if file.is_file() and not file.name.startswith(".z"):
            file.write_bytes(zlib.compress(bytes(1 << 26)))
    assert "unpacks to more" in inside("grade", tmp_path / "v.zarr", code=1).out


def test_chunks_of_one_voxel_and_chunks_without_end(inside: Program, tmp_path: Path) -> None:
    for chunk, words in (([1, 1, 1], "too many"), ([4, 40000, 20000], "GiB")):
        ome(tmp_path / "v.zarr")
        about = tmp_path / "v.zarr" / "0" / ".zarray"
        about.write_text(
            json.dumps({**json.loads(about.read_text()), "chunks": chunk, "shape": [1000, 100000, 100000]})
        )
        assert words in inside("grade", tmp_path / "v.zarr", code=1).line
        shutil.rmtree(tmp_path / "v.zarr")


def test_labels_plates_and_roots_of_several_images(inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "labels.zarr", **{"image-label": {"version": "0.4"}})
    assert "labels" in inside("restore", tmp_path / "labels.zarr", "-o", tmp_path / "r.zarr", *RESTORE, code=1).line
    zarr.open_group(tmp_path / "root.zarr", mode="w", zarr_format=2, attributes={"bioformats2raw.layout": 3})
    ome(tmp_path / "root.zarr" / "0")
    assert "root.zarr/0" in inside("restore", tmp_path / "root.zarr", "-o", tmp_path / "r.zarr", *RESTORE, code=2).line


def test_a_dataset_outside_of_the_volume_is_not_read(inside: Program, tmp_path: Path) -> None:
    ome(tmp_path / "v.zarr")
    about = tmp_path / "v.zarr" / ".zattrs"
    about.write_text(about.read_text().replace('"path": "0"', '"path": "../other"'))
    assert "outside of the volume" in inside("info", tmp_path / "v.zarr", code=1).line
