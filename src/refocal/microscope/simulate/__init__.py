"""Replay: write an acquisition as its microscope does, at any speed, with everything that goes wrong known beforehand.

A watcher can be tried, tested and measured without a microscope. All images are made before the clock starts, so that
writing costs little more than `write`.
"""

from refocal.microscope.simulate.plan import Plan, Shares
from refocal.microscope.simulate.run import Replayed, kinds, replay

__all__ = ["Plan", "Replayed", "Shares", "kinds", "replay"]
