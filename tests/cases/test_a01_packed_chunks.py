"""Precomputed chunks that are compressed once more are read; what cannot be found is never zero."""

import bz2
import gzip
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest

from drawn import SOFT, texture
from program import Program

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")
PACK: dict[str, Callable[[bytes], Any]] = {
    ".gz": gzip.compress, ".br": imagecodecs.brotli_encode, ".zstd": imagecodecs.zstd_encode, ".xz": lzma.compress,
    ".bz2": bz2.compress, "": bytes,
}  # fmt: skip
INFO: dict[str, Any] = {
    "@type": "neuroglancer_multiscale_volume", "type": "image", "data_type": "uint8", "num_channels": 1,
    "scales": [{
        "key": "4_4_40", "size": [112, 96, 2], "resolution": [4, 4, 40], "voxel_offset": [0, 0, 0],
        "chunk_sizes": [[64, 64, 2]], "encoding": "raw",
    }],
}  # fmt: skip


def volume(path: Path, ending: str, pack: Callable[[bytes], Any], about: Any = INFO) -> np.ndarray:
    counts = np.stack([texture(SOFT, seed) for seed in range(2)])
    (path / "4_4_40").mkdir(parents=True)
    (path / "info").write_text(json.dumps(about))
    for y in (0, 64):
        for x in (0, 64):
            part = counts[:, y : y + 64, x : x + 64]
            name = f"{x}-{x + part.shape[2]}_{y}-{y + part.shape[1]}_0-2{ending}"
            (path / "4_4_40" / name).write_bytes(pack(part.tobytes()))
    return counts


def stored(path: Path) -> np.ndarray:
    """Read a volume of one chunk size with nothing but the rules of the format."""
    scale = json.loads((path / "info").read_text())["scales"][0]
    size = scale["size"][::-1]
    counts = np.zeros(size, np.uint8)
    for file in (path / scale["key"]).iterdir():
        spans = [tuple(map(int, span.split("-"))) for span in file.name.split("_")]
        where = tuple(slice(*span) for span in reversed(spans))
        shape = [b - a for a, b in reversed(spans)]
        counts[where] = np.frombuffer(file.read_bytes(), np.uint8).reshape(shape)
    return counts


@pytest.mark.parametrize("ending", PACK)
def test_packed_chunks_are_read(ending: str, inside: Program, tmp_path: Path) -> None:
    counts = volume(tmp_path / "v.precomputed", ending, PACK[ending])
    inside("restore", tmp_path / "v.precomputed", "-o", tmp_path / "r.precomputed", *RESTORE)
    np.testing.assert_array_equal(stored(tmp_path / "r.precomputed"), counts)
    assert "1 of 1 blocks" in inside("verify", tmp_path / "r.precomputed").err


@pytest.mark.parametrize("ending", [".lz4", ".enc"])
def test_chunks_that_are_packed_otherwise_are_no_zeros(ending: str, inside: Program, tmp_path: Path) -> None:
    volume(tmp_path / "v.precomputed", ending, bytes)
    for command in (("grade",), ("restore", "-o", tmp_path / "r.precomputed", *RESTORE)):
        said = inside(command[0], tmp_path / "v.precomputed", *command[1:], code=1)
        assert f"2{ending}, but no chunk named like" in said.err
    assert not (tmp_path / "r.precomputed").exists()


@pytest.mark.parametrize("ending", [".gz", ".br", ".zstd", ".xz", ".bz2"])
def test_chunks_that_unpack_to_more_than_they_hold_are_damaged(ending: str, inside: Program, tmp_path: Path) -> None:
    volume(tmp_path / "v.precomputed", ending, lambda content: PACK[ending](bytes(1 << 24)))
    assert "damaged" in inside("grade", tmp_path / "v.precomputed", code=1).out


@pytest.mark.parametrize("sizes", [[-8, -8, -8], [0, 0, 0], [64, 64], [1e30, 1, 1], ["a", 1, 1], [1 << 14, 1 << 14, 8]])
def test_impossible_chunks_are_refused_and_nothing_is_certified(sizes: Any, inside: Program, tmp_path: Path) -> None:
    about = {**INFO, "scales": [{**INFO["scales"][0], "chunk_sizes": [sizes]}]}
    volume(tmp_path / "v.precomputed", "", bytes, about)
    assert inside("restore", tmp_path / "v.precomputed", "-o", tmp_path / "r.zarr", *RESTORE, code=1).line
    assert not (tmp_path / "r.zarr").exists()


def test_missing_chunks_are_counted(inside: Program, tmp_path: Path) -> None:
    counts = volume(tmp_path / "v.precomputed", "", bytes)
    (tmp_path / "v.precomputed" / "4_4_40" / "64-112_64-96_0-2").unlink()
    said = inside("restore", tmp_path / "v.precomputed", "-o", tmp_path / "r.precomputed", *RESTORE)
    assert "1 of 4 chunks are not there and are read as the fill value" in said.err
    got = stored(tmp_path / "r.precomputed")
    np.testing.assert_array_equal(got[:, :64], counts[:, :64])
    assert not got[:, 64:, 64:].any()


@pytest.mark.parametrize("key", ["../other", "/etc", "a/../../b"])
def test_chunks_outside_of_the_volume_are_not_read(key: str, inside: Program, tmp_path: Path) -> None:
    about = {**INFO, "scales": [{**INFO["scales"][0], "key": key}]}
    volume(tmp_path / "v.precomputed", "", bytes, about)
    assert "outside of the volume" in inside("info", tmp_path / "v.precomputed", code=1).line


def test_labels_are_no_grey_values(inside: Program, tmp_path: Path) -> None:
    volume(tmp_path / "v.precomputed", "", bytes, {**INFO, "type": "segmentation"})
    assert "labels" in inside("restore", tmp_path / "v.precomputed", "-o", tmp_path / "r.zarr", *RESTORE, code=1).line
