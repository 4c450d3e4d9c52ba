"""A net as ONNX: one graph for the whole image and for both passes over tiles, weights stored as float16.

Inputs and outputs (axis order batch, channel, y, x; y and x any multiples of `reach.multiple`):

    image (1, c, y, x)                                    -> restored (1, c, y, x); (1, c, w, w) with reach.window = w
    image (1, frame * c, y, x) of a net for bursts        -> restored (1, c, y, x)
    with reach.context also
    share (1, 1, y / multiple, x / multiple), context (1, w, w)  -> gathered (1, w, w)

`gathered` is the sum of the nodes weighed by their share; `restored` is finished under `gathered + context`. So the
whole image takes share = 1 / nodes and context = 0; tiles first take their core's share of all nodes and their
gathered contexts are added; then each tile takes share = 0 and that sum.
"""

import copy
import hashlib
import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from refocal.core.atomic import writing
from refocal.models import torch_weights
from refocal.models.header import ModelHeader, ReachHeader
from refocal.parts.nets._merged_gran import fold

# Smaller tensors (shapes, scalars) stay as they are.
_STORE_AS_HALF = 64


def publish(net: nn.Module, header: ModelHeader, path: str | Path) -> ModelHeader:
    """Write NAME.safetensors and NAME.onnx with the same float16 values and return the header as written.

    The net itself is rounded to float16 values, so that it computes what the files compute.
    """
    path = Path(path)
    torch_weights.round_to(net)
    digest = export_onnx(net, header, path.with_suffix(".onnx"))
    return torch_weights.save(net, header.model_copy(update={"onnx_sha256": digest}), path)


def export_onnx(net: nn.Module, header: ModelHeader, path: str | Path) -> str:
    """Write a net as ONNX, whole or not at all, and return the SHA-256 of the file.

    Parameters
    ----------
    net
        A net of the family `nets`; rounded to float16 values in the file, itself left alone.
    header
        Its name, channels and reach are used.
    path
        NAME.onnx.
    """
    model = _graph(torch_weights.round_to(copy.deepcopy(net)), header)
    _store_as_half(model)
    _strip(model)
    model.producer_name, model.producer_version = "refocal", header.refocal
    model.graph.name = header.name
    content: bytes = model.SerializeToString(deterministic=True)
    with writing(Path(path)) as part:
        part.write_bytes(content)
    return hashlib.sha256(content).hexdigest()


def export_alone(net: nn.Module, header: ModelHeader, path: str | Path) -> str:
    """Write a net as an ONNX graph of one input and one output, for programs that know nothing of shares and contexts.

    A net with a global context gathers it over whatever image it is given, so only whole images give its answer.
    """
    reach = header.reach.model_copy(update={"context": False})
    return export_onnx(net, header.model_copy(update={"reach": reach}), path)


def reach_of(net: nn.Module) -> ReachHeader:
    """Return a net's declared reach as a header has it."""
    reach = torch_weights.declared(net).reach
    return ReachHeader(halo=reach.halo, multiple=reach.multiple, window=reach.window, context=reach.context)


class _Both(nn.Module):
    """The same net with `both` as its forward pass."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, image: Tensor, share: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        restored, gathered = self.net.both(image, share, context)  # type: ignore[operator]
        return restored, gathered


def _graph(net: nn.Module, header: ModelHeader) -> onnx.ModelProto:
    reach, channels = header.reach.value, header.channels
    m = reach.multiple
    # Two different sizes well above the multiple: the exporter takes equal or tiny sizes for constants.
    cells = (24, 20) if m < 8 else (6, 5)
    image = torch.rand(1, channels, cells[0] * m, cells[1] * m)
    y, x = torch.export.Dim("y", min=2), torch.export.Dim("x", min=2)
    shapes: list[dict[int, object]] = [{2: m * y, 3: m * x}] if m > 1 else [{2: y, 3: x}]
    if reach.window is not None:  # it is run on that size only
        image, shapes = torch.rand(1, channels, reach.window, reach.window), [{}]
    if header.frames == 0:
        image = torch.rand(1, 3 * channels, *image.shape[2:])
        shapes[0][1] = channels * torch.export.Dim("frame", min=2)
    inputs: tuple[Tensor, ...] = (image,)
    module, names, results = net, ["image"], ["restored"]
    if reach.context:
        with torch.no_grad():
            context = torch.zeros_like(net.gather(image))  # type: ignore[operator]
        inputs = (image, torch.full((1, 1, *cells), 1 / (cells[0] * cells[1])), context)
        shapes += [{2: y, 3: x}, {}]
        module = fold(net) or _Both(net)
        names, results = ["image", "share", "context"], ["restored", "gathered"]
    was = net.training
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module.eval(), inputs, dynamo=True, dynamic_shapes=tuple(shapes), input_names=names, output_names=results,
            external_data=False, verbose=False, optimize=True,
        )  # fmt: skip
    net.train(was)
    if program is None:
        raise TypeError("torch.onnx.export returned no program")
    return program.model_proto


def _store_as_half(model: onnx.ModelProto) -> None:
    """Store large constants that float16 can hold as such, with a cast behind them that runtimes fold on loading."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and len(tensor.raw_data) >= 4 * _STORE_AS_HALF:
            name = tensor.name
            exact = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):
                half = exact.astype("float16")
            if (half != exact).any():  # a merged layer's kernel, which the export made in float32
                continue
            tensor.CopyFrom(numpy_helper.from_array(half, name + ".half"))
            casts.append(helper.make_node("Cast", [name + ".half"], [name], to=TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _strip(model: onnx.ModelProto) -> None:
    """Drop what the exporter noted for debugging: it names files of the machine that wrote the model."""
    graph = model.graph
    del graph.value_info[:], model.metadata_props[:], graph.metadata_props[:]
    for item in (*graph.node, *graph.input, *graph.output, *graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""
