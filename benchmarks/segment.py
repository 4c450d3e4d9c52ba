"""Choose the numbers of `contour_watershed` on sharp held-out sections: ARAND and VOI of every combination.

    python benchmarks/segment.py IMAGE[#FIRST:LAST] LABELS MODEL [--limit 8] [--binning 1] [--json]

Take sections that were neither trained on nor will be scored on. The best line becomes the default, and stays it.
"""

import argparse
import json
from itertools import product

import numpy as np

from refocal.core.values import Contrast
from refocal.learn.evaluate.cells import LABEL_METRICS, compare, cut_tiles
from refocal.learn.examples.labelled import read_labelled
from refocal.parts.segmenters.contour_watershed import ContourWatershed

SEED_LEVEL = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
SEED_PX = (8, 16, 32)
SMALLEST_PX = (32, 64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image")
    parser.add_argument("labels")
    parser.add_argument("model")
    parser.add_argument("--limit", type=int, default=8)
    parser.add_argument("--binning", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    tiles = list(cut_tiles(read_labelled([given.image], [given.labels]), volume=False, limit=given.limit))
    net = ContourWatershed(given.model, binning=given.binning)
    drawn = [net.draw(Contrast.of(tile.counts.dtype).unit(tile.counts[0])) for tile in tiles]
    rows = []
    for net.seed_level, net.seed_px, net.smallest_px in product(SEED_LEVEL, SEED_PX, SMALLEST_PX):
        scores = [compare(net.cells(page), tile.cells[0], {}) for page, tile in zip(drawn, tiles, strict=True)]
        options = {"seed_level": net.seed_level, "seed_px": net.seed_px, "smallest_px": net.smallest_px}
        rows.append(options | {name: round(float(np.mean([s[name] for s in scores])), 4) for name in LABEL_METRICS})
    for row in sorted(rows, key=lambda row: row["arand"]):
        print(json.dumps(row) if given.json else "  ".join(f"{name} {value:g}" for name, value in row.items()))


if __name__ == "__main__":
    main()
