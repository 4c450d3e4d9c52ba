"""A drawn section of neuropil with known truth, for the demonstration and for tests; everything follows from a seed."""

from refocal.imaging.phantom.section import draw_labelled, draw_section
from refocal.imaging.phantom.tiles import DemoTile, demo_tiles

__all__ = ["DemoTile", "demo_tiles", "draw_labelled", "draw_section"]
