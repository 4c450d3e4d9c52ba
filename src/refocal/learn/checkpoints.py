"""Checkpoints of training: tensors and plain values, read without running anything that a file may hold."""

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
    except Exception as error:  # torch has no one error for a file that it cannot read
        if type(error).__name__ == "UnpicklingError":
            reason = "holds more than tensors and plain values, and is not opened"
        else:
            reason = f"cannot be read ({quoted(str(error), 120)})"
        raise BadModelError(f"{path} {reason}: {advice}") from error
    if not isinstance(content, dict) or not content.keys() >= _KEYS:
        raise BadModelError(f"{path} is no checkpoint of a training run: {advice}")
    return content
