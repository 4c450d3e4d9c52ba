"""What a net answers on an image or a volume of any size: tiles with their full halo, on whatever runtime is there.

A published model runs through its ONNX file, on OpenVINO or ONNX Runtime; a net in memory, and a net of volumes, on
PyTorch.
"""

import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from refocal.core.blocks import plan
from refocal.core.errors import BadModelError, MissingExtraError
from refocal.core.values import Pixels, Reach
from refocal.models import header

if TYPE_CHECKING:
    from torch import nn

Answer = Callable[[Pixels], Pixels]
"""float32 (1, channel, y, x) to the answer of the net; the last axes are those of the image."""

TILE_PX = 768
"""Edge of the cores of tiles, pixels."""


def by_tiles(image: Pixels, answer: Answer, reach: Reach, tile_px: int = TILE_PX) -> Pixels:
    """Return the answer on a (channel, y, x) image without its batch axis; no pixel sees where tiles end.

    Sizes that are no multiple of what the net needs are mirrored up to one.
    """
    height, width = image.shape[1:]
    multiple = reach.multiple
    padded = np.pad(image, [(0, 0), *((0, -n % multiple) for n in (height, width))], mode="symmetric")
    halo = -(-reach.halo // multiple) * multiple
    size = max(1, tile_px // multiple) * multiple
    result: Pixels | None = None
    for block in plan(padded.shape[1:], (size, size), (halo, halo)):
        y, x = block.read.slices
        found = answer(np.ascontiguousarray(padded[None, :, y, x]))[0]
        if result is None:
            result = np.empty((*found.shape[:-2], *padded.shape[1:]), np.float32)
        (to_y, to_x), (of_y, of_x) = block.write.slices, block.write.inside(block.read)
        result[..., to_y, to_x] = found[..., of_y, of_x]
    if result is None:
        raise BadModelError(f"an image of shape {image.shape} has no pixels")
    return result[..., :height, :width]


def load(model: "str | nn.Module", nets: tuple[str, ...]) -> tuple[Answer, Reach]:
    """Return a model's answer and its reach.

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
    if not isinstance(model, str):
        return _torch(model)
    path = header.find(model)
    about = header.read(path)
    if about.net not in nets:
        raise BadModelError(f"{path.name} is a {about.net!r}; this segmenter needs one of: {', '.join(nets)}")
    if "affinity" not in nets:
        if importlib.util.find_spec("openvino"):
            return _openvino(header.onnx_bytes(path, about)), about.reach.value
        if importlib.util.find_spec("onnxruntime"):
            return _onnxruntime(header.onnx_bytes(path, about)), about.reach.value
    try:
        from refocal.models import weights
    except ModuleNotFoundError as error:
        raise MissingExtraError(f"{path.name} needs torch; it comes with: pip install 'refocal[train]'") from error
    return _torch(weights.load(path))


def probability(logits: Pixels) -> Pixels:
    """Return 1 / (1 + exp(-logits))."""
    odds: Pixels = np.tanh(0.5 * logits) * np.float32(0.5) + np.float32(0.5)
    return odds


def _openvino(onnx: bytes) -> Answer:
    import openvino

    core = openvino.Core()
    # Scores must not depend on the machine: float32, whatever else the CPU can do.
    compiled = core.compile_model(core.read_model(onnx), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def answer(image: Pixels) -> Pixels:
        found: Pixels = np.array(compiled({"image": image})["restored"])
        return found

    return answer


def _onnxruntime(onnx: bytes) -> Answer:
    import onnxruntime

    session = onnxruntime.InferenceSession(onnx, providers=["CPUExecutionProvider"])

    def answer(image: Pixels) -> Pixels:
        found: Pixels = session.run(["restored"], {"image": image})[0]
        return found

    return answer


def _torch(net: Any) -> tuple[Answer, Reach]:
    import torch

    net.eval()
    place = next(net.parameters()).device

    def answer(image: Pixels) -> Pixels:
        with torch.inference_mode():
            found: Pixels = net(torch.from_numpy(image).to(place)).float().cpu().numpy()
        return found

    return answer, net.reach
