"""A trained model on PyTorch: the choice on a CUDA GPU, and the reference that the other runtimes are held to."""

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from refocal.core.values import Frames, Pixels, Reach, Restored
from refocal.models import header, weights
from refocal.parts.restorers import _tiling
from refocal.parts.restorers._cuda_pipeline import BATCH_PX, Pipeline

__all__ = ["TorchModel"]

Precision = Literal["auto", "f32", "bf16"]


class TorchModel:
    """Restore with a model's weights on PyTorch.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a one-channel net in memory (moved to the device).
    device
        `auto` (a CUDA GPU if there is one), or any torch device.
    precision
        Arithmetic: `f32`, `bf16`, or `auto`: bf16 on a GPU, float32 on a CPU.
    whole_px, tile_px
        Images above `whole_px` pixels are cut into tiles with cores of `tile_px` squared pixels.
    batch_px, compiled
        On a GPU 8-bit images of one size go through together, up to `batch_px` pixels at once; `compiled` by
        torch.compile first.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    """

    def __init__(
        self,
        model: str | nn.Module,
        device: str = "auto",
        precision: Precision = "auto",
        whole_px: int = _tiling.WHOLE_PX,
        tile_px: int = _tiling.TILE_PX,
        batch_px: int = BATCH_PX,
        compiled: bool = False,
    ) -> None:
        if precision not in ("auto", "f32", "bf16"):
            raise ValueError(f"precision must be auto, f32 or bf16, got {precision!r}")
        self._tiling = _tiling.Tiling(whole_px, tile_px)
        place = _device(device)
        half = precision == "bf16" or (precision == "auto" and place.type == "cuda")
        net, channels = model, 1
        if not isinstance(net, nn.Module):
            path = header.find(model)  # type: ignore[arg-type]
            self.header = header.read(path)
            net, channels = weights.load(path), self.header.channels
        self.reach: Reach = cast("Reach", net.reach)
        self.graph = _Graph(net, channels, place, half)
        self._pipeline: Pipeline | None = None
        if place.type == "cuda" and channels == 1:
            self._pipeline = Pipeline(net, place, half, batch_px, compiled=compiled)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target image of each of the frames."""
        counts = _tiling.together(batch, self.reach, self._tiling) if self._pipeline and batch else None
        if self._pipeline is None or counts is None:
            return _tiling.restore(batch, self.graph, self.reach, self._tiling)
        restored = self._pipeline(counts, [f.contrast for f in batch])
        height, width = batch[0].image.shape
        return [Restored(r[:height, :width].copy(), contrast=f.contrast) for r, f in zip(restored, batch, strict=True)]

    def gather(self, frames: Frames, /) -> NDArray[np.float64]:
        """Return what the core of a piece adds to the context of its field."""
        return _tiling.gather(frames, self.graph, self.reach, self._tiling)


class _Graph:
    """A net as `_tiling.Graph`: numpy in, numpy out."""

    def __init__(self, net: nn.Module, channels: int, device: torch.device, half: bool) -> None:
        self.channels = channels
        self._net = weights.channels_last(net.to(device))
        self._device, self._half = device, half

    def whole(self, image: Pixels, /) -> Pixels:
        return self._call("forward", image)

    def gather(self, image: Pixels, share: Pixels, /) -> Pixels:
        return self._call("gather", image, share)

    def finish(self, image: Pixels, context: Pixels, /) -> Pixels:
        return self._call("finish", image, context)

    def _call(self, method: str, *arrays: Pixels) -> Pixels:
        tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(self._device) for a in arrays]
        tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            result: Pixels = getattr(self._net, method)(*tensors).float().cpu().numpy()
        return result


def _device(device: str) -> torch.device:
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError as error:
        raise ValueError(f"device must be auto or a torch device, got {device!r}") from error
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} asked for, but torch sees no CUDA GPU: use auto or cpu")
    return place
