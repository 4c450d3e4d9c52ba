"""Checkpoints of training: tensors and plain values, read without running anything that a file may hold."""

import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch

from refocal.core.errors import BadModelError, quoted

_KEYS = frozenset({"recipe", "step", "net", "mean"})


def read(path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds.

    Raises
    ------
    BadModelError
        If it cannot be read, holds anything but tensors and plain values, or is no checkpoint of a training run.
    """
    advice = "give another folder, or remove the file and start again"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise BadModelError(f"{path} holds more than tensors and plain values, and is not opened: {advice}") from error
    except (OSError, EOFError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, AssertionError,
            zipfile.BadZipFile) as error:  # fmt: skip
        raise BadModelError(f"{path} cannot be read ({quoted(str(error), 120)}): {advice}") from error
    if not isinstance(content, dict) or not content.keys() >= _KEYS:
        raise BadModelError(f"{path} is no checkpoint of a training run: {advice}")
    return content
