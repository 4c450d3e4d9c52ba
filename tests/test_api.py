"""refocal from Python: one image in, one image of the same kind out."""

import io
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import refocal
from drawn import HOPELESS, SHARP, SOFT, save, texture
from refocal.core.errors import (
    BadModelError,
    BadOptionError,
    UnknownPartError,
    UnreadableError,
    UnsupportedError,
    UsageError,
)
from refocal.core.registry import make
from refocal.core.values import Frames, Grade, Reach, Restored


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


@pytest.mark.parametrize("call", [refocal.restore, refocal.grade])
@pytest.mark.parametrize("channels", [3, 4])
def test_colours_are_no_pages(call: object, channels: int) -> None:
    picture = np.repeat(texture(SOFT)[..., None], channels, axis=-1)
    with pytest.raises(UnsupportedError, match=r"colours.*image\[..., 0\].*list\(image\)") as refused:
        call(picture)
    assert "\n" not in str(refused.value)


def test_narrow_stacks_are_given_as_lists(unsharp: object) -> None:
    stack = np.stack([texture(SOFT, i, (40, 3)) for i in range(2)])
    each = [refocal.restore(page, unsharp) for page in stack]
    assert np.array_equal(refocal.restore(list(stack), unsharp, contrast=(0, 255)), each)
    assert len(refocal.grade(list(stack))) == 2


def test_grades_follow_the_blur(tmp_path: Path) -> None:
    stack = [texture(sigma_px, i) for i, sigma_px in enumerate((SHARP, SOFT, HOPELESS))]
    grades = refocal.grade(np.stack(stack))
    assert [g.verdict for g in grades] == ["keep", "restore", "retake"]
    assert grades[1] == refocal.grade(stack[1]) == refocal.grade(save(tmp_path / "one.png", stack[1:2]))
    assert refocal.grade(str(save(tmp_path / "all.tif", stack))) == grades
    assert refocal.grade(stack[1].astype(np.float32), contrast=(0, 255)).verdict == "restore"


def test_a_gate_may_have_options_or_be_an_object() -> None:
    image = texture(SHARP)
    assert refocal.grade(image, "sharpness:keep_px=0.01").verdict == "restore"
    assert refocal.grade(image, make("gates", "always")).verdict == "restore"
    with pytest.raises(UnknownPartError, match="sharpness"):
        refocal.grade(image, "sharpnes")


def test_the_pixel_size_is_that_of_the_file_unless_it_is_given(tmp_path: Path) -> None:
    seen = []

    def gate(frames: Frames) -> Grade:
        seen.append(frames.pixel_nm)
        return Grade("keep", "")

    path = save(tmp_path / "one.tif", [texture(SOFT)], pixel_nm=8.0)
    refocal.grade(path, gate)
    refocal.grade(path, gate, pixel_nm=5.0)
    refocal.grade(texture(SOFT), gate)
    assert seen == [8.0, 5.0, None]


def test_progress_is_told_after_each_page(tmp_path: Path, unsharp: object) -> None:
    path, told = save(tmp_path / "s.tif", [texture(SOFT, i) for i in range(3)]), []
    refocal.restore(path, unsharp, progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


@pytest.mark.parametrize(
    ("progress", "terminal", "pages", "shown"),
    [(None, True, 2, 2), (None, True, 1, 0), (None, False, 2, 0), (True, False, 1, 1), (False, True, 2, 0)],
)
def test_a_bar_is_shown_where_somebody_sees_it(
    progress: bool | None, terminal: bool, pages: int, shown: int, unsharp: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    bars = []

    class Bar:
        def __init__(self, total: int, **_: object) -> None:
            self.total, self.n = total, 0
            bars.append(self)

        def __enter__(self) -> "Bar":
            return self

        def __exit__(self, *_: object) -> None: ...

        def update(self) -> None:
            self.n += 1

    fake, screen = ModuleType("tqdm.auto"), io.StringIO()
    fake.tqdm = Bar
    screen.isatty = lambda: terminal
    monkeypatch.setitem(sys.modules, "tqdm", ModuleType("tqdm"))
    monkeypatch.setitem(sys.modules, "tqdm.auto", fake)
    monkeypatch.setattr(sys, "stderr", screen)
    refocal.restore([texture(SOFT)] * pages, unsharp, progress=progress)
    assert sum(bar.n for bar in bars) == shown
    assert all(bar.n == bar.total for bar in bars)


def test_without_tqdm_nothing_is_shown(unsharp: object, monkeypatch: pytest.MonkeyPatch, capsys: object) -> None:
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    refocal.restore([texture(SOFT)] * 2, unsharp, progress=True)
    assert capsys.readouterr() == ("", "")


def test_a_file_is_never_changed(tmp_path: Path) -> None:
    class White:
        reach = Reach()

        def __call__(self, batch: list[Frames], /) -> list[Restored]:
            return [Restored(np.full_like(f.image, 255)) for f in batch]

    for pages in ([texture(SOFT)], [texture(SOFT, i) for i in range(2)]):
        path = save(tmp_path / "raw.tif", pages)
        before = path.read_bytes()
        assert (refocal.restore(path, White()) == 255).all()
        assert path.read_bytes() == before


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
