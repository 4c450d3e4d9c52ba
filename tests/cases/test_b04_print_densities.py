"""A pixel of more than 10 um is a print density, whatever unit says it; it is kept and not believed."""

import pytest
import tifffile

from drawn import SOFT, texture
from refocal.parts.formats import open_image

RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")


@pytest.mark.parametrize(("unit", "per_unit"), [("inch", 300), ("cm", 118), ("mm", 12), ("um", 0.05), ("pixel", 300)])
def test_imagej_units(unit, per_unit, inside, tmp_path):
    path = tmp_path / "t.tif"
    tifffile.imwrite(path, texture(SOFT, 0), imagej=True, resolution=(per_unit, per_unit), metadata={"unit": unit})
    with open_image(path) as image:
        assert image.info.pixel_nm is None
        assert image.info.section_nm is None
    inside("restore", path, "-o", tmp_path / "out", *RESTORE)
    with tifffile.TiffFile(path) as before, tifffile.TiffFile(tmp_path / "out" / "t.tif") as after:
        for code in (270, 282, 283, 296):
            assert after.pages.first.tags.valueof(code) == before.pages.first.tags.valueof(code)


@pytest.mark.parametrize(("unit", "per_unit"), [("inch", 25.4e6 / 4), ("mm", 250_000), ("nm", 0.25), ("micron", 250)])
def test_small_pixels_in_any_unit(unit, per_unit, tmp_path):
    path = tmp_path / "t.tif"
    tifffile.imwrite(path, texture(SOFT, 0), imagej=True, resolution=(per_unit, per_unit), metadata={"unit": unit})
    with open_image(path) as image:
        assert image.info.pixel_nm == pytest.approx(4, rel=1e-5)
