"""Which runtime runs a trained model here."""

import importlib.util
from pathlib import Path
from typing import Any

from refocal.core import registry
from refocal.core.errors import BadOptionError, MissingExtraError, nearest
from refocal.core.values import LearnedRestorer
from refocal.models import runtimes

BACKENDS = runtimes.PACKAGES
"""Name of a backend (and of its restorer, NAME_model) to the package that it needs."""


def learned(model: str | Path, backend: str = "auto", **options: Any) -> LearnedRestorer:
    """Return a restorer for a trained model.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    backend
        `torch`, `openvino`, `onnx`, or `auto`: PyTorch if it is installed and sees a CUDA GPU, else OpenVINO, else
        ONNX Runtime, else PyTorch.
    **options
        Options of the restorer; see `refocal.parts.restorers`.

    Raises
    ------
    BadOptionError
        If there is no such backend, or it does not take an option.
    MissingExtraError
        If the backend, or all of them, are not installed.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise BadOptionError(f"no backend named {backend!r}.{nearest(backend, ('auto', *BACKENDS))}")
    kind = choose() if backend == "auto" else backend
    restorer: LearnedRestorer = registry.make("restorers", f"{kind}_model", model=str(model), **options)
    return restorer


def choose() -> str:
    """Return the backend that `auto` takes on this machine; imports torch only where there may be a CUDA GPU."""
    there = [name for name, package in BACKENDS.items() if importlib.util.find_spec(package)]
    if "torch" in there and _cuda():
        return "torch"
    for name in ("openvino", "onnx", "torch"):
        if name in there:
            return name
    raise MissingExtraError("no runtime for trained models is installed; one comes with: pip install openvino")


def _cuda() -> bool:
    # Importing torch costs more than a second: look for the driver's device first.
    if not any(Path(p).exists() for p in ("/dev/nvidiactl", "/dev/dxg", "C:/Windows/System32/nvcuda.dll")):
        return False
    sees: bool = runtimes.runtime("torch").sees_cuda()
    return sees
