"""refocal from Python: one image in, one image of the same kind out."""

from pathlib import Path

import numpy as np
import pytest

import refocal
from drawn import SOFT, save, texture
from refocal.core.errors import (
    BadModelError,
    BadOptionError,
    UnknownPartError,
    UnreadableError,
    UnsupportedError,
    UsageError,
)
from refocal.core.registry import make


@pytest.fixture(scope="module")
def unsharp() -> object:
    return make("restorers", "unsharp")


@pytest.mark.parametrize(
    "counts",
    [
        texture(SOFT),
        texture(SOFT).astype(np.uint16) * 200,
        texture(SOFT).astype(np.int16) - 128,
        texture(SOFT).astype(np.float32) * 1e-3,
        texture(SOFT).astype(np.float64) * 1e4,
        np.stack([texture(SOFT, i) for i in range(3)]),
        np.asfortranarray(texture(SOFT)),
        texture(SOFT)[::2, ::-1],
    ],
    ids=["uint8", "uint16", "int16", "float32", "float64", "stack", "fortran", "strided"],
)
def test_an_array_comes_back_sharper_in_its_shape_and_dtype(counts: np.ndarray, unsharp: object) -> None:
    before = counts.copy()
    got = refocal.restore(counts, unsharp)
    assert (got.shape, got.dtype) == (counts.shape, counts.dtype)
    assert np.array_equal(counts, before)
    rough = [np.abs(np.diff(image.astype(float), 2)).mean() for image in (got, counts)]
    assert rough[0] > rough[1]
    spread = float(np.ptp(counts))
    assert np.abs(got.astype(float) - counts).mean() < 0.2 * spread


def test_a_path_or_a_stack_file_is_read(tmp_path: Path, unsharp: object) -> None:
    pages = [texture(SOFT, i) for i in range(2)]
    one, two = save(tmp_path / "one.png", pages[:1]), save(tmp_path / "two.tif", pages)
    assert np.array_equal(refocal.restore(one, unsharp), refocal.restore(pages[0], unsharp))
    assert np.array_equal(refocal.restore(str(two), unsharp), refocal.restore(np.stack(pages), unsharp))


def test_one_contrast_may_be_given(unsharp: object) -> None:
    wide = texture(SOFT).astype(np.float32)
    got = refocal.restore(wide, unsharp, contrast=(0, 255))
    assert np.abs(got - refocal.restore(texture(SOFT), unsharp)).max() <= 0.5001


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (np.zeros((4, 5, 6, 7), np.uint8), "(4, 5, 6, 7)"),
        (np.zeros(9), "(9,)"),
        (np.zeros((0, 9)), "(0, 9)"),
        (np.zeros((9, 9), complex), "complex"),
        (np.zeros((9, 9), bool), "bool"),
        (np.full((9, 9), np.nan), "NaN"),
        (np.array([["a"]]), "U1"),
    ],
)
def test_what_is_no_image_is_refused(image: np.ndarray, words: str, unsharp: object) -> None:
    with pytest.raises(UnsupportedError) as refused:
        refocal.restore(image, unsharp)
    assert words in str(refused.value)


def test_errors_have_their_kind(tmp_path: Path, unsharp: object) -> None:
    with pytest.raises(UnknownPartError, match="gran-em"):
        refocal.load("gran-en")
    with pytest.raises(BadOptionError, match="openvino"):
        refocal.load("gran-em", backend="openvin")
    with pytest.raises(BadOptionError, match="threads"):
        refocal.load("gran-em", backend="openvino", treads=2)
    with pytest.raises(UnreadableError, match="missing"):
        refocal.restore(tmp_path / "missing.tif", unsharp)
    (tmp_path / "model.safetensors").write_bytes(b"no model")
    with pytest.raises(BadModelError):
        refocal.restore(texture(SOFT), tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="low"):
        refocal.restore(texture(SOFT), unsharp, contrast=(5, 5))
