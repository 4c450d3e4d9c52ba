"""The one ONNX graph of a model, run by the names of its inputs and outputs (`refocal.learn.export.onnx_graph`)."""

from collections.abc import Callable

import numpy as np

from refocal.core.values import Pixels
from refocal.models.header import ModelHeader

Run = Callable[[str, dict[str, Pixels]], Pixels]
"""(name of an output, named inputs) -> that output."""


class NamedGraph:
    """A `Graph` from a runtime that runs ONNX.

    `context` is the shape of the context input, None for a net without one.
    """

    def __init__(self, run: Run, about: ModelHeader, context: tuple[int, ...] | None) -> None:
        self.channels, self.frames, self.reach = about.channels, about.frames, about.reach.value
        self.model_sha256 = about.tensors_sha256
        self._run = run
        self._whole_only = context is None
        self._nothing = np.zeros(context or (), np.float32)

    def whole(self, image: Pixels, /) -> Pixels:
        """Return the answer to an image by itself."""
        if self._whole_only:
            return self._run("restored", {"image": image})
        share = self._shares(image)
        share.fill(1 / share.size)
        return self._run("restored", {"image": image, "share": share, "context": self._nothing})

    def gather(self, image: Pixels, share: Pixels, /) -> Pixels:
        """Return the context of an image's nodes weighed by their share."""
        return self._run("gathered", {"image": image, "share": share, "context": self._nothing})

    def finish(self, image: Pixels, context: Pixels, /) -> Pixels:
        """Restore an image under a context."""
        return self._run("restored", {"image": image, "share": self._shares(image), "context": context})

    def _shares(self, image: Pixels) -> Pixels:
        return np.zeros((1, 1, *(n // self.reach.multiple for n in image.shape[2:])), np.float32)
