"""A gate that looks at the brightness only."""

import numpy as np

from refocal.core.values import Frames, Grade


class Brightness:
    """Images that are all of one value have no content; others are restored."""

    def __call__(self, frames: Frames, /) -> Grade:
        spread = np.ptp(frames.image.astype(np.float64))
        if not np.isfinite(spread):
            return Grade("unreadable", "has values that are not finite")
        return Grade("restore", "has content") if spread else Grade("no_content", "all pixels have one value")
