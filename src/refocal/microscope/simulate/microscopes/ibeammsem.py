"""The IBEAM-MSEM: scan by scan, slab by slab, all fields of a slab; PNG files, and metadata elsewhere."""

import numpy as np

from refocal.microscope.simulate.encode import Encoded, Grey, png
from refocal.microscope.simulate.image_pool import Pool
from refocal.microscope.simulate.plan import Plan
from refocal.microscope.simulate.writer import Recorder


def encode(image: Grey, plan: Plan) -> Encoded:
    """Return a tile as it is stored; PNG says nothing of the pixel size here."""
    return png(image)


def acquire(plan: Plan, pool: Pool, to: Recorder) -> None:
    """Write one slab, scanned again and again."""
    for scan in range(plan.sections):
        section = f"scan_{scan:03d}/slabs/slab_0000"
        for mfov in range(plan.mfovs):
            rng = np.random.default_rng((plan.seed, scan, mfov))
            folder = f"{section}/mfovs/mfov_{mfov:04d}"
            for beam in range(1, plan.beams + 1):
                variant = pool.draw(rng)
                identity = {"section": f"slab_0000.scan_{scan:03d}", "tile": f"m{mfov:06d}_b{beam:03d}"}
                to.tile(f"{folder}/sfov_{beam:03d}.png", variant, rng, **identity, field=mfov, beam=beam)
                if plan.thumbnails:
                    to.beside(f"{folder}/thumbnail_{beam:03d}.png", variant.thumbnail.data)
            to.settle()
        to.event("section", name=section, section=f"slab_0000.scan_{scan:03d}")
