"""Draw sections of neuropil with their cells, as two stacks: something to learn contours from, free of any terms.

    python examples/labelled_sections.py FOLDER [--sections 6] [--edge 768] [--pixel-nm 8]

writes FOLDER/drawn-8nm.tif and FOLDER/drawn-8nm-cells.tif.
"""

import argparse
from pathlib import Path

import numpy as np

from refocal.core.values import Contrast, ImageInfo
from refocal.imaging.phantom import draw_labelled
from refocal.parts.formats import create_image


def main() -> None:
    """Draw and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--sections", type=int, default=6)
    parser.add_argument("--edge", type=int, default=768, help="pixels")
    parser.add_argument("--pixel-nm", type=float, default=8.0)
    parser.add_argument("--seed", type=int, default=100)
    given = parser.parse_args()
    shape = (given.edge, given.edge)
    pairs = [draw_labelled(shape, given.seed + n, given.pixel_nm) for n in range(given.sections)]
    images = [Contrast(0, 255).counts(pixels, np.uint8) for pixels, _ in pairs]
    cells = [labels.astype(np.uint16) for _, labels in pairs]
    given.folder.mkdir(parents=True, exist_ok=True)
    name = f"drawn-{given.pixel_nm:g}nm"
    for end, pages in (("", images), ("-cells", cells)):
        info = ImageInfo((len(pages), *shape), pages[0].dtype, given.pixel_nm)
        create_image(given.folder / f"{name}{end}.tif", pages, like=info)


if __name__ == "__main__":
    main()
