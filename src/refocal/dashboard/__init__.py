"""The dashboard: what a log says, live in a browser, and the operator's word back into the log.

It reads the log through `refocal.history` and shows images through `refocal.formats`; it knows neither the engine nor
the watch, so that it can run on another machine than they do, and it never writes anything but override lines.
"""

from refocal.dashboard.app import make_app
from refocal.dashboard.serving import serve

__all__ = ["make_app", "serve"]
