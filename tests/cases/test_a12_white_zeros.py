"""Where 0 is white, a viewer sees the same before and after, and the restorer sees the positive."""

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture
from refocal.parts.formats import open_image

IMAGE = texture(SOFT, 0)
RESTORE = ("--gate", "always", "--no-report", "--restorer")
TURNED = np.stack([np.arange(255, -1, -1) * 257] * 3).astype(np.uint16)
STEPS = np.stack([(np.arange(256) // 2 * 2) * 257] * 3).astype(np.uint16)


def shown(path):
    """Return the greys that a viewer shows."""
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        counts = page.asarray()
        if page.photometric == 3:
            return (page.colormap[0] >> 8).astype(np.uint8)[counts]
        return np.iinfo(counts.dtype).max - counts if page.photometric == 0 else counts


def made(kind, folder):
    path = folder / "t.tif"
    how = {"metadata": None, "compression": "zlib" if kind == "deflate" else None}
    if kind in ("turned", "steps"):
        colours = TURNED if kind == "turned" else STEPS
        tifffile.imwrite(path, 255 - IMAGE, photometric="palette", colormap=colours, **how)
    else:
        counts = 65535 - IMAGE.astype(np.uint16) * 257 if kind == "uint16" else 255 - IMAGE
        tifffile.imwrite(path, counts, photometric="miniswhite", **how)
    return path


@pytest.mark.parametrize("kind", ["uint8", "uint16", "deflate", "turned", "steps"])
def test_viewers_see_the_same(kind, inside, tmp_path):
    source = made(kind, tmp_path)
    before = shown(source)
    with open_image(source) as image:
        np.testing.assert_array_equal(image.read(), before)
    inside("restore", source, "-o", tmp_path / "out", *RESTORE, "identity")
    np.testing.assert_array_equal(shown(tmp_path / "out" / "t.tif"), before)
    inside("restore", source, "-o", tmp_path / "v.mrc", *RESTORE, "identity")
    mrcfile = pytest.importorskip("mrcfile")
    np.testing.assert_array_equal(mrcfile.read(tmp_path / "v.mrc").squeeze().view(before.dtype), before)


def test_the_restorer_sees_the_positive(inside, tmp_path):
    (tmp_path / "black").mkdir()
    tifffile.imwrite(tmp_path / "black" / "t.tif", IMAGE, metadata=None)
    for name, source in (("white", made("uint8", tmp_path)), ("black", tmp_path / "black" / "t.tif")):
        inside("restore", source, "-o", tmp_path / f"{name} out", *RESTORE, "unsharp")
    white, black = (shown(tmp_path / f"{name} out" / "t.tif") for name in ("white", "black"))
    assert (black != IMAGE).any()
    np.testing.assert_array_equal(white, black)


def test_no_data_is_turned_over_with_its_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", 255 - IMAGE, photometric="miniswhite", extratags=[(42113, 2, 2, "0", True)])
    with open_image(tmp_path / "t.tif") as image:
        assert image.info.no_data == (255.0,)


def test_inverted_palettes_of_png_and_bmp(inside, tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    for ending in ("png", "bmp"):
        picture = pillow.fromarray(255 - IMAGE, "P")
        picture.putpalette(np.repeat(np.arange(255, -1, -1, dtype=np.uint8), 3).tobytes())
        picture.save(tmp_path / f"t.{ending}")
        inside("restore", tmp_path / f"t.{ending}", "-o", tmp_path / ending, *RESTORE, "identity")
        with pillow.open(tmp_path / ending / f"t.{ending}") as back:
            np.testing.assert_array_equal(np.asarray(back.convert("L")), IMAGE)


@pytest.mark.parametrize("bits", [4, 8])
def test_palettes_of_colours(bits, inside, tmp_path):
    """False colours are said; those of few bits, whose numbers are no greys, are refused."""
    pillow = pytest.importorskip("PIL.Image")
    colours = np.random.default_rng(0).integers(0, 65535, (3, 256), np.uint16)
    if bits == 8:
        tifffile.imwrite(tmp_path / "t.tif", IMAGE, photometric="palette", colormap=colours, metadata=None)
        assert "false colours" in inside("info", tmp_path / "t.tif").out.replace("\n", " ")
        return
    picture = pillow.fromarray(IMAGE >> 4, "P")
    picture.putpalette((colours[:, :16].T >> 8).astype(np.uint8).tobytes())
    picture.save(tmp_path / "t.png", bits=4)
    assert "colour" in inside("restore", tmp_path / "t.png", "-o", tmp_path / "o", *RESTORE, "identity", code=1).err
