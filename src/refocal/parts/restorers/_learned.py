"""What all restorers with a trained model are: images through the graph of a runtime, whole or in exact tiles."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import BadOptionError
from refocal.core.values import Contrast, Frames, Restored
from refocal.models import runtimes
from refocal.models.runtimes import Graph
from refocal.parts.restorers import _tiling

Together = Callable[[NDArray[np.uint8], Sequence[Contrast]], NDArray[np.uint8]]
"""Restores 8-bit images of one size, (n, y, x), under one contrast each."""


class Learned:
    """Restore with a graph; each kind of restorer opens its own, and adds nothing else.

    `together` is a faster way for 8-bit images of one size that go through as a whole, where the runtime has one.
    """

    def __init__(self, graph: Graph, tiling: _tiling.Tiling, together: Together | None = None) -> None:
        self.reach, self.model_sha256 = graph.reach, graph.model_sha256
        self._graph, self._tiling, self._together = graph, tiling, together

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target image of each of the frames."""
        counts = _tiling.together(batch, self.reach, self._tiling) if self._together and batch else None
        if self._together is None or counts is None:
            return _tiling.restore(batch, self._graph, self._tiling)
        restored = self._together(counts, [f.contrast for f in batch])
        height, width = batch[0].image.shape
        return [Restored(r[:height, :width].copy(), contrast=f.contrast) for r, f in zip(restored, batch, strict=True)]

    def gather(self, frames: Frames, /) -> NDArray[np.float64]:
        """Return what the core of a piece adds to the context of its field."""
        return _tiling.gather(frames, self._graph, self._tiling)


def open_as(kind: str, model: Any, **options: Any) -> Graph:
    """Open a model as a kind of restorer does: `openvino_model`, `onnx_model` or `torch_model`.

    Raises
    ------
    BadOptionError
        If it is another kind.
    """
    kinds = {f"{name}_model": name for name in runtimes.PACKAGES}
    if kind not in kinds:
        raise BadOptionError(f"runtime must be one of {', '.join(kinds)}, got {kind!r}")
    return runtimes.open_graph(model, kinds[kind], **options)
