"""A model's ONNX file on OpenVINO's CPU plug-in: the default on a CPU. Needs no torch."""

from typing import Any, Literal

import numpy as np
import openvino

from refocal.core.errors import BadModelError, quoted
from refocal.core.values import Pixels
from refocal.models import header
from refocal.models.runtimes import Graph
from refocal.models.runtimes._named import NamedGraph

Precision = Literal["auto", "f32", "bf16"]


def open_graph(model: str, precision: Precision = "auto", threads: int | None = None) -> Graph:
    """Open a model.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    precision
        Arithmetic: `f32`, `bf16` (about twice as fast, less than 0.02 dB lost), or `auto`: bf16 where the CPU has it.
    threads
        Threads to compute with; None leaves it to OpenVINO (all cores).

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    ValueError
        If an option is none of these.
    """
    if precision not in ("auto", "f32", "bf16"):
        raise ValueError(f"precision must be auto, f32 or bf16, got {precision!r}")
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    path = header.find(model)
    about = header.read(path)
    compiled = _compiled(header.onnx_bytes(path, about), precision, threads)
    shapes = {i.any_name: _sizes(i.partial_shape) for i in compiled.inputs}

    def run(output: str, inputs: dict[str, Pixels]) -> Pixels:
        try:
            result: Pixels = np.asarray(compiled(inputs)[output])
        except (KeyError, RuntimeError) as error:
            raise BadModelError(f"OpenVINO cannot run the ONNX file: {quoted(str(error), 200)}") from error
        return result

    return NamedGraph(run, about, shapes)


def _compiled(onnx: bytes, precision: Precision, threads: int | None) -> openvino.CompiledModel:
    core = openvino.Core()
    if precision == "auto":
        precision = "bf16" if "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") else "f32"
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    try:
        return core.compile_model(core.read_model(onnx), "CPU", settings)
    except RuntimeError as error:
        raise BadModelError("OpenVINO cannot use the ONNX file: get the model again, or export it again") from error


def _sizes(shape: openvino.PartialShape) -> tuple[int | None, ...]:
    if shape.rank.is_dynamic:
        return ()
    return tuple(None if size.is_dynamic else size.get_length() for size in shape)
