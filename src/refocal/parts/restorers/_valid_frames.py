"""The frames of a burst that show something, in contrast units."""

import numpy as np

from refocal.core.errors import UnsupportedError
from refocal.core.values import Frames, Pixels


def seen(frames: Frames) -> Pixels:
    """Return (frame, y, x) pixels, the target first; without frames that are invalid all over or of one grey level.

    A target of one grey level stays where no other frame shows anything.

    Raises
    ------
    UnsupportedError
        If no frame is valid.
    """
    order = [frames.target, *(n for n in range(len(frames.counts)) if n != frames.target)]
    valid = [n for n in order if frames.valid is None or frames.valid[n].any()]
    if not valid:
        raise UnsupportedError(f"none of the {len(order)} frames of the burst is valid")
    telling = [n for n in valid if frames.counts[n].min() < frames.counts[n].max()]
    return np.ascontiguousarray(frames.contrast.unit(frames.counts[telling or valid[:1]]))
