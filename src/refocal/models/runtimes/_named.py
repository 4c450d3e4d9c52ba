"""The one ONNX graph of a model, run by the names of its inputs and outputs (`refocal.learn.export.onnx_graph`)."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from refocal.core.errors import BadModelError
from refocal.core.values import Pixels
from refocal.models.header import MAX_REACH_PX, ModelHeader

_OTHER = "get the model again, or publish it again"

Run = Callable[[str, dict[str, Pixels]], Pixels]
"""(name of an output, named inputs) -> that output."""


class NamedGraph:
    """A `Graph` from a runtime that runs ONNX.

    `shapes` are those of the inputs by name; None stands for a size that is free.

    Raises
    ------
    BadModelError
        If the inputs are not those that the header speaks of.
    """

    def __init__(self, run: Run, about: ModelHeader, shapes: Mapping[str, Sequence[int | None]]) -> None:
        context = _context(about, shapes)
        self.channels, self.frames, self.reach = about.channels, about.frames, about.reach.value
        self.model_sha256 = about.tensors_sha256
        self._run, self._name = run, about.name
        self._whole_only = context is None
        self._nothing = np.zeros(context or (), np.float32)

    def whole(self, image: Pixels, /) -> Pixels:
        """Return the answer to an image by itself."""
        if self._whole_only:
            return self._restored({"image": image})
        share = self._shares(image)
        share.fill(1 / share.size)
        return self._restored({"image": image, "share": share, "context": self._nothing})

    def gather(self, image: Pixels, share: Pixels, /) -> Pixels:
        """Return the context of an image's nodes weighed by their share."""
        return self._run("gathered", {"image": image, "share": share, "context": self._nothing})

    def finish(self, image: Pixels, context: Pixels, /) -> Pixels:
        """Restore an image under a context."""
        return self._restored({"image": image, "share": self._shares(image), "context": context})

    def _restored(self, inputs: dict[str, Pixels]) -> Pixels:
        answer, shape = self._run("restored", inputs), inputs["image"].shape
        if answer.ndim != 4 or (answer.shape[0], *answer.shape[2:]) != (1, *shape[2:]):
            raise BadModelError(f"the ONNX file of {self._name} makes {answer.shape} of an image of {shape}: {_OTHER}")
        return answer

    def _shares(self, image: Pixels) -> Pixels:
        return np.zeros((1, 1, *(n // self.reach.multiple for n in image.shape[2:])), np.float32)


def _context(about: ModelHeader, shapes: Mapping[str, Sequence[int | None]]) -> tuple[int, ...] | None:
    """Check the inputs of a graph, and return the shape of its context; None for a net without one."""
    wanted = {"image", "share", "context"} if about.reach.context else {"image"}
    if set(shapes) != wanted:
        raise BadModelError(f"the ONNX file of {about.name} has other inputs than its header says: {_OTHER}")
    image, window = tuple(shapes["image"]), about.reach.window
    if len(image) != 4 or image[2:] != (window, window):  # free sizes are None, and so is no window
        raise BadModelError(
            f"the ONNX file of {about.name} takes images of shape {image}, its header says other: {_OTHER}"
        )
    if not about.reach.context:
        return None
    context = tuple(size for size in shapes["context"] if size is not None and 0 < size <= MAX_REACH_PX)
    if len(context) != 3 or len(shapes["context"]) != 3:
        raise BadModelError(f"the ONNX file of {about.name} takes a context of no fixed, small shape: {_OTHER}")
    return context
