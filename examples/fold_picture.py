"""Draw tissue, fold it, unfold it, and put all of it side by side: python examples/fold_picture.py PICTURE.png.

Above: the neighbours and the folded section between them, with the line that is found. Below: the flow (arrows from
where tissue was recorded to where it belongs), the restored section, where its pixels come from (blue moved, red from
the neighbours), and the truth. The neighbours are the drawn section itself, each bent by some pixels in its own way.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from scipy import ndimage

from refocal.core.values import INVENTED, MOVED, UNIT, Contrast, Counts, Example, Frames, Pixels
from refocal.imaging.fold_detection import DarkLine, Search
from refocal.imaging.phantom import draw_section
from refocal.parts.degradations.fold import Fold
from refocal.parts.restorers.fold import Fold as Unfold

EDGE, SHOWN, GAP = 480, 238, 6
EIGHT_BIT = Contrast.of(np.uint8)
BLUE, RED, YELLOW = (220, 130, 0), (40, 60, 230), (0, 210, 255)


def picture(path: Path) -> None:
    """Write two rows of four pictures."""
    rng = np.random.default_rng(14)
    flat = draw_section((EDGE, EDGE), 11, pixel_nm=8.0)
    planes = np.stack([bent(flat, rng), flat, bent(flat, rng)])
    fold = Fold(dark_px=9.0, lost_px=26.0, decay=0.06)
    frames = fold(Example(Frames(planes, 1, UNIT), flat), rng).frames
    frames = Frames(EIGHT_BIT.counts(frames.counts, np.uint8), 1, EIGHT_BIT)
    (got,) = Unfold()([frames])
    assert got.origin is not None and got.flow is not None  # noqa: PT018
    previous, folded, after = (shown(plane) for plane in frames.counts)
    restored = shown(got.counts)
    above = [previous, folded, lined(folded, Search()(EIGHT_BIT.unit(frames.image))), after]
    below = [
        arrows(restored, got.flow),
        restored,
        tinted(restored, got.origin),
        shown(EIGHT_BIT.counts(flat, np.uint8)),
    ]
    gap = np.full((SHOWN, GAP, 3), 255, np.uint8)
    rows = [np.hstack([part for view in row for part in (view, gap)][:-1]) for row in (above, below)]
    cv2.imwrite(
        str(path),
        np.vstack([rows[0], np.full((GAP, rows[0].shape[1], 3), 255, np.uint8), rows[1]]),
        [cv2.IMWRITE_PNG_COMPRESSION, 9],
    )


def bent(flat: Pixels, rng: np.random.Generator) -> Pixels:
    """Return a section whose content lies up to some pixels elsewhere, smoothly."""
    by = np.stack([ndimage.gaussian_filter(rng.standard_normal(flat.shape), 40) for _ in range(2)])
    by *= 4 / np.abs(by).max()
    moved: Pixels = ndimage.map_coordinates(flat, np.indices(flat.shape) + by, order=1, mode="nearest")
    return moved


def shown(counts: Counts) -> Counts:
    """Return a small BGR picture in 32 greys, which a PNG file holds in little space."""
    small = cv2.resize(counts, (SHOWN, SHOWN), interpolation=cv2.INTER_AREA)
    colour: Counts = cv2.cvtColor(small // 8 * 8, cv2.COLOR_GRAY2BGR)
    return colour


def lined(view: Counts, found: list[DarkLine]) -> Counts:
    """Draw the lines that were found."""
    for line in found:
        points = np.rint(np.array(line.points) * SHOWN / EDGE).astype(np.int32)
        view = cv2.polylines(view.copy(), [points], False, YELLOW, 2)
    return view


def arrows(view: Counts, flow: Pixels) -> Counts:
    """Draw from where tissue was recorded to where it belongs."""
    view, scale = view // 2 + 96, SHOWN / EDGE
    for y in range(14, EDGE, 28):
        for x in range(14, EDGE, 28):
            dy, dx = (float(part) for part in flow[:, y, x])
            if np.hypot(dy, dx) > 1:
                ends = [round((x + dx) * scale), round((y + dy) * scale)], [round(x * scale), round(y * scale)]
                cv2.arrowedLine(view, *ends, RED, 1, tipLength=0.35)
    return view


def tinted(view: Counts, origin: Counts) -> Counts:
    """Colour what was moved and what was invented."""
    small = cv2.resize(origin, (SHOWN, SHOWN), interpolation=cv2.INTER_NEAREST)
    for kind, colour in ((MOVED, BLUE), (INVENTED, RED)):
        view = np.where((small == kind)[..., None], (view // 2 + np.array(colour) // 2).astype(np.uint8), view)
    return view


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    picture(Path(sys.argv[1]))
