"""A model's ONNX file on ONNX Runtime's CPU provider, float32: where OpenVINO is not to be had. Needs no torch."""

import onnxruntime

from refocal.core.errors import BadModelError, quoted
from refocal.core.values import Pixels
from refocal.models import header
from refocal.models.runtimes import Graph
from refocal.models.runtimes._named import NamedGraph


def open_graph(model: str, threads: int | None = None) -> Graph:
    """Open a model.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    threads
        Threads to compute with; None leaves it to ONNX Runtime (all cores).

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    ValueError
        If there are no threads.
    """
    if threads is not None and threads < 1:
        raise ValueError(f"threads must be at least 1, got {threads}")
    path = header.find(model)
    about = header.read(path)
    session = _session(header.onnx_bytes(path, about), threads)
    shapes = {i.name: [n if isinstance(n, int) else None for n in i.shape] for i in session.get_inputs()}
    only = onnxruntime.RunOptions()
    only.only_execute_path_to_fetches = True

    def run(output: str, inputs: dict[str, Pixels]) -> Pixels:
        try:
            result: Pixels = session.run([output], inputs, only)[0]
        except Exception as error:  # its errors share no base class
            raise BadModelError(f"ONNX Runtime cannot run the ONNX file: {quoted(str(error), 200)}") from error
        return result

    return NamedGraph(run, about, shapes)


def _session(onnx: bytes, threads: int | None) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors share no base class
        raise BadModelError("ONNX Runtime cannot use the ONNX file: get the model again, or export it again") from error
