"""What a BioImage.IO description says of a network, formats 0.4 and 0.5, read as data; numpy, YAML and zip only."""

import hashlib
import lzma
import math
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from refocal.core.documents import MOST_BYTES, DocumentError, read_yaml
from refocal.core.errors import BadModelError, quoted
from refocal.core.values import Contrast, Pixels, Reach
from refocal.models.header import MAX_FILE_BYTES, MAX_REACH_PX
from refocal.models.onnx_file import refuse_external
from refocal.parts.restorers._bioimageio_steps import Steps, steps

_NAMES = ("bioimageio.yaml", "rdf.yaml", "model.yaml")
_WINDOW = 512
_MOST_CHANNELS, _MOST_SIZE = 64, 1 << 20
_MOST_PACKED, _BOMB_BYTES = 200, 64 << 20  # weights hardly shrink; what shrinks so much is none
_LETTERS = {"batch": "b", "channel": "c", "space": ""}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of the network: one letter an axis, of b, c, y, x."""

    axes: str
    channels: int = 1

    def arranged(self, image: Pixels) -> Pixels:
        """Return a (y, x) image as the network takes it."""
        seen = image if self.axes.index("y") < self.axes.index("x") else image.T
        for position, axis in enumerate(self.axes):
            if axis in "bc":
                seen = np.expand_dims(seen, position)
        return np.repeat(seen, self.channels, self.axes.index("c")) if "c" in self.axes else seen

    def flat(self, answer: Pixels) -> Pixels:
        """Return what the network answers as a (y, x) image, the mean of its channels."""
        if answer.ndim != len(self.axes):
            raise BadModelError(f"the network answers with shape {answer.shape}, its description says {self.axes}")
        for position in reversed(range(len(self.axes))):
            if self.axes[position] in "bc":
                answer = answer.mean(position, dtype=np.float32)
        return answer if self.axes.index("y") < self.axes.index("x") else answer.T


@dataclass(frozen=True, slots=True)
class Described:
    """A network that makes one image of one image."""

    onnx: bytes
    sent: Tensor
    got: Tensor
    before: Steps
    after: Steps | None
    """None where the description leaves the answer on the scale inside of the network."""
    scale: Contrast | None
    """The counts that the network was made for; None takes them as they are."""
    reach: Reach
    smallest: int
    """Shorter edges are mirrored up to this, px."""


def read(path: Path) -> Described:
    """Read a package (.zip), its folder, or the description in the folder.

    Raises
    ------
    BadModelError
        If it cannot be read, has no ONNX weights, is damaged, or is of a kind that does not restore.
    """
    try:
        fetch, where = _opened(path)
        said: Any = read_yaml(fetch(where, MOST_BYTES), finite=False)
        if not isinstance(said, Mapping) or "weights" not in said:
            raise BadModelError(f"{path.name} describes no BioImage.IO model")
        onnx = _weights(said, fetch, PurePosixPath(where).parent, path.name)
        return _described(said, onnx, path.name)
    except (OSError, EOFError, RuntimeError, DocumentError, zipfile.BadZipFile, zlib.error, lzma.LZMAError) as error:
        line = " ".join(str(error).split())[:200]
        raise BadModelError(f"cannot read the BioImage.IO package {path}: {line}") from error
    except (LookupError, TypeError, AttributeError, ValueError, ArithmeticError) as error:
        raise BadModelError(f"{path.name} has a description that is not understood: {quoted(error, 200)}") from error


Fetch = Callable[[str, int], bytes]


def _opened(path: Path) -> tuple[Fetch, str]:
    """Return a reader of the package's files, limited in bytes, and the name of its description."""
    if path.is_file() and path.suffix not in (".yaml", ".yml"):
        with zipfile.ZipFile(path) as archive:
            names = [n for n in archive.namelist() if PurePosixPath(n).name in _NAMES]

        def from_zip(name: str, most: int) -> bytes:
            with zipfile.ZipFile(path) as archive:
                about = archive.getinfo(name)
                if about.file_size > max(_BOMB_BYTES, _MOST_PACKED * about.compress_size):
                    raise BadModelError(f"{name} in {path.name} unpacks to {about.file_size} bytes: that is no model")
                with archive.open(about) as file:
                    return _limited(file.read(min(most, about.file_size) + 1), most, name)

        return from_zip, _first(names, path)
    folder = path if path.is_dir() else path.parent

    def from_folder(name: str, most: int) -> bytes:
        target = (folder / name).resolve()
        if not target.is_relative_to(folder.resolve()):
            raise BadModelError(f"{path.name} names a file outside of its folder: {name}")
        with target.open("rb") as file:
            return _limited(file.read(most + 1), most, name)

    return from_folder, path.name if path.is_file() else _first([n for n in _NAMES if (folder / n).is_file()], path)


def _first(names: Sequence[str], path: Path) -> str:
    if not names:
        raise BadModelError(f"{path} holds no BioImage.IO description; expected {' or '.join(_NAMES[:2])} in it")
    return min(names, key=lambda name: (name.count("/"), _NAMES.index(PurePosixPath(name).name)))


def _limited(content: bytes, most: int, name: str) -> bytes:
    if len(content) > most:
        raise BadModelError(f"{name} has more than {most} bytes, more than is read of such a file")
    return content


