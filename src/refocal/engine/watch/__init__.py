"""Beside the running microscope: find, prove, grade, restore; see `refocal.engine.watch.watch`.

scanning   finds complete files by polling        ledger     what the log says, in memory
proof      believes them when their content does  journal    where events go: the log first
source     new files, endlessly                   overrides  what an operator says
backlog    queued tiles, endlessly                pulse      how far it is, how far behind
sink       the output, sometimes full             house      announces, beats, lists retakes
loops      two runs of the loop over one log      carrying   links or copies of what is kept
folder     what the scanner remembers of one      watch      puts it all together
"""

from refocal.engine.watch.answer import Answer
from refocal.engine.watch.carry import lightest
from refocal.engine.watch.housekeeping import Observer
from refocal.engine.watch.settings import Settings
from refocal.engine.watch.watch import Watch

__all__ = ["Answer", "Observer", "Settings", "Watch", "lightest"]
