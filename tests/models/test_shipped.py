"""What every model that ships promises: tiles of an image show no borders."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from refocal.core.errors import BadModelError
from refocal.core.values import Contrast, Frames
from refocal.engine import backends
from refocal.imaging.phantom import draw_section
from refocal.models import header
from refocal.parts.metrics.seam import seam

GREY = Contrast(0, 255)


@pytest.mark.parametrize("name", header.shipped())
def test_the_seam_number_at_the_borders_of_tiles_is_that_of_the_whole_image(name: str) -> None:
    about = header.read(header.find(name))
    if about.frames != 1:
        pytest.skip("restores bursts, which are never cut")
    sharp = draw_section((128, 144), 0)
    seen = gaussian_filter(sharp, 1.5) + np.random.default_rng(0).normal(0, 0.02, sharp.shape)
    frames = Frames(GREY.counts(seen.astype(np.float32), np.uint8)[None], contrast=GREY)
    restorers = [
        backends.learned(name, "openvino", precision="f32", **how) for how in ({}, {"whole_px": 1, "tile_px": 64})
    ]
    try:
        whole, tiled = (GREY.unit(restorer([frames])[0].counts) for restorer in restorers)
    except BadModelError as error:
        pytest.skip(str(error))
    assert (whole != GREY.unit(frames.image)).any()
    assert seam(tiled, sharp, 64) / seam(whole, sharp, 64) == pytest.approx(1, abs=0.01)
    assert np.abs(tiled - whole).max() <= 1.5 / 255  # a half may round either way
