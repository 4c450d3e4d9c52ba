"""Networks of others from BioImage.IO packages: a zip or folder with a description and ONNX weights, offline.

Nothing that a package brings is executed: YAML is read as data, ONNX is a graph; other kinds of weights (TorchScript,
PyTorch, Keras) are refused. The network must make one image of one image of the same size.

The network is given the image on the scale of the data type that the description names: 0 to 255 for uint8, the range
that is named for floats, and without one the counts as they are. Its own preprocessing and postprocessing lie around
it. A description without postprocessing leaves its answer on the scale inside of the network; then the preprocessing
is undone.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from refocal.core.errors import BadModelError
from refocal.core.values import UNIT, Frames, Pixels, Restored
from refocal.parts.restorers import _bioimageio_spec, _tiling

__all__ = ["BioImageIOModel"]

_UNTILED = _tiling.Tiling(1 << 62)


class BioImageIOModel:
    """Restore with a BioImage.IO model, float32 on OpenVINO.

    Images go through it as a whole, unless it takes one size only: then in windows of that size that fade into each
    other. Statistics that its preprocessing needs are those of the whole image.

    Parameters
    ----------
    path
        A package (.zip), its folder, or the description in that folder.
    threads
        Threads to compute with; None leaves it to OpenVINO (all cores).

    Raises
    ------
    BadModelError
        If it cannot be read, has no ONNX weights, is damaged, or does not make one image of one image.
    """

    def __init__(self, path: str, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise ValueError(f"threads must be at least 1, got {threads}")
        self.described = _bioimageio_spec.read(Path(path))
        self.reach = self.described.reach
        self._graph = _Graph(self.described, threads)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target image of each of the frames."""
        return [self._restored(frames) for frames in batch]

    def _restored(self, frames: Frames) -> Restored:
        about, image = self.described, frames.image
        scale = about.scale or frames.contrast
        given = scale.counts(frames.contrast.unit(image), np.float32) if about.scale else image.astype(np.float32)
        scaled, undo = about.before.applied(given)
        padded = np.pad(scaled, [(0, max(about.smallest - n, 0)) for n in scaled.shape], mode="reflect")
        (done,) = _tiling.restore([Frames(padded[None], contrast=UNIT)], self._graph, _UNTILED)
        answer = done.counts[: image.shape[0], : image.shape[1]]
        answer = about.after.applied(answer)[0] if about.after else undo(answer)
        return Restored(frames.contrast.counts(scale.unit(answer), image.dtype), contrast=frames.contrast)


class _Graph:
    """The network as the tiling knows it: (1, 1, y, x) to (1, 1, y, x), whatever the order of its axes."""

    channels = frames = 1
    model_sha256: str | None = None

    def __init__(self, about: _bioimageio_spec.Described, threads: int | None) -> None:
        self.reach = about.reach
        self._compiled, self._about = _compiled(about.onnx, threads), about

    def whole(self, image: Pixels, /) -> Pixels:
        """Restore an image."""
        try:
            answer = np.asarray(self._compiled([self._about.sent.arranged(image[0, 0])])[0])
        except RuntimeError as error:
            line = " ".join(str(error).split())[:200]
            raise BadModelError(f"the network does not take an image of shape {image.shape[2:]}: {line}") from error
        flat = self._about.got.flat(answer.astype(np.float32, copy=False))
        if flat.shape != image.shape[2:]:
            raise BadModelError(
                f"the network makes {flat.shape} of an image of shape {image.shape[2:]}; give one that keeps the size"
            )
        return flat[None, None]

    def gather(self, image: Pixels, share: Pixels, /) -> Pixels:
        """Such networks declare no context."""
        raise NotImplementedError

    def finish(self, image: Pixels, context: Pixels, /) -> Pixels:
        """Such networks declare no context."""
        raise NotImplementedError


def _compiled(onnx: bytes, threads: int | None) -> Any:
    settings: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
    if threads is not None:
        settings["INFERENCE_NUM_THREADS"] = threads
    core = openvino.Core()
    try:
        model = core.read_model(onnx)
        if len(model.inputs) != 1 or len(model.outputs) != 1:
            raise BadModelError(f"the ONNX file has {len(model.inputs)} inputs and {len(model.outputs)} outputs, not 1")
        return core.compile_model(model, "CPU", settings)
    except RuntimeError as error:
        line = " ".join(str(error).split())[:200]
        raise BadModelError(f"OpenVINO cannot use the ONNX weights: {line}") from error
