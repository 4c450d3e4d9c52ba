"""A trained model on ONNX Runtime, float32: where OpenVINO is not to be had. Needs no torch."""

from collections.abc import Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from refocal.core.errors import BadModelError
from refocal.core.values import Frames, Pixels, Restored
from refocal.models import header
from refocal.parts.restorers import _tiling

__all__ = ["ONNXModel"]


class ONNXModel:
    """Restore with a model's ONNX file on ONNX Runtime's CPU provider.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    threads
        Threads to compute with; None leaves it to ONNX Runtime (all cores).
    whole_px, tile_px
        Images above `whole_px` pixels are cut into tiles with cores of `tile_px` squared pixels.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    """

    def __init__(
        self,
        model: str,
        threads: int | None = None,
        whole_px: int = _tiling.WHOLE_PX,
        tile_px: int = _tiling.TILE_PX,
    ) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self._tiling = _tiling.Tiling(whole_px, tile_px)
        path = header.find(model)
        self.header = header.read(path)
        self.reach = self.header.reach.value
        session = _session(header.onnx_bytes(path, self.header), threads)
        shapes = {i.name: i.shape for i in session.get_inputs()}
        context = tuple(shapes["context"]) if "context" in shapes else None
        only = onnxruntime.RunOptions()
        only.only_execute_path_to_fetches = True

        def run(output: str, inputs: dict[str, Pixels]) -> Pixels:
            result: Pixels = session.run([output], inputs, only)[0]
            return result

        self.graph = _tiling.Named(run, self.header, context)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target image of each of the frames."""
        return _tiling.restore(batch, self.graph, self.reach, self._tiling)

    def gather(self, frames: Frames, /) -> NDArray[np.float64]:
        """Return what the core of a piece adds to the context of its field."""
        return _tiling.gather(frames, self.graph, self.reach, self._tiling)


def _session(onnx: bytes, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        raise BadModelError("ONNX Runtime cannot use the ONNX file: get the model again or publish it anew") from error
