"""What a net answers on an image or a volume of any size: tiles with their full halo, on whatever runtime is there.

A published model runs through its ONNX file, on OpenVINO or ONNX Runtime; a net in memory, and a net of volumes, on
PyTorch.
"""

import importlib.util
from typing import TYPE_CHECKING

import numpy as np

from refocal.core.blocks import plan
from refocal.core.errors import BadModelError
from refocal.core.values import Pixels
from refocal.models import header, runtimes
from refocal.models.runtimes import Graph

if TYPE_CHECKING:
    from torch import nn

TILE_PX = 768
"""Edge of the cores of tiles, pixels."""


def by_tiles(image: Pixels, graph: Graph, tile_px: int = TILE_PX) -> Pixels:
    """Return the answer on a (channel, y, x) image without its batch axis; no pixel sees where tiles end.

    Sizes that are no multiple of what the net needs are mirrored up to one.
    """
    height, width = image.shape[1:]
    multiple = graph.reach.multiple
    padded = np.pad(image, [(0, 0), *((0, -n % multiple) for n in (height, width))], mode="symmetric")
    halo = -(-graph.reach.halo // multiple) * multiple
    size = max(1, tile_px // multiple) * multiple
    result: Pixels | None = None
    for block in plan(padded.shape[1:], (size, size), (halo, halo)):
        y, x = block.read.slices
        found = graph.whole(np.ascontiguousarray(padded[None, :, y, x]))[0]
        if result is None:
            result = np.empty((*found.shape[:-2], *padded.shape[1:]), np.float32)
        (to_y, to_x), (of_y, of_x) = block.write.slices, block.write.inside(block.read)
        result[..., to_y, to_x] = found[..., of_y, of_x]
    if result is None:
        raise BadModelError(f"an image of shape {image.shape} has no pixels")
    return result[..., :height, :width]


def load(model: "str | nn.Module", nets: tuple[str, ...]) -> Graph:
    """Open a model, or a net in memory where it is.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a net in memory.
    nets
        The nets that the segmenter understands.

    Raises
    ------
    UnknownPartError, BadModelError, MissingExtraError
        If there is no such model, it is another kind of net, or nothing here can run it.
    """
    # Scores must not depend on the machine: float32, whatever else it can do.
    if not isinstance(model, str):
        return runtimes.open_graph(model, "torch", device=None, precision="f32")
    path = header.find(model)
    about = header.read(path)
    if about.net not in nets:
        raise BadModelError(f"{path.name} is a {about.net!r}; this segmenter needs one of: {', '.join(nets)}")
    if "affinity" not in nets:
        if importlib.util.find_spec("openvino"):
            return runtimes.open_graph(path, "openvino", precision="f32")
        if importlib.util.find_spec("onnxruntime"):
            return runtimes.open_graph(path, "onnx")
    return runtimes.open_graph(path, "torch", device="cpu", precision="f32")


def probability(logits: Pixels) -> Pixels:
    """Return 1 / (1 + exp(-logits))."""
    odds: Pixels = np.tanh(0.5 * logits) * np.float32(0.5) + np.float32(0.5)
    return odds
