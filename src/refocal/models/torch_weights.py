"""Model files, torch side: a net and its header to NAME.safetensors and back. Never unpickles anything."""

import hashlib
import json
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.errors import BadModelError, UsageError, quoted
from refocal.core.values import Net, Pixels
from refocal.models import header
from refocal.models.header import ModelHeader

_MODULES_FOR_EACH_TENSOR = 8
"""Modules and parameters of a net for each tensor of its file, at most; those of refocal have up to 3."""


def declared(net: nn.Module) -> Net:
    """Return what a net declares of itself.

    Raises
    ------
    BadModelError
        If it declares too little; says what is missing.
    """
    if not isinstance(net, Net):
        missing = [name for name in ("inputs", "outputs", "frames", "reach") if not hasattr(net, name)]
        raise BadModelError(
            f"the net {type(net).__name__} does not declare {', '.join(missing)}; see `Net` in refocal.core.values"
        )
    return net


def round_to(net: nn.Module, dtype: torch.dtype = torch.float16) -> nn.Module:
    """Round every parameter and buffer of a net, in place, to what a file holds (see `save`); they stay float32."""
    with torch.no_grad():
        for tensor in net.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(_stored(tensor, dtype).float())
    return net


def _stored(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    stored = tensor.to(dtype)
    # Batch norms in a row can have variances beyond float16.
    return stored if stored.isfinite().all() else tensor.float()


def channels_last(net: nn.Module) -> nn.Module:
    """Put a net, in place, into the memory order that is fastest for images; torch has no such order for volumes."""
    volumes = any(parameter.ndim > 4 for parameter in net.parameters())
    return net if volumes else net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def save(net: nn.Module, header: ModelHeader, path: str | Path, dtype: torch.dtype = torch.float16) -> ModelHeader:
    """Write a net with its header to `path`, whole or not at all.

    Parameters
    ----------
    net
        Any net of the family `nets`.
    header
        What to say about it; its tensor hash is filled in.
    path
        NAME.safetensors.
    dtype
        How floating-point tensors are stored: float16 (half the size, about 3 digits) or float32. A tensor with values
        beyond what it can hold is stored as float32.

    Returns
    -------
    ModelHeader
        The header as written.
    """
    state = {
        name: (_stored(t, dtype) if t.is_floating_point() else t).detach().cpu().contiguous()
        for name, t in net.state_dict().items()
    }
    return write(state, header, path)


def write(state: dict[str, Tensor], header_: ModelHeader, path: str | Path) -> ModelHeader:
    """Write tensors with a header to `path`, whole or not at all, and return the header as written."""
    path = Path(path)
    bare = safetensors.torch.save(state)
    size = int.from_bytes(bare[:8], "little")
    table, data = json.loads(bare[8 : 8 + size]), bare[8 + size :]
    header_ = header_.model_copy(update={"tensors_sha256": hashlib.sha256(data).hexdigest()})
    table["__metadata__"] = {"refocal": header_.model_dump_json(), "seal": "0" * 64}
    text = json.dumps(table, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors start at a multiple of eight bytes
    with writing(path) as part:
        part.write_bytes(header.seal(len(text).to_bytes(8, "little") + text) + data)
    return header_


def load(path: str | Path) -> nn.Module:
    """Build the net that a model file describes, with its weights, float32, in evaluation mode.

    Raises
    ------
    BadModelError
        If the file cannot be used, or its tensors do not fit the net that it names.
    """
    path = Path(path)
    about = header.read(path)
    try:
        state = safetensors.torch.load(path.read_bytes())
        _refuse_larger(about, state)
        net: nn.Module = registry.make("nets", about.net, **about.options)
        net.load_state_dict({n: t.float() if t.is_floating_point() else t for n, t in state.items()})
    except (UsageError, RuntimeError, ValueError, safetensors.SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise BadModelError(f"{path.name} does not fit the net {about.net!r} of this refocal: {reason}") from error
    return net.eval()


def _refuse_larger(about: ModelHeader, state: dict[str, Tensor]) -> None:
    """Refuse options that make other tensors than a file has; nothing is allocated, and the first one too many ends it.

    Raises
    ------
    BadModelError
        If the net has other tensors.
    """
    largest = max((size for tensor in state.values() for size in tensor.shape), default=0)
    for option, value in about.options.items():
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(n, int | float) and abs(n) > max(largest, 1024) for n in numbers):
            raise BadModelError(f"{option} is larger than anything in the file")
    builder, left = threading.get_ident(), [_MODULES_FOR_EACH_TENSOR * (len(state) + 1)]

    def count(*_: object) -> None:
        left[0] -= threading.get_ident() == builder
        if left[0] < 0:
            raise BadModelError("its options make a net that is larger than the file")

    with (
        torch.device("meta"),
        register_module_parameter_registration_hook(count),
        register_module_module_registration_hook(count),
    ):
        found = registry.make("nets", about.net, **about.options).state_dict()
    other = {name for name in {*found, *state} if name not in found or name not in state} or {
        name for name, tensor in found.items() if tensor.shape != state[name].shape
    }
    if other:
        raise BadModelError(f"{len(other)} tensors are others than its options make, e.g. {quoted(min(other))}")


def features_of(module: nn.Module) -> Callable[[Pixels], NDArray[np.float32]]:
    """Make a torch module the features of a Fréchet distance (`refocal.parts.metrics.fid`).

    It is given (tile, 1, y, x) in contrast units, in evaluation mode, where its parameters are. Whatever axes its
    answer has beyond (tile, feature) are averaged away. Of a net of contours: `features_of(net.encoder)`.
    """
    module.eval()

    def features(tiles: Pixels) -> NDArray[np.float32]:
        place = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
        with torch.inference_mode():
            parts = [module(torch.from_numpy(part[:, None]).to(place)).float() for part in _batches(tiles)]
        found: NDArray[np.float32] = torch.cat([p.flatten(2).mean(2) if p.ndim > 2 else p for p in parts]).cpu().numpy()
        return found

    return features


def _batches(tiles: Pixels, size: int = 64) -> list[Pixels]:
    return [tiles[start : start + size] for start in range(0, len(tiles), size)]
