"""Every image of a TIFF is in the output, or its loss is said, or the file is refused."""

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")

IMAGE = texture(SOFT, 0)


@pytest.mark.parametrize("place", [0, 1])
@pytest.mark.parametrize("marked", [True, False])
def test_thumbnails_do_not_replace_the_image(place, marked, inside, tmp_path):
    pages = [IMAGE]
    pages.insert(place, IMAGE[::4, ::4])
    with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
        for index, page in enumerate(pages):
            writer.write(page, metadata=None, subfiletype=int(marked and index == place))
    said = inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    assert "smaller copies" in said.err + said.out
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "t.tif"), IMAGE)


def test_a_mask_is_no_image(inside, tmp_path):
    with tifffile.TiffWriter(tmp_path / "t.tif") as writer:
        writer.write(IMAGE, metadata=None)
        writer.write(np.full_like(IMAGE, 255), metadata=None, subfiletype=2)
    with tifffile.TiffFile(tmp_path / "t.tif", mode="r+") as tiff:
        tiff.pages[1].tags[254].overwrite(4)
    said = inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    assert "transparency mask is not kept" in said.err + said.out
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "t.tif"), IMAGE)


OTHERS = {
    "height": (IMAGE[:80], {}),
    "dtype": (IMAGE.astype(np.uint16), {}),
    "white": (IMAGE, {"photometric": "miniswhite"}),
}


@pytest.mark.parametrize("other", OTHERS)
@pytest.mark.parametrize("first", [True, False])
def test_pages_that_differ_are_refused(other, first, inside, tmp_path):
    page, settings = OTHERS[other]
    pages = [(IMAGE, {}), (page, settings)]
    with tifffile.TiffWriter(tmp_path / "m.tif") as writer:
        for counts, how in reversed(pages) if first else pages:
            writer.write(counts, metadata=None, **how)
    said = inside("restore", tmp_path / "m.tif", "-o", tmp_path / "out", *RESTORE, code=1)
    assert "holds images that differ" in said.err + said.out
    assert not (tmp_path / "out" / "m.tif").exists()


def test_an_animated_png_is_refused(inside, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    first, second = (pillow.fromarray(texture(SOFT, seed)) for seed in (0, 1))
    first.save(tmp_path / "a.png", save_all=True, append_images=[second])
    said = inside("info", tmp_path / "a.png", code=1)
    assert "animation" in said.line
