"""A second channel is alpha only where the file says so; an alpha channel that is lost is said."""

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")

IMAGE, OTHER = texture(SOFT, 0), texture(SOFT, 9)


@pytest.mark.parametrize("layout", ["separate", "contig"])
@pytest.mark.parametrize("extra", [["unspecified"], None])
@pytest.mark.parametrize("comment", [{}, None])
def test_a_second_detector_is_refused(layout, extra, comment, inside, tmp_path):
    both = np.stack([IMAGE, OTHER], 0 if layout == "separate" else -1)
    tifffile.imwrite(
        tmp_path / "t.tif", both, photometric="minisblack", planarconfig=layout, extrasamples=extra, metadata=comment
    )
    with tifffile.TiffFile(tmp_path / "t.tif") as tiff:
        if len(tiff.pages) == 2:
            pytest.skip("tifffile writes two pages")
    said = inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE, code=1)
    assert "image of 2 channels" in said.err + said.out
    assert not (tmp_path / "out" / "t.tif").exists()


@pytest.mark.parametrize("layout", ["separate", "contig"])
@pytest.mark.parametrize("alpha", ["unassalpha", "assocalpha"])
def test_the_loss_of_alpha_is_said(layout, alpha, inside, tmp_path):
    both = np.stack([IMAGE, OTHER], 0 if layout == "separate" else -1)
    tifffile.imwrite(
        tmp_path / "t.tif", both, photometric="minisblack", planarconfig=layout, extrasamples=[alpha], metadata={}
    )
    said = inside("restore", tmp_path / "t.tif", "-o", tmp_path / "out", *RESTORE)
    assert "alpha channel is not written" in said.err + said.out
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "out" / "t.tif"), IMAGE)


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_the_loss_of_alpha_in_a_png_is_said(mode, inside, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    grey, mask = pillow.fromarray(IMAGE), pillow.fromarray(OTHER)
    pillow.merge(mode, [grey] * (len(mode) - 1) + [mask]).save(tmp_path / "t.png")
    said = inside("restore", tmp_path / "t.png", "-o", tmp_path / "out", *RESTORE)
    assert "alpha channel is not written" in said.err + said.out
    np.testing.assert_array_equal(np.asarray(pillow.open(tmp_path / "out" / "t.png")), IMAGE)


def test_the_loss_of_a_transparent_grey_is_said(inside, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    pillow.fromarray(IMAGE).save(tmp_path / "t.png", transparency=90)
    said = inside("restore", tmp_path / "t.png", "-o", tmp_path / "out", *RESTORE)
    assert "transparency" in said.err + said.out
    np.testing.assert_array_equal(np.asarray(pillow.open(tmp_path / "out" / "t.png")), IMAGE)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
def test_channels_that_become_sections_are_said(kind, inside, tmp_path):
    counts = np.stack([IMAGE, OTHER] * 2).reshape(2, 2, *IMAGE.shape)
    path = tmp_path / ("t.ome.tif" if kind == "ome" else "t.tif")
    tifffile.imwrite(path, counts, photometric="minisblack", metadata={"axes": "ZCYX"}, **{kind: True})
    for out in ("tiles", "v.zarr"):
        said = inside("restore", path, "-o", tmp_path / out, *RESTORE)
        assert "the pages hold 2 channels" in " ".join((said.err + said.out).split())


@pytest.mark.parametrize("meaning", ["separated", "cielab", "cfa"])
def test_other_colour_spaces_are_refused(meaning, inside, tmp_path):
    channels = {"separated": 4, "cielab": 3, "cfa": 1}[meaning]
    counts = np.stack([IMAGE] * channels, -1) if channels > 1 else IMAGE
    tifffile.imwrite(tmp_path / "t.tif", counts, photometric=meaning, metadata=None)
    assert "convert it first" in inside("info", tmp_path / "t.tif", code=1).line
