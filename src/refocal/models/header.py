"""What a model file says about itself, read with nothing but the standard library, numpy-free and torch-free.

A model is three files with one stem: `NAME.safetensors` (tensors and header), `NAME.onnx` (the same graph with the same
rounded values, for runtimes without torch) and `NAME.md` (the card). The safetensors layout is eight bytes with the
length of a JSON head (little endian), the head, the tensor bytes. The head's `__metadata__` has two strings: `refocal`,
the header as JSON, and `seal`, the SHA-256 of length and head with the seal's digits set to zero. Seal, tensor hash
and ONNX hash together notice any changed byte in either file.
"""

import hashlib
import re
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, ValidationError, model_validator

from refocal.core.documents import read_json
from refocal.core.errors import BadModelError, UnknownPartError, nearest
from refocal.core.values import Reach
from refocal.core.version import __version__
from refocal.models.onnx_file import refuse_external

FORMAT_VERSION = 1
MAX_HEAD_BYTES = 8 << 20
MAX_FILE_BYTES = 2 << 30
MAX_REACH_PX = 1 << 12
"""Largest halo and window."""
_SEAL = re.compile(rb'"seal":"([0-9a-f]{64})"')
_MAKE = "get the file again, or write it again with this version of refocal"

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ReachHeader(_Part):
    """The net's `Reach`, pixels."""

    halo: int = Field(ge=0, le=MAX_REACH_PX)
    multiple: int = Field(ge=1, le=256)
    window: int | None = Field(default=None, ge=1, le=MAX_REACH_PX)
    context: bool = False

    @model_validator(mode="after")
    def _windows_overlap(self) -> Self:
        if self.window is not None and not 2 * self.halo < self.window:
            raise ValueError(f"a window of {self.window} px has no core within a halo of {self.halo} px")
        return self

    @property
    def value(self) -> Reach:
        """The same as a kernel value."""
        return Reach(self.halo, self.multiple, self.window, self.context)


class Training(_Part):
    """How the weights came about."""

    seconds: float = Field(default=0.0, ge=0)
    steps: int = Field(default=0, ge=0)
    seed: int = 0
    machine: str = ""


class ModelHeader(_Part):
    """Everything that is needed to use, to name and to make again a model."""

    format_version: Literal[1] = 1
    name: str = Field(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    net: str
    options: dict[str, JsonValue] = {}
    reach: ReachHeader
    channels: int = Field(default=1, ge=1, le=64)
    frames: int = Field(default=1, ge=0, le=64)
    """Frames of a burst that it looks at; 0 for any number of frames, each of `channels`."""
    contrast: str = "dtype"
    """Which counts meant 0 and 1 in training: `dtype` for the full range of the integer type."""
    recipe: dict[str, JsonValue] = {}
    recipe_sha256: Sha256 | None = None
    data: dict[str, Sha256] = {}
    """SHA-256 of every training file, by name."""
    licence: str = ""
    training: Training = Training()
    tensors_sha256: Sha256 | None = None
    onnx_sha256: Sha256 | None = None
    refocal: str = __version__


def read(path: str | Path) -> ModelHeader:
    """Read and check the header of a model file, and the hash of its tensors.

    Raises
    ------
    BadModelError
        If the file is missing, truncated, damaged, of another format version, or no model.
    """
    path = Path(path)
    content = _content(path)
    length = int.from_bytes(content[:8], "little")
    if len(content) < 8 or not 2 <= length <= min(MAX_HEAD_BYTES, len(content) - 8):
        raise BadModelError(f"{path.name} is not a refocal model, or is truncated: {_MAKE}")
    head = content[: 8 + length]
    header = _header(path, head)
    if hashlib.sha256(content[8 + length :]).hexdigest() != header.tensors_sha256:
        raise BadModelError(f"{path.name} is damaged or truncated (its tensors do not match their SHA-256): {_MAKE}")
    return header


def onnx_bytes(path: str | Path, header: ModelHeader) -> bytes:
    """Return the ONNX file that belongs to the model file `path`, after checking its hash.

    Raises
    ------
    BadModelError
        If there is none, or it is not the one that the header names.
    """
    onnx = Path(path).with_suffix(".onnx")
    if header.onnx_sha256 is None or not onnx.is_file():
        raise BadModelError(f"{Path(path).name} has no {onnx.name} beside it: get the model again, or publish it again")
    content = _content(onnx)
    refuse_external(content, onnx.name)
    if hashlib.sha256(content).hexdigest() != header.onnx_sha256:
        raise BadModelError(f"{onnx.name} is damaged or belongs to another {Path(path).name}: {_MAKE}")
    return content


def seal(head: bytes) -> bytes:
    """Return a safetensors head (with its eight bytes of length) whose seal is set; it must hold one seal."""
    digest = _digest(head)
    return _SEAL.sub(b'"seal":"' + digest.encode() + b'"', head)


def shipped() -> tuple[str, ...]:
    """Return the names of the models that ship with refocal."""
    return tuple(sorted(p.stem for p in _folder().glob("*.safetensors")))


def find(model: str | Path) -> Path:
    """Return the model file for a path or for the name of a model that ships with refocal.

    Raises
    ------
    UnknownPartError
        If it is neither; the message suggests the nearest name.
    """
    path = Path(model)
    if path.is_file():
        return path.with_suffix(".safetensors") if path.suffix == ".onnx" else path
    if str(model) in shipped():
        return _folder() / f"{model}.safetensors"
    raise UnknownPartError(f"no model file and no shipped model {str(model)!r}.{nearest(str(model), shipped())}")


def _folder() -> Path:
    return Path(__file__).parent / "shipped"


def _content(path: Path) -> bytes:
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise BadModelError(f"{path.name} has {size} bytes, more than any model: is it a model file?")
        return path.read_bytes()
    except OSError as error:
        raise BadModelError(f"cannot read model {path}: {error.strerror or error}") from error


def _digest(head: bytes) -> str:
    return hashlib.sha256(_SEAL.sub(b'"seal":"' + b"0" * 64 + b'"', head)).hexdigest()


def _header(path: Path, head: bytes) -> ModelHeader:
    try:
        table: Any = read_json(head[8:], most_bytes=MAX_HEAD_BYTES)
        metadata: Any = table["__metadata__"]
        document, stored = str(metadata["refocal"]), str(metadata["seal"])
        about: Any = read_json(document, most_bytes=MAX_HEAD_BYTES)
        version = about["format_version"]
    except (ValueError, KeyError, TypeError) as error:
        raise BadModelError(f"{path.name} is not a refocal model, or is damaged: {_MAKE}") from error
    if version != FORMAT_VERSION:
        raise BadModelError(
            f"{path.name} has model format {str(version)[:20]}, this refocal reads format {FORMAT_VERSION}: "
            "update refocal or take a matching model"
        )
    if _digest(head) != stored:
        raise BadModelError(f"{path.name} is damaged (its header does not match its seal): {_MAKE}")
    try:
        return ModelHeader.model_validate_json(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise BadModelError(f"{path.name} has a bad header ({field}: {first['msg']}): {_MAKE}") from error
