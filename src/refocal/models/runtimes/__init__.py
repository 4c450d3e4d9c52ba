"""Nets of model files on the runtimes: numpy in, numpy out.

Each runtime is a module of this package with a function `open_graph(model, ...)`, and the only one that imports the
package it stands for. `open_graph` below picks it by name, so that nothing is imported that is not used.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from refocal.core.errors import BadOptionError, MissingExtraError, nearest
from refocal.core.values import Pixels, Reach

PACKAGES: Mapping[str, str] = {"torch": "torch", "openvino": "openvino", "onnx": "onnxruntime"}
"""Name of a runtime to the package that it needs."""
_EXTRAS = {"torch": "refocal[train]", "openvino": "openvino", "onnx": "refocal[onnx]"}


class Graph(Protocol):
    """A net on some runtime. Images are float32 (1, channel, y, x), shares (1, 1, y / multiple, x / multiple)."""

    channels: int
    """Channels of an image; of one frame for a net that takes any number of frames."""
    frames: int
    """Frames of a burst that it looks at; 0 for any number of them."""
    reach: Reach
    model_sha256: str | None
    """SHA-256 of the model's tensors; None for a net in memory."""

    def whole(self, image: Pixels, /) -> Pixels:
        """Return the answer to an image by itself."""
        ...

    def gather(self, image: Pixels, share: Pixels, /) -> Pixels:
        """Return the context of an image's nodes weighed by their share; only for nets with a global context."""
        ...

    def finish(self, image: Pixels, context: Pixels, /) -> Pixels:
        """Restore an image under a context; only for nets with a global context."""
        ...


def runtime(name: str) -> ModuleType:
    """Import a runtime: its module in this package.

    Raises
    ------
    BadOptionError
        If there is no such runtime; the message names the nearest one.
    MissingExtraError
        If its package is not installed.
    """
    if name not in PACKAGES:
        raise BadOptionError(f"no runtime named {name!r}.{nearest(name, PACKAGES)}")
    try:
        return importlib.import_module(f"{__name__}.{name}")
    except ModuleNotFoundError as error:
        package = (error.name or PACKAGES[name]).partition(".")[0]
        raise MissingExtraError(f"{package} is not installed; it comes with: pip install '{_EXTRAS[name]}'") from error


def open_graph(model: Any, name: str, **options: Any) -> Graph:
    """Open a model on a runtime.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file; for the runtime `torch` also a net in memory.
    name
        `openvino`, `onnx` or `torch`.
    **options
        Options of `open_graph` of that runtime.

    Raises
    ------
    BadOptionError, MissingExtraError
        If there is no such runtime, or it is not installed.
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    """
    made: Graph = runtime(name).open_graph(str(model) if isinstance(model, Path) else model, **options)
    return made
