"""A model in 8-bit integers, for CPUs: calibrated on the user's own tiles, measured on others of them.

    q = clip(round(x / step) + zero)    of activations: one step and zero a layer, from their range on the tiles
                                        of weights: one step an output channel, zero = 0 (Jacob et al. 2018)

The 3x3 convolutions that keep the number of channels, the trunk of every net here, become products of integers. All
else stays as it is: first and last layers, the sums of residual blocks, the global context, the image that is added.
The result is a model like any other, whose graph holds the steps (QDQ); OpenVINO runs it in integers and the rest in
bfloat16. Its tensors are those of the model that it was made of.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from onnxruntime import quantization

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.errors import BadModelError, BadOptionError
from refocal.core.values import Example, Pixels
from refocal.engine import backends
from refocal.learn.evaluate.scores import Truth, degrade
from refocal.models import header, torch_weights
from refocal.models.header import ModelHeader
from refocal.parts.metrics.psnr import psnr

HELD_OUT = 4
"""One tile of four measures what is lost, and calibrates nothing."""
MOST_DB = 0.1


@dataclass(frozen=True, slots=True)
class Lost:
    """PSNR of restored held-out tiles against the tiles, dB, in float32 and in 8 bit: (tile,) each."""

    float32: NDArray[np.float64]
    int8: NDArray[np.float64]

    @property
    def db(self) -> float:
        """The mean loss."""
        return float((self.float32 - self.int8).mean())

    def __str__(self) -> str:
        """Say it in one line."""
        lost = self.float32 - self.int8
        return (
            f"{self.db:.3f} dB lost (s.d. {lost.std():.3f}, at most {lost.max():.3f}, {lost.size} held-out tiles; "
            f"float32 {self.float32.mean():.2f} dB, int8 {self.int8.mean():.2f} dB)"
        )


def quantise(model: str | Path, tiles: Sequence[Truth], out: Path, most_db: float = MOST_DB, seed: int = 0) -> Lost:
    """Write a model in 8-bit integers: NAME.safetensors, NAME.onnx, and NAME.md, its card.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    tiles
        Tiles in focus of the specimens that it will restore, two or more. They are degraded as in its training.
    out
        NAME.safetensors.
    most_db
        Nothing is written if more is lost on the held-out tiles.
    seed
        Of the degradation.

    Raises
    ------
    BadOptionError
        If there are too few tiles, tiles below the net's window, or more than `most_db` is lost.
    BadModelError
        If the model restores no single images, or has no layer to quantise.
    """
    path = header.find(model)
    about = header.read(path)
    recipe: Mapping[str, Any] = about.recipe
    if about.frames != 1 or "degradation" not in recipe:
        raise BadModelError(f"{about.name} restores no single images, or does not say how they were degraded")
    if len(tiles) < 2:
        raise BadOptionError(f"one tile of {HELD_OUT} measures the loss: give two or more, got {len(tiles)}")
    spoil = registry.make("degradations", recipe["degradation"], **recipe.get("degradation_options", {}))
    examples = [degrade(tile, spoil, seed) for tile in tiles]
    held = examples[::HELD_OUT]
    shown = [example for i, example in enumerate(examples) if i % HELD_OUT]
    graph = _quantised(header.onnx_bytes(path, about), about, shown)
    named = about.model_copy(update={"name": out.stem, "onnx_sha256": hashlib.sha256(graph).hexdigest()})
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / out.name
        made.with_suffix(".onnx").write_bytes(graph)
        torch_weights.save(torch_weights.load(path), named, made)
        lost = Lost(_scores(path, held, precision="f32"), _scores(made, held))
        if not lost.db <= most_db:
            raise BadOptionError(f"{about.name} in int8: {lost}; {most_db:g} dB are allowed, so nothing was written")
        files = {".onnx": graph, out.suffix: made.read_bytes(), ".md": _card(path, named, lost, len(shown)).encode()}
    for suffix, content in files.items():
        with writing(out.with_suffix(suffix)) as part:
            part.write_bytes(content)
    return lost


def _scores(path: Path, examples: Sequence[Example], **options: str) -> NDArray[np.float64]:
    restorer = backends.learned(path, "openvino", **options)
    restored = restorer([example.frames for example in examples])
    unit = [example.frames.contrast.unit(r.counts) for example, r in zip(examples, restored, strict=True)]
    return np.array([psnr(got, example.truth) for got, example in zip(unit, examples, strict=True)])


def _quantised(content: bytes, about: ModelHeader, examples: Sequence[Example]) -> bytes:
    """Return the graph with its trunk in integers, calibrated on what it sees of the examples."""
    graph = onnx.load_from_string(content)
    _single_precision(graph)
    # Says that shapes are known, as they are; without it every call warns.
    graph.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    layers = _trunk(graph)
    if not layers:
        raise BadModelError(
            f"{about.name} has no 3x3 convolution that keeps the number of channels: nothing to quantise"
        )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            graph, out, _Inputs(graph, about, examples), quantization.QuantFormat.QDQ, nodes_to_quantize=layers,
            op_types_to_quantize=["Conv"], per_channel=True, activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8, extra_options={"OpTypesToExcludeOutputQuantization": ["Conv"]},
        )  # fmt: skip
        made = onnx.load(out)
    del made.metadata_props[:]
    result: bytes = made.SerializeToString(deterministic=True)
    return result


def _single_precision(graph: onnx.ModelProto) -> None:
    """Undo the storage as float16: weights behind a cast are not seen as weights."""
    constants = {tensor.name: tensor for tensor in graph.graph.initializer}
    nodes = []
    for node in graph.graph.node:
        stored = constants.get(node.input[0]) if node.op_type == "Cast" else None
        if stored is not None and stored.data_type == TensorProto.FLOAT16:
            wide = numpy_helper.to_array(stored).astype(np.float32)
            stored.CopyFrom(numpy_helper.from_array(wide, node.output[0]))
        else:
            nodes.append(node)
    del graph.graph.node[:]
    graph.graph.node.extend(nodes)


def _trunk(graph: onnx.ModelProto) -> list[str]:
    shapes = {tensor.name: tuple(tensor.dims) for tensor in graph.graph.initializer}
    found = []
    for node in graph.graph.node:
        shape = shapes.get(node.input[1]) if node.op_type == "Conv" else None
        strides = next((list(a.ints) for a in node.attribute if a.name == "strides"), [1, 1])
        if shape and shape[0] == shape[1] and shape[2:] == (3, 3) and strides == [1, 1]:
            found.append(node.name)
    return found


class _Inputs(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Feeds the graph with what the microscope saw of the examples."""

    def __init__(self, graph: onnx.ModelProto, about: ModelHeader, examples: Sequence[Example]) -> None:
        given = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim] for i in graph.graph.input}
        self._context = given.get("context")
        self._about = about
        self._feeds = self._each(examples)

    def get_next(self) -> dict[str, Pixels] | None:
        """Return the next inputs."""
        return next(self._feeds, None)

    def _each(self, examples: Sequence[Example]) -> Iterator[dict[str, Pixels]]:
        m, window = self._about.reach.multiple, self._about.reach.window
        for example in examples:
            image = example.frames.contrast.unit(example.frames.image)
            if window is not None and min(image.shape) < window:
                raise BadOptionError(f"{self._about.name} sees windows of {window} px, got a tile of {image.shape}")
            y, x = (window or n - n % m for n in image.shape)
            feed = {"image": np.repeat(image[None, None, :y, :x], self._about.channels, 1)}
            if self._context is not None:
                feed["share"] = np.full((1, 1, y // m, x // m), m * m / (y * x), np.float32)
                feed["context"] = np.zeros(self._context, np.float32)
            yield feed


def _card(source: Path, about: ModelHeader, lost: Lost, shown: int) -> str:
    original = source.with_suffix(".md")
    rest = original.read_text(encoding="utf-8") if original.is_file() else ""
    return f"""# {about.name}

`{source.stem}` in 8-bit integers, for CPUs with OpenVINO. Calibrated on {shown} tiles; {lost}.
Both were degraded as in its training. The graph (SHA-256 `{about.onnx_sha256}`) is the quantised one; the tensors
beside it are those of `{source.stem}`, so PyTorch runs it in float.

What follows is the card of `{source.stem}`.

{rest}"""
