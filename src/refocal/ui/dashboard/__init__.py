"""The dashboard: what a log says, live in a browser, and the operator's verdict back into the log.

It reads the log through `refocal.eventlog.index` and shows images through `refocal.parts.formats`; it knows neither the
engine nor the watch, so that it can run on another machine than they do, and it never writes anything but override
lines.
"""

from refocal.ui.dashboard.app import make_app
from refocal.ui.dashboard.server import serve

__all__ = ["make_app", "serve"]
