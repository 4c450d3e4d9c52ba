"""Burst: registered frames of one field to one image, through a net of the kind `burst` or `deblurgan_v2`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.errors import BadModelError, UnsupportedError
from refocal.core.values import Frames, Pixels, Reach, Restored
from refocal.parts.restorers import _multiplane
from refocal.parts.restorers._learned import open_as
from refocal.parts.restorers._valid_frames import seen

__all__ = ["Burst"]

_TILE_PX = 1024


class Burst:
    """Restore one image of all frames; tiles change nothing, they save memory.

    Frames must be registered. A net that takes a fixed number of them is given the target and the frames after it,
    again from the start where they are too few.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a net in memory (which runs on PyTorch).
    runtime
        The restorer that runs it: `openvino_model`, `onnx_model` or `torch_model`.
    tile_px
        Images are cut into tiles with cores of this many pixels squared. The nets of the papers need 256 to stay below
        3 GiB with five frames.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, it cannot be used, or it takes single images only.
    """

    def __init__(self, model: Any, runtime: str = "openvino_model", tile_px: int = _TILE_PX) -> None:
        if tile_px < 1:
            raise ValueError(f"tile_px must be at least 1, got {tile_px}")
        self._tile_px = tile_px
        if isinstance(model, str | Path):
            self._graph = open_as(runtime, model)
        else:
            self._graph = open_as("torch_model", model, precision="f32")
        if self._graph.frames == 1:
            raise BadModelError(f"{_name(model)} restores single images: give a model for bursts, or restore frames")
        # The restorer itself cuts images; what a net needs around a pixel is its own business.
        self.reach = Reach()

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore each of the bursts.

        Raises
        ------
        UnsupportedError
            If no frame of a burst is valid, or pixels are not finite.
        """
        return [self._one(frames) for frames in batch]

    def _one(self, frames: Frames) -> Restored:
        planes = seen(frames)
        if not np.isfinite(planes).all():
            raise UnsupportedError("the burst holds pixels that are not finite")
        if count := self._graph.frames:
            planes = planes[[n % len(planes) for n in range(count)]]
        unit = self._through(planes)
        return Restored(frames.contrast.counts(unit, frames.counts.dtype), contrast=frames.contrast)

    def _through(self, planes: Pixels) -> Pixels:
        if self._graph.reach.window is not None:
            return _multiplane.windowed(self._graph, planes)
        everywhere = np.ones(planes.shape[1:], np.bool_)
        restored: Pixels = _multiplane.through(self._graph, planes, everywhere, 1, self._tile_px)[0]
        return restored


def _name(model: Any) -> str:
    return str(model) if isinstance(model, str | Path) else type(model).__name__
