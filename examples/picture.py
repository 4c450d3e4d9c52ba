"""Put recorded, restored and true crops of a demo tile side by side: python examples/picture.py DEMO PICTURE.png.

DEMO is the output of `refocal demo -o DEMO`. Optionally followed by the tile, and the row and column of the crop.
"""

import sys
from pathlib import Path

import numpy as np

from refocal.core.blocks import Box
from refocal.core.values import ImageInfo
from refocal.parts.formats import create_image, open_image

EDGE = 320
GAP = 8


def picture(demo: Path, path: Path, tile: str = "section_0001/tile_r1_c1.tif", top: int = 352, left: int = 352) -> None:
    """Write one row of three crops of EDGE px with white gaps."""
    box = Box((top, left), (top + EDGE, left + EDGE))
    row = np.full((EDGE, 3 * EDGE + 2 * GAP), 255, np.uint8)
    for place, folder in enumerate(("raw", "restored", "truth")):
        with open_image(demo / folder / tile) as image:
            row[:, place * (EDGE + GAP) :][:, :EDGE] = image.read(0, box)
    create_image(path, [row], like=ImageInfo((1, *row.shape), row.dtype))


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4, 6):
        sys.exit(__doc__)
    folder, output, *rest = sys.argv[1:]
    picture(Path(folder), Path(output), *rest[:1], *map(int, rest[1:]))
