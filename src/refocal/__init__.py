"""Grade electron-microscopy tiles, restore the soft ones, say what must be retaken, and show the proof.

    import refocal

    refocal.grade("tile.tif")                 # Grade(verdict='restore', sigma_px=1.6, ...)
    restored = refocal.restore("tile.tif")    # an array of the same shape and dtype

The names below are public; each is imported when it is first used. The code lies in rooms, each of which uses
only those below it:

    ui           command line, live page, report, napari
    testing      contract tests for parts that live in other packages
    api          grade, restore, load and watch
    microscope   beside a running one: calibration, monitoring, alerts, retake lists, and one to practise with
    learn        recipes, training, evaluation, export
    engine       the one loop `run`, and what it runs on: tiles, volumes, a watched folder, streams
    parts        formats, nets, gates, restorers, degradations ...: one part a file
    models       model files, calibrations, and the models that ship
    imaging      image mathematics on arrays
    eventlog     the log of a run, and its index
    core         values, protocols, errors, the registry of parts

"""

import importlib
from typing import TYPE_CHECKING, Any

from refocal.core.version import __version__

__all__ = [
    "ArraySink", "ArraySource",
    "BadModelError", "BadOptionError", "Block", "Box", "Contrast", "DivergedError", "Example", "Frames", "Gate",
    "Grade", "ImageInfo", "Job", "LaterError", "MissingExtraError", "Part", "Reach", "RefocalError", "Restored",
    "Restorer", "Sink", "Source", "Storage", "Summary", "TileError", "UnknownPartError", "UnreadableError",
    "UnsupportedError", "UsageError", "Watch", "WriteError", "__version__", "create_image", "grade", "load",
    "open_image", "restore", "restore_volume", "run", "run_job", "verify_volume", "watch",
]  # fmt: skip

if TYPE_CHECKING:
    from refocal.api import grade, load, restore, watch
    from refocal.core.blocks import Block, Box
    from refocal.core.errors import (
        BadModelError,
        BadOptionError,
        DivergedError,
        LaterError,
        MissingExtraError,
        RefocalError,
        TileError,
        UnknownPartError,
        UnreadableError,
        UnsupportedError,
        UsageError,
        WriteError,
    )
    from refocal.core.values import (
        Contrast,
        Example,
        Frames,
        Gate,
        Grade,
        ImageInfo,
        Reach,
        Restored,
        Restorer,
        Sink,
        Source,
    )
    from refocal.engine.job import Job, Part, run_job
    from refocal.engine.loop import Summary, run
    from refocal.engine.memory import ArraySink, ArraySource
    from refocal.engine.volumes import Storage, restore_volume, verify_volume
    from refocal.engine.watch import Watch
    from refocal.parts.formats import create_image, open_image

_HOMES = {
    "refocal.api": "grade load restore watch",
    "refocal.core.blocks": "Block Box",
    "refocal.core.errors": "BadModelError BadOptionError DivergedError LaterError MissingExtraError RefocalError "
    "TileError UnknownPartError UnreadableError UnsupportedError UsageError WriteError",
    "refocal.core.values": "Contrast Example Frames Gate Grade ImageInfo Reach Restored Restorer Sink Source",
    "refocal.engine.job": "Job Part run_job",
    "refocal.engine.loop": "Summary run",
    "refocal.engine.memory": "ArraySink ArraySource",
    "refocal.engine.volumes": "Storage restore_volume verify_volume",
    "refocal.engine.watch": "Watch",
    "refocal.parts.formats": "create_image open_image",
}
_HOME = {name: module for module, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'refocal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