def _weights(said: Mapping[str, Any], fetch: Fetch, folder: PurePosixPath, name: str) -> bytes:
    kinds = said["weights"]
    if "onnx" not in kinds:
        raise BadModelError(
            f"{name} has weights of the kind {quoted(', '.join(map(str, kinds)))}, which run code when they are "
            "loaded; only ONNX is read: ask its authors for it, or convert it"
        )
    entry = kinds["onnx"]
    source = str(entry["source"])
    if "://" in source or PurePosixPath(source).is_absolute():
        raise BadModelError(f"the weights of {name} are not inside of it but at {source}: download the whole package")
    try:
        content = fetch(str(folder / source), MAX_FILE_BYTES)
    except (KeyError, FileNotFoundError) as error:
        raise BadModelError(f"{name} lacks its weights {source!r}: download the whole package") from error
    refuse_external(content, f"{source} in {name}")
    expected = entry.get("sha256")
    if expected and hashlib.sha256(content).hexdigest() != str(expected).lower():
        raise BadModelError(f"{source} in {name} is damaged (its SHA-256 is another): download the package again")
    return content


def _described(said: Mapping[str, Any], onnx: bytes, name: str) -> Described:
    if len(said["inputs"]) != 1 or len(said["outputs"]) != 1:
        raise BadModelError(f"{name} has {len(said['inputs'])} inputs and {len(said['outputs'])} outputs; one is taken")
    (given,), (made,) = said["inputs"], said["outputs"]
    sizes, answered = _sizes(given, name), _sizes(made, name)
    channels = sizes.get("c", 1)
    channels = channels if isinstance(channels, int) and channels > 0 else 1
    if channels > _MOST_CHANNELS:
        raise BadModelError(f"{name} takes {channels} channels, images have one; up to {_MOST_CHANNELS} are filled")
    said_after = made.get("postprocessing") or ()
    after = steps(said_after, name) if said_after else None
    reach, smallest = _reach(sizes, _halo(made))
    sent, got = Tensor("".join(sizes), channels), Tensor("".join(answered))
    before = steps(given.get("preprocessing") or (), name)
    return Described(onnx, sent, got, before, after, _scale(given), reach, smallest)


def _sizes(tensor: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return the size of each axis, by its letter and in their order: an int, (min, step), or None if free."""
    axes = tensor["axes"]
    if isinstance(axes, str):  # format 0.4
        shape = tensor.get("shape")
        if isinstance(shape, Mapping) and "min" in shape:
            least, step = map(_whole, shape["min"]), map(_whole, shape["step"])
            sizes: dict[str, Any] = {a: (m, s) if s else m for a, m, s in zip(axes, least, step, strict=True)}
        else:
            sizes = (
                dict(zip(axes, map(_whole, shape), strict=True)) if isinstance(shape, Sequence) else dict.fromkeys(axes)
            )
    else:
        sizes = {_letter(axis): _size(axis) for axis in axes}
    if not {"y", "x"} <= set(sizes) <= set("bcyx") or len(sizes) < len(axes):
        raise BadModelError(f"{name} works on axes {', '.join(sizes)}; one image has y and x, and maybe batch, channel")
    return sizes


def _letter(axis: Mapping[str, Any]) -> str:
    letter = _LETTERS.get(axis["type"], axis["type"])
    return letter or str(axis["id"])


def _size(axis: Mapping[str, Any]) -> Any:
    if axis["type"] == "channel":
        return len(axis["channel_names"])
    size = axis.get("size")
    if isinstance(size, Mapping):
        return (_whole(size["min"]), _whole(size["step"])) if "min" in size else None
    return None if size is None else _whole(size)


def _whole(size: Any) -> int:
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= _MOST_SIZE:
        raise ValueError(f"sizes are whole numbers up to {_MOST_SIZE}, got {quoted(size)}")
    return size


def _halo(made: Mapping[str, Any]) -> int:
    axes = made["axes"]
    if isinstance(axes, str):
        return max(_whole(h) for a, h in zip(axes, made.get("halo") or [0] * len(axes), strict=True) if a in "yx")
    return max(_whole(axis.get("halo") or 0) for axis in axes)


def _reach(sizes: Mapping[str, Any], halo: int) -> tuple[Reach, int]:
    """Return what the network needs around a pixel, and the shortest edge that it takes."""
    rules = {rule for axis in "yx" if (rule := sizes[axis]) is not None}
    if not rules:
        return Reach(), 1
    if len(rules) > 1:
        raise BadModelError(f"the network takes sizes {sizes['y']} by {sizes['x']}; only equal rules for both are read")
    rule = rules.pop()
    least, step = rule if isinstance(rule, tuple) else (rule, 0)
    if not 0 < least <= MAX_REACH_PX or max(step, halo) > MAX_REACH_PX:
        raise BadModelError(f"the network takes sizes of {least} px in steps of {step}; up to {MAX_REACH_PX} are read")
    if step and least % step == 0:
        return Reach(halo, step), least
    window = least + (-(-max(0, _WINDOW - least) // step) * step if step else 0)
    # Windows must overlap by something, or they would show.
    return Reach(min(max(halo, window // 16), (window - 1) // 2), window=window), 1


def _scale(given: Mapping[str, Any]) -> Contrast | None:
    data = given.get("data") or {"type": given.get("data_type", "float32"), "range": given.get("data_range")}
    kind = np.dtype(data.get("type", "float32"))
    if kind.kind in "ui":
        return Contrast.of(kind)
    low, high = (math.nan if limit is None else float(limit) for limit in data.get("range") or (None, None))
    return Contrast(low, high) if math.isfinite(high - low) and low < high else None
