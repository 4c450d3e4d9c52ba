"""Beside the running microscope: find, prove, grade, restore; see `refocal.engine.watch.watch`.

scanner        finds complete files by polling        state          what the log says, in memory
completeness   confirms it by their content           event_writer   where events go: the log first
source         new files, endlessly                   overrides      what an operator says
restore_queue  queued tiles, endlessly                heartbeat      progress and lag, for the log
sink           the output, sometimes full             housekeeping   announces, logs, lists retakes
loops          two runs of the loop over one log      carry          links or copies of what is kept
folder         what the scanner remembers of one      watch          puts it all together
"""

from refocal.engine.watch.answer import Answer
from refocal.engine.watch.carry import lightest
from refocal.engine.watch.housekeeping import Observer
from refocal.engine.watch.settings import Settings
from refocal.engine.watch.watch import Watch

__all__ = ["Answer", "Observer", "Settings", "Watch", "lightest"]
