"""The example of the demonstration: nine tiles of one drawn section, most of them degraded, each in its own way."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from refocal.core import registry
from refocal.core.values import UNIT, Contrast, Counts, Example, Frames, Pixels
from refocal.imaging.phantom.section import draw_section

GREY = Contrast(0, 255)
_NOISE = {"kind": "gaussian_noise", "sigma": 3.0}
_TROUBLE: tuple[tuple[str, tuple[dict[str, Any], ...]], ...] = (
    ("sharp", (_NOISE,)),
    ("defocus 1.2 px", ({"kind": "defocus", "sigma_px": 1.2}, _NOISE)),
    ("sharp", (_NOISE,)),
    (
        "astigmatism, 2.3 px by 0.5 px at 30 degrees",
        ({"kind": "astigmatism", "defocus_px": 1.4, "astigmatism_px": 0.9, "angle_deg": 30.0}, _NOISE),
    ),
    ("defocus 1.8 px", ({"kind": "defocus", "sigma_px": 1.8}, _NOISE)),
    ("noisy: 60 electrons per pixel", ({"kind": "shot_noise", "electrons": 60.0},)),
    ("hopeless: defocus 6 px, noise 16", ({"kind": "defocus", "sigma_px": 6.0}, {**_NOISE, "sigma": 16.0})),
    ("defocus 2.5 px", ({"kind": "defocus", "sigma_px": 2.5}, _NOISE)),
    ("blank resin", (_NOISE,)),
)


@dataclass(frozen=True, slots=True)
class DemoTile:
    """One tile of the demonstration."""

    name: str
    """Relative path, `/` between folders."""
    degradation: str
    """What went wrong, in words."""
    truth: Pixels
    """(y, x) in contrast units: what a perfect microscope would have seen."""
    counts: Counts
    """(y, x) uint8: what this one wrote; 0 and 255 are the contrast units 0 and 1."""
    pixel_nm: float
    stage_x_nm: float
    stage_y_nm: float


def demo_tiles(seed: int, *, edge: int = 1024, overlap: int = 96, pixel_nm: float = 4.0) -> list[DemoTile]:
    """Cut a drawn section into 3x3 overlapping tiles and degrade most of them, each in its own way.

    Two tiles stay sharp, three are defocused (1.2, 1.8, 2.5 px), one is astigmatic, one noisy, one hopeless (6 px and
    noise), and the last is blank resin.
    """
    stride = edge - overlap
    far = slice(2 * stride, 2 * stride + edge)
    # Membranes and sheaths reach a little over the edge of what they bound: keep them out of the blank tile.
    resin = slice(far.start - edge // 32, far.stop)
    section = draw_section((far.stop, far.stop), seed, pixel_nm, (resin, resin))
    tiles = []
    for number, (words, steps) in enumerate(_TROUBLE):
        row, column = divmod(number, 3)
        y, x = row * stride, column * stride
        truth = np.ascontiguousarray(section[y : y + edge, x : x + edge])
        example = Example(Frames(truth[None], contrast=UNIT, pixel_nm=pixel_nm), truth)
        degrade = registry.make("degradations", "chain", steps=steps)
        seen = degrade(example, np.random.default_rng((seed, number))).frames.image
        counts = GREY.counts(seen, np.uint8)
        name = f"section_0001/tile_r{row}_c{column}.tif"
        tiles.append(DemoTile(name, words, truth, counts, pixel_nm, x * pixel_nm, y * pixel_nm))
    return tiles
