"""A plain folder of TIFF tiles in folders of sections; nobody says what is complete."""

import numpy as np

from refocal.microscope.simulate.encode import Encoded, Grey, tiff
from refocal.microscope.simulate.image_pool import Pool
from refocal.microscope.simulate.plan import Plan
from refocal.microscope.simulate.writer import Recorder


def encode(image: Grey, plan: Plan) -> Encoded:
    """Return a tile as a plain TIFF."""
    return tiff(image, plan.pixel_nm)


def acquire(plan: Plan, pool: Pool, to: Recorder) -> None:
    """Write all sections."""
    for section in range(1, plan.sections + 1):
        folder = f"section_{section:04d}"
        for tile in range(1, plan.tiles + 1):
            rng = np.random.default_rng((plan.seed, section, tile))
            name = f"tile_{tile:04d}"
            to.tile(f"{folder}/{name}.tif", pool.draw(rng), rng, section=folder, tile=name)
        to.settle()
        to.event("section", name=folder, section=folder)
