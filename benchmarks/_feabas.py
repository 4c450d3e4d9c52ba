"""Stitch one section with FEABAS and print what it found as JSON; run by an interpreter that has FEABAS, not refocal.

    python _feabas.py stitch/stitch_coord/S1R1.txt [msem]

FEABAS reads its settings from the working folder, so a folder for them is made first. The settings of the matching and
the optimisation are FEABAS's defaults.
"""

import json
import os
import sys
import tempfile
from pathlib import Path

MATCHING = {"min_overlap_width": 25, "margin": 100, "num_workers": 1}
MATCHER = {"conf_thresh": 0.33, "residue_mode": "threshold", "pad": True, "sigma": 2.5, "coarse_downsample": 0.5}


def main() -> None:
    """Match, relax, and print the numbers."""
    coordinates, msem = Path(sys.argv[1]).resolve(), "msem" in sys.argv[2:]
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "configs").mkdir()
        settings = f"parallel_framework: process\ncpu_budget: 1\nworking_directory: {folder}\n"
        (Path(folder) / "configs" / "general_configs.yaml").write_text(settings)
        os.chdir(folder)
        print(json.dumps(stitch(str(coordinates), msem)))


def stitch(coordinates: str, msem: bool) -> dict:
    """Return the overlaps, the matches of each pair of tiles, and the residues, all in pixels."""
    import feabas
    import numpy as np
    from feabas.stitcher import Stitcher

    stitcher = Stitcher.from_coordinate_file(coordinates)
    _, error = stitcher.dispatch_matchers(matcher_config=MATCHER, **MATCHING)
    pairs = [
        {
            "tiles": [stitcher.imgrelpaths[int(i)] for i in pair],
            "points": len(xy0),
            "shift": np.average(xy0 - xy1, axis=0, weights=np.ravel(weight)).tolist(),
            "confidence": float(np.mean(weight)),
        }
        for pair, (xy0, xy1, weight) in stitcher.matches.items()
    ]
    found = {
        "tiles": stitcher.num_tiles, "resolution": stitcher.resolution, "overlaps": len(stitcher.overlaps),
        "pairs": pairs, "error": bool(error), "residue": None,
    }  # fmt: skip
    groups = [int(name.split("/")[0]) for name in stitcher.imgrelpaths] if msem else [0] * stitcher.num_tiles
    found["groups"] = groups
    if pairs:
        stitcher.set_groupings(np.array(groups, np.int32))
        stitcher.initialize_meshes([75, 150, 300], soft_top=0.2)
        stitcher.optimize_translation(target_gear=feabas.MESH_GEAR_FIXED, residue_threshold=0.5)
        stitcher.optimize_elastic(target_gear=feabas.MESH_GEAR_MOVING, tol=1e-4, residue_mode="huber", residue_len=5)
        found["residue"] = float(np.nanmean(stitcher.match_residues()))
    return found


if __name__ == "__main__":
    main()
