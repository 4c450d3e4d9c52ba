"""A description that counts channels or pages fits those that are written, or is left out."""

import logging

import numpy as np
import pytest
import tifffile

from drawn import SOFT, texture
from refocal.parts.formats import open_image

IMAGE = texture(SOFT, 0)
RESTORE = ("--gate", "always", "--restorer", "identity", "--no-report")
NM = {f"PhysicalSize{a}": 4 for a in "XY"} | {f"PhysicalSize{a}Unit": "nm" for a in "XY"}


@pytest.mark.parametrize("kind", ["rgb", "rgb.ome", "grey", "grey.ome", "thumbnail"])
def test_tifffile_reads_without_a_warning(kind, inside, tmp_path, caplog):
    path, ome = tmp_path / f"t.{kind}.tif", kind.endswith("ome")
    counts = np.stack([IMAGE] * 3, -1) if kind.startswith("rgb") else IMAGE
    with tifffile.TiffWriter(path, ome=ome) as writer:
        if kind == "thumbnail":
            writer.write(IMAGE[::4, ::4], subfiletype=1)
        colour = "rgb" if kind.startswith("rgb") else "minisblack"
        writer.write(counts, photometric=colour, metadata=NM if ome else {})
    inside("restore", path, "-o", tmp_path / "out", *RESTORE)
    made = tmp_path / "out" / path.name
    with caplog.at_level(logging.WARNING, logger="tifffile"):
        np.testing.assert_array_equal(tifffile.imread(made), IMAGE)
    assert caplog.records == []
    with open_image(path) as before, open_image(made) as after:
        assert after.info.pixel_nm == before.info.pixel_nm
