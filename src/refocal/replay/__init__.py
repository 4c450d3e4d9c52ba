"""Replay: write an acquisition as its microscope does, at any speed, with everything that goes wrong known beforehand.

A watcher can be tried, tested and measured without a microscope. All images are made before the clock starts, so that
writing costs little more than `write`.
"""

from refocal.replay.plan import Plan, Shares
from refocal.replay.run import Replayed, kinds, replay

__all__ = ["Plan", "Replayed", "Shares", "kinds", "replay"]
