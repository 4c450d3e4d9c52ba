"""A simulated burst and what becomes of it: python examples/burst_picture.py PICTURE.png.

From left to right: one frame, the mean of five registered frames, restored by burst-em, the truth. Drawn tissue.
"""

import sys
from pathlib import Path

import numpy as np

from refocal.core import registry
from refocal.core.values import UNIT, Contrast, Example, Frames, ImageInfo
from refocal.imaging.phantom import draw_section
from refocal.parts.formats import create_image

EDGE, GAP, FRAMES = 288, 8, 5
GREY = Contrast(0, 255)


def picture(path: Path) -> None:
    """Write one row of four crops with white gaps."""
    truth = draw_section((EDGE, EDGE), 5)
    stream = registry.make("degradations", "stream", length_px=6.0, electrons=60.0)
    seen = stream(Example(Frames(np.stack([truth] * FRAMES), contrast=UNIT), truth), np.random.default_rng(2))
    burst = Frames(GREY.counts(seen.frames.counts, np.uint8), 0, GREY)
    made = [registry.make("restorers", "merge", by="mean"), registry.make("restorers", "burst", model="burst-em")]
    crops = [burst.image, *(restorer([burst])[0].counts for restorer in made), GREY.counts(truth, np.uint8)]
    row = np.full((EDGE, len(crops) * (EDGE + GAP) - GAP), 255, np.uint8)
    for place, crop in enumerate(crops):
        row[:, place * (EDGE + GAP) :][:, :EDGE] = crop
    create_image(path, [row], like=ImageInfo((1, *row.shape), row.dtype))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    picture(Path(sys.argv[1]))
