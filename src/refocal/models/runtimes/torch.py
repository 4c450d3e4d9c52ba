"""A model's weights, or a net in memory, on PyTorch: the choice on a CUDA GPU, and the reference for other runtimes."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import safetensors.torch
import torch
from torch import nn

from refocal.core.values import Pixels, Reach
from refocal.models import header, torch_weights

Precision = Literal["auto", "f32", "bf16"]
_Compute = Callable[..., torch.Tensor]


class TorchGraph:
    """A `Graph` from a net, which is moved to the device; `half` computes in bfloat16.

    Parameters
    ----------
    net
        In evaluation mode.
    channels, frames, reach, model_sha256
        As in `Graph`.
    """

    def __init__(
        self,
        net: nn.Module,
        channels: int,
        frames: int,
        reach: Reach,
        device: torch.device,
        *,
        half: bool,
        model_sha256: str | None = None,
    ) -> None:
        self.channels, self.frames, self.reach, self.model_sha256 = channels, frames, reach, model_sha256
        self.net: Any = torch_weights.channels_last(net.to(device))
        self.device, self.half = device, half

    def whole(self, image: Pixels, /) -> Pixels:
        """Return the answer to an image by itself."""
        return self._answer(self.net, image)

    def gather(self, image: Pixels, share: Pixels, /) -> Pixels:
        """Return the context of an image's nodes weighed by their share."""
        return self._answer(cast("_Compute", self.net.gather), image, share)

    def finish(self, image: Pixels, context: Pixels, /) -> Pixels:
        """Restore an image under a context."""
        return self._answer(cast("_Compute", self.net.finish), image, context)

    def _answer(self, compute: _Compute, *arrays: Pixels) -> Pixels:
        tensors = [torch.from_numpy(np.ascontiguousarray(a)).to(self.device) for a in arrays]
        tensors[0] = tensors[0].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            result: Pixels = compute(*tensors).float().cpu().numpy()
        return result


def open_graph(model: str | nn.Module, device: str | None = "auto", precision: Precision = "auto") -> TorchGraph:
    """Open a model.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a net in memory: it is moved to the device, and put into
        evaluation mode.
    device
        `auto` (a CUDA GPU if there is one), any torch device, or None: where the net is.
    precision
        Arithmetic: `f32`, `bf16`, or `auto`: bf16 on a GPU, float32 on a CPU.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, it cannot be used, or a net in memory declares too little of itself.
    ValueError
        If an option is none of these.
    """
    if precision not in ("auto", "f32", "bf16"):
        raise ValueError(f"precision must be auto, f32 or bf16, got {precision!r}")
    place = None if device is None else _device(device)
    if isinstance(model, nn.Module):
        net, sha256 = model.eval(), None
        about = torch_weights.declared(net)
        channels, frames, reach = about.inputs, about.frames, about.reach
    else:
        path = header.find(model)
        told = header.read(path)
        net = torch_weights.load(path)
        channels, frames, reach = told.channels, told.frames, torch_weights.declared(net).reach
        sha256 = told.tensors_sha256
    place = place or next((p.device for p in net.parameters()), torch.device("cpu"))
    half = precision == "bf16" or (precision == "auto" and place.type == "cuda")
    return TorchGraph(net, channels, frames, reach, place, half=half, model_sha256=sha256)


def on_grey(net: Any, channels: int, device: str) -> Callable[[Pixels], Pixels]:
    """Return a function from image to image, (y, x): a net of others is shown copies, and its channels are averaged."""
    place = torch.device(device)
    net = net.to(place).eval()

    def restored(image: Pixels) -> Pixels:
        seen = torch.from_numpy(np.ascontiguousarray(image))[None, None].to(place)
        with torch.inference_mode():
            result: Pixels = net(seen.expand(-1, channels, -1, -1))[0].mean(0).float().cpu().numpy()
        return result

    return restored


def tensors(path: Path) -> Any:
    """Return what a file of weights holds: .safetensors, or a torch file with nothing but tensors and containers.

    Runs no code that a file may hold. The libraries have no one error for a file that they cannot read.
    """
    if path.suffix == ".safetensors":
        return safetensors.torch.load(path.read_bytes())
    return torch.load(path, map_location="cpu", weights_only=True)


def sees_cuda() -> bool:
    """Say whether there is a CUDA GPU that this PyTorch can use."""
    return torch.cuda.is_available()


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
