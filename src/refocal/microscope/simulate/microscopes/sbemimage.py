"""SBEMimage: slice by slice, grid by grid, tile by tile; each inspected, and perhaps taken again under its name."""

from datetime import datetime, timedelta

import numpy as np

from refocal.microscope.simulate.encode import Encoded, Grey, tiff
from refocal.microscope.simulate.image_pool import Pool, Variant
from refocal.microscope.simulate.plan import Plan
from refocal.microscope.simulate.writer import Recorder

_STACK = "stack"
_OVERLAP_PX = 200
_SLICE_NM = 25
_SLICE_SECONDS = 90


def encode(image: Grey, plan: Plan) -> Encoded:
    """Return a tile as the program stores it: an OME-TIFF with four resolutions."""
    return tiff(image, plan.pixel_nm, name=_STACK, levels=4)


def acquire(plan: Plan, pool: Pool, to: Recorder) -> None:
    """Write the whole stack."""
    logs = _Logs(plan, to)
    for number in range(plan.sections):
        overview = pool.draw(np.random.default_rng((plan.seed, number)), only_sharp=True).thumbnail.data
        to.beside(f"overviews/ov000/{_STACK}_ov000_s{number:05d}.ome.tif", overview)
        for grid in range(plan.grids):
            for tile in range(plan.tiles):
                rng = np.random.default_rng((plan.seed, number, grid, tile))
                _tile(plan, grid, tile, number, pool.draw(rng), rng, logs, to)
        logs.slice_complete(number)
        to.event("section", name=f"s{number:05d}", section=f"s{number:05d}")


class _Logs:
    """The image list and the metadata of one session."""

    def __init__(self, plan: Plan, to: Recorder) -> None:
        self._plan, self._to = plan, to
        time = f"{plan.start:%Y%m%d%H%M%S}"
        self._list, self._metadata = (f"meta/logs/{kind}_{time}.txt" for kind in ("imagelist", "metadata"))
        grids = list(range(plan.grids))
        session = {
            "timestamp": self._stamp(0),
            "eht": 1.5,
            "beam_current": 300,
            "slice_thickness": _SLICE_NM,
            "grids": grids,
            "grid_origins": [[0.0, 0.0] for _ in grids],
            "rotation_angles": [0 for _ in grids],
            "pixel_sizes": [plan.pixel_nm for _ in grids],
            "dwell_times": [0.8 for _ in grids],
        }
        to.append(self._list, "")
        to.append(self._metadata, f"SESSION: {session}\n")
        to.append(f"meta/logs/config_{time}.txt", "[sys]\nversion = 2026\n")

    def accepted(self, name: str, grid: int, tile: int, number: int, x_nm: int, y_nm: int) -> None:
        """Add the two lines that an accepted tile gets."""
        z_nm = number * _SLICE_NM
        windows = name.replace("/", "\\")
        self._to.append(self._list, f"{windows};{x_nm};{y_nm};{z_nm};{number}\n")
        metadata = {
            "timestamp": self._stamp(number),
            "tileid": f"{grid:04d}.{tile:04d}.{number:05d}",
            "filename": name,
            "tile_width": self._plan.width,
            "tile_height": self._plan.height,
            "wd_stig_xy": [0.00512, 0.1, -0.2],
            "glob_x": x_nm,
            "glob_y": y_nm,
            "glob_z": z_nm,
            "slice_counter": number,
        }
        self._to.append(self._metadata, f"TILE: {metadata}\n")

    def slice_complete(self, number: int) -> None:
        """Add the line that a slice gets when it is over."""
        done = {"timestamp": self._stamp(number + 1), "completed_slice": number}
        self._to.append(self._metadata, f"SLICE COMPLETE: {done}\n")

    def _stamp(self, number: int) -> int:
        when: datetime = self._plan.start + timedelta(seconds=_SLICE_SECONDS * number)
        return int((when - datetime(1970, 1, 1)).total_seconds())


def _tile(
    plan: Plan,
    grid: int,
    tile: int,
    number: int,
    variant: Variant,
    rng: np.random.Generator,
    logs: _Logs,
    to: Recorder,
) -> None:
    folder = f"tiles/g{grid:04d}/t{tile:04d}"
    stem = f"{_STACK}_g{grid:04d}_t{tile:04d}_s{number:05d}"
    name = f"{folder}/{stem}.ome.tif"
    columns = max(int(plan.tiles**0.5), 1)
    x_nm = round((tile % columns) * (plan.width - _OVERLAP_PX) * plan.pixel_nm + grid * 1e6)
    y_nm = round((tile // columns) * (plan.height - _OVERLAP_PX) * plan.pixel_nm)
    if rng.random() < plan.shares.rejected:
        # Grabbed, written, looked at, put aside, deleted: then everything once more under the same name.
        to.beside(f"{folder}/grab.tif", variant.thumbnail.data)
        to.beside(name, variant.file.data)
        to.remove(f"{folder}/grab.tif")
        to.beside(f"tiles/rejected/{stem}_1.ome.tif", variant.file.data)
        to.remove(name)
    to.beside(f"{folder}/grab.tif", variant.thumbnail.data)
    identity = {"section": f"s{number:05d}", "tile": f"g{grid:04d}.t{tile:04d}", "grid": grid}
    to.tile(name, variant, rng, **identity, x_nm=x_nm, y_nm=y_nm)
    to.settle()
    to.remove(f"{folder}/grab.tif")
    to.append(f"meta/stats/g{grid:04d}_t{tile:04d}.dat", f"{number};128.0;20.0\n")
    logs.accepted(name, grid, tile, number, x_nm, y_nm)
