"""Cells as islands of bright pixels."""

import numpy as np
from scipy import ndimage

from refocal.core.values import Frames, Labels


class Islands:
    """Connected bright pixels are a cell, in each section by itself."""

    nets = ()
    volume = False

    def __call__(self, frames: Frames, /) -> Labels:
        bright = frames.contrast.unit(frames.counts) > 0.5
        return np.stack([ndimage.label(section)[0] for section in bright])
