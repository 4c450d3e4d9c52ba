"""Unfolding stacks and folders from the command line."""

import json
from pathlib import Path

import numpy as np
import pytest

from drawn import sections
from program import Program
from refocal.core import registry
from refocal.core.values import UNIT, Example, Frames, ImageInfo
from refocal.parts.formats import create_image, open_image

SIDE = 240


@pytest.fixture(scope="module")
def pages() -> np.ndarray:
    """Five sections; the middle one is folded."""
    flat = sections(5, SIDE)
    fold = registry.make("degradations", "fold", dark_px=7.0, lost_px=20.0, decay=0.08)
    seen = fold(Example(Frames(flat, 2, UNIT), flat[2]), np.random.default_rng(4))
    return (seen.frames.counts * 255).round().clip(0, 255).astype(np.uint8)


def write(path: Path, pages: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    create_image(path, list(pages), like=ImageInfo(pages.shape, pages.dtype, 4.0))


def read(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return np.stack([image.read(page) for page in range(image.info.shape[0])])


def test_a_stack_is_unfolded_and_the_flat_pages_stay(inside: Program, pages: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "raw.tif", pages)
    said = inside("unfold", str(tmp_path / "raw.tif"), "-o", str(tmp_path / "out"), "--material", "--json")
    got = read(tmp_path / "out" / "raw.tif")
    assert np.array_equal(got[[0, 1, 3, 4]], pages[[0, 1, 3, 4]])
    assert (pages[2] < 20).mean() > 3 * (got[2] < 20).mean()
    origin = read(tmp_path / "out" / "origin" / "raw_0002.png")[0]
    assert np.array_equal(got[2][origin == 0], pages[2][origin == 0])
    flow = read(tmp_path / "out" / "flow" / "raw_0002.tif")
    assert flow.shape == (2, SIDE // 4, SIDE // 4)
    assert 5 < np.hypot(*flow).max() < 60
    mask = read(tmp_path / "out" / "material" / "raw_0002.png")[0]
    assert set(np.unique(mask)) == {0, 50}
    events = [json.loads(line) for line in said.out.splitlines()]
    assert sorted(e["decision"] for e in events) == ["kept"] * 4 + ["restored"]
    page = (tmp_path / "out" / "folds.html").read_text()
    assert page.count("<figure>") == 6
    assert "flow: where tissue was pulled to" in page
    assert "raw.tif#2: restored" in page
    for name in ("log.jsonl", "folds.html", "origin/", "material/"):
        assert f"{tmp_path}/out/{name}" in said.err
    again = inside("unfold", str(tmp_path / "raw.tif"), "-o", str(tmp_path / "out"))
    assert "5 skipped" in again.err


def test_a_folder_with_a_blank_and_a_small_section(inside: Program, pages: np.ndarray, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    odd = {1: pages[1, :100, :100], 4: np.zeros_like(pages[4])}
    for number, page in enumerate(pages):
        write(raw / f"s{number}.png", odd.get(number, page)[None])
    inside("unfold", str(raw), "-o", str(tmp_path / "out"))
    assert (read(tmp_path / "out" / "s4.png") > 0).mean() > 0.9
    assert (read(tmp_path / "out" / "origin" / "s4.png") == 255).all()
    assert (read(tmp_path / "out" / "s2.png") < 20).mean() < 0.3 * (pages[2] < 20).mean()


def test_a_stack_of_one_tells_why_it_cannot_be_restored(inside: Program, pages: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "one.tif", pages[2:3])
    said = inside("unfold", str(tmp_path / "one.tif"), "-o", str(tmp_path / "out"), "--json", code=1)
    assert "no neighbour to restore from" in said.out


def test_sixteen_bits_stay_sixteen_bits(inside: Program, pages: np.ndarray, tmp_path: Path) -> None:
    wide = pages.astype(np.uint16) * 30 + 900
    write(tmp_path / "raw.tif", wide)
    inside("unfold", str(tmp_path / "raw.tif"), "-o", str(tmp_path / "out"))
    got = read(tmp_path / "out" / "raw.tif")
    assert got.dtype == np.uint16
    assert np.array_equal(got[[0, 4]], wide[[0, 4]])
    assert (got[2] < 1500).mean() < 0.5 * (wide[2] < 1500).mean()


def test_wrong_requests_are_refused(inside: Program, pages: np.ndarray, tmp_path: Path) -> None:
    write(tmp_path / "raw.tif", pages)
    said = inside(
        "unfold", str(tmp_path / "raw.tif"), "-o", str(tmp_path / "out"), "--restorer", "fold:method=magic", code=2
    )
    assert "method must be one of" in said.err


@pytest.mark.parametrize(
    "names",
    [("a/tile_r0_c0", "a/tile_r0_c1"), ("row1-col2", "row2-col2"), ("c01r1", "c01r2"),
     ("001_000001_001_2026-01-05T0800000000001", "001_000001_002_2026-01-05T0800000000002")],
)  # fmt: skip
def test_tiles_of_one_section_are_refused(
    inside: Program, pages: np.ndarray, tmp_path: Path, names: tuple[str, str]
) -> None:
    for name, page in zip(names, pages, strict=False):
        write(tmp_path / "raw" / f"{name}.png", page[None])
    said = inside("unfold", tmp_path / "raw", "-o", tmp_path / "out", code=2)
    assert "two tiles of one section" in said.line
    assert not (tmp_path / "out").exists()


def test_neighbours_that_are_not_alike_are_warned_of(inside: Program, pages: np.ndarray, tmp_path: Path) -> None:
    for number, page in enumerate(pages):
        write(tmp_path / "aligned" / f"s{number}_r1_c1.png", page[None])
        write(tmp_path / "apart" / f"s{number}.png", np.rot90(page, number)[None])
    assert "not alike" not in inside("unfold", tmp_path / "aligned", "-o", tmp_path / "a").err
    assert "not alike" in inside("unfold", tmp_path / "apart", "-o", tmp_path / "b").err
