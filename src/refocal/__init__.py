"""refocal: grade electron-microscopy tiles, restore the soft ones, say what must be retaken, and show the proof."""

import importlib
from typing import TYPE_CHECKING, Any

from refocal.version import __version__

__all__ = ["Frames", "Restored", "__version__", "load", "restore", "run", "watch"]

if TYPE_CHECKING:
    from refocal.api import load, restore, watch
    from refocal.engine import run
    from refocal.values import Frames, Restored

_HOMES = {
    "Frames": "refocal.values",
    "Restored": "refocal.values",
    "load": "refocal.api",
    "restore": "refocal.api",
    "run": "refocal.engine",
    "watch": "refocal.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'refocal' has no attribute {name!r}")
