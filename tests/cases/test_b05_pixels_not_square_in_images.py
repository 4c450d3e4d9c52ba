"""Width and height of pixels that are not square are both read, and both written."""

import json

import pytest
import tifffile

from drawn import SOFT, texture
from refocal.core.values import ImageInfo
from refocal.parts.formats import create_image, open_image

IMAGE = texture(SOFT, 0)
RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")


@pytest.mark.parametrize("ending", ["tif", "ome.tif", "png", "bmp"])
def test_both_come_back(ending, inside, tmp_path):
    path = tmp_path / f"t.{ending}"
    create_image(path, [IMAGE], ImageInfo((1, *IMAGE.shape), IMAGE.dtype, 4.0, pixel_y_nm=5.08))
    inside("restore", path, "-o", tmp_path / "out", *RESTORE)
    for made in (path, tmp_path / "out" / path.name):
        with open_image(made) as image:
            assert (image.info.pixel_nm, image.info.pixel_y_nm) == pytest.approx((4, 5.08), rel=1e-5)
            assert any("not square" in text for text in image.info.warnings)


def test_tags_and_volumes(inside, tmp_path):
    density = (1e7 / 4, 1e7 / 5.08)
    tifffile.imwrite(tmp_path / "t.tif", IMAGE, resolution=density, resolutionunit="CENTIMETER", metadata=None)
    inside("restore", tmp_path / "t.tif", "-o", tmp_path / "v.zarr", *RESTORE)
    told = json.loads((tmp_path / "v.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"][0]
    assert told["coordinateTransformations"][0]["scale"][1:] == pytest.approx([5.08, 4])
    inside("restore", tmp_path / "v.zarr", "-o", tmp_path / "w.tif", *RESTORE)
    with tifffile.TiffFile(tmp_path / "w.tif") as back:
        assert [a / b for a, b in (back.pages.first.tags[c].value for c in (282, 283))] == pytest.approx(density)
