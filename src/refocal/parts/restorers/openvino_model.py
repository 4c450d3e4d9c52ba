"""A trained model on OpenVINO: the default on a CPU. Needs no torch."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import openvino
from numpy.typing import NDArray

from refocal.core.errors import BadModelError
from refocal.core.values import Frames, Pixels, Restored
from refocal.models import header
from refocal.parts.restorers import _tiling

__all__ = ["OpenVINOModel"]

Precision = Literal["auto", "f32", "bf16"]


class OpenVINOModel:
    """Restore with a model's ONNX file on OpenVINO's CPU plug-in.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    precision
        Arithmetic: `f32`, `bf16` (about twice as fast, less than 0.02 dB lost), or `auto`: bf16 where the CPU has it.
    threads
        Threads to compute with; None leaves it to OpenVINO (all cores).
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
        precision: Precision = "auto",
        threads: int | None = None,
        whole_px: int = _tiling.WHOLE_PX,
        tile_px: int = _tiling.TILE_PX,
    ) -> None:
        if precision not in ("auto", "f32", "bf16"):
            raise ValueError(f"precision must be auto, f32 or bf16, got {precision!r}")
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self._tiling = _tiling.Tiling(whole_px, tile_px)
        path = header.find(model)
        self.header = header.read(path)
        self.reach = self.header.reach.value
        compiled = _compile(header.onnx_bytes(path, self.header), precision, threads)
        shapes = {i.any_name: i.partial_shape for i in compiled.inputs}
        context = tuple(shapes["context"].to_shape()) if "context" in shapes else None

        def run(output: str, inputs: dict[str, Pixels]) -> Pixels:
            result: Pixels = np.asarray(compiled(inputs)[output])
            return result

        self.graph = _tiling.Named(run, self.header, context)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target image of each of the frames."""
        return _tiling.restore(batch, self.graph, self.reach, self._tiling)

    def gather(self, frames: Frames, /) -> NDArray[np.float64]:
        """Return what the core of a piece adds to the context of its field."""
        return _tiling.gather(frames, self.graph, self.reach, self._tiling)


def _compile(onnx: bytes, precision: Precision, threads: int | None) -> openvino.CompiledModel:
    core = openvino.Core()
    if precision == "auto":
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        return core.compile_model(core.read_model(onnx), "CPU", settings)
    except RuntimeError as error:
        raise BadModelError("OpenVINO cannot use the ONNX file: get the model again or publish it anew") from error
