"""The script that writes sessions."""

import numpy as np

from refocal.microscope.simulate.encode import tiff


def encode(image, plan):
    return tiff(image, plan.pixel_nm)


def acquire(plan, pool, to):
    to.append("session.log", "begun\n")
    for session in range(plan.sections):
        for tile in range(plan.tiles):
            rng = np.random.default_rng((plan.seed, session, tile))
            name = f"session_{session:02d}/tile_{tile:04d}.tif"
            to.tile(name, pool.draw(rng), rng, section=f"session_{session:02d}", tile=f"{tile:04d}")
        to.settle()
