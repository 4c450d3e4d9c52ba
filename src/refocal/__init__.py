"""refocal: grade electron-microscopy tiles, restore the soft ones, say what must be retaken, and show the proof."""

import importlib
from typing import TYPE_CHECKING, Any

from refocal.core.version import __version__

__all__ = ["Frames", "Restored", "__version__", "load", "restore", "run", "watch"]

if TYPE_CHECKING:
    from refocal.api import load, restore, watch
    from refocal.core.values import Frames, Restored
    from refocal.engine.loop import run

_HOMES = {
    "Frames": "refocal.core.values",
    "Restored": "refocal.core.values",
    "load": "refocal.api",
    "restore": "refocal.api",
    "run": "refocal.engine.loop",
    "watch": "refocal.api",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'refocal' has no attribute {name!r}")
