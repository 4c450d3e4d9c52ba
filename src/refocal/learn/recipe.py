"""A recipe: how a model is made, as one flat frozen document.

YAML with `key=value` overrides, no inheritance, no includes. The resolved recipe and its SHA-256 travel with the model.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refocal.core.documents import DocumentError, read_yaml
from refocal.core.errors import BadOptionError, UnknownPartError, nearest, quoted
from refocal.core.plain_files import read_plain


class Recipe(BaseModel):
    """How a model is trained. Lengths are pixels, rates are per step."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$", description="name of the model file")
    net: str
    net_options: dict[str, Any] = {}
    objective: str = "l1"
    objective_options: dict[str, Any] = {}
    degradation: str
    degradation_options: dict[str, Any] = {}
    scales: list[int] = Field([1], description="binning of the sharp tiles; 2 halves the native blur and noise")
    softest_px: float | None = Field(
        None, gt=0, description="tiles that the gate measures to be softer than this, after binning, are no targets"
    )
    contrast_jitter: float = Field(0.0, ge=0, lt=1, description="targets lose up to this share of their contrast")
    invert: float = Field(0.0, ge=0, le=1, description="share of targets with inverted contrast")
    sections: int = Field(1, ge=1, description="consecutive pages of a stack in one example, for folds and 3-D nets")
    frames: tuple[int, int] | None = Field(None, description="frames of a burst, least and most; drawn for each step")
    patch: int = Field(96, ge=16)
    batch: int = Field(16, ge=1, le=1 << 16)
    steps: int = Field(ge=1)
    lr: float = Field(1e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    schedule: Literal["cosine", "halve"] = "cosine"
    halve_every: int = Field(200_000, ge=1, description="steps, for the schedule `halve`")
    warmup: int = Field(0, ge=0, description="steps of linear warm-up")
    clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 is off")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the averaged weights; 0 is off")
    start: str | None = Field(
        None, description="model to start from, shipped or a file; what fits by name and shape is taken"
    )
    minutes: float | None = Field(
        None, gt=0, description="stop after this much compute per thread; the schedule follows it (not reproducible)"
    )
    validate_every: int = Field(500, ge=1)
    checkpoint_every: int = Field(250, ge=1)
    precision: Literal["auto", "32-true", "bf16-mixed"] = "auto"
    seed: int = 0
    licence: str = "CC-BY-4.0"

    @property
    def sha256(self) -> str:
        """Hash of the resolved recipe."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def shipped() -> dict[str, Path]:
    """Return the recipes and experiments that come with refocal, by name: the folder and the file, `tile/quick`."""
    folder = Path(__file__).parent / "recipes"
    return {path.relative_to(folder).with_suffix("").as_posix(): path for path in sorted(folder.rglob("*.yaml"))}


def find(recipe: str | Path) -> Path:
    """Return the file of a recipe, given as a path or as the name of one that ships; `quick` stands for `tile/quick`.

    Raises
    ------
    UnknownPartError
        If it is neither, or the short name stands for several; suggests the nearest name.
    """
    path, known = Path(recipe), shipped()
    if path.is_file():
        return path
    name = path.as_posix()
    fitting = [full for full in known if name in (full, full.rpartition("/")[2])]
    if len(fitting) > 1:
        raise UnknownPartError(f"several recipes are named {name!r}: {', '.join(fitting)}; give one of these")
    if not fitting:
        raise UnknownPartError(f"no file and no shipped recipe {name!r}.{nearest(name, known)}")
    return known[fitting[0]]


def load_recipe(recipe: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a YAML recipe, or a shipped one by its name, with `key=value` overrides.

    Raises
    ------
    UnknownPartError, BadOptionError
        If `find`, `read_document` or `make_recipe` refuses it.
    """
    return make_recipe(read_document(recipe, overrides))


def read_document(recipe: str | Path, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Read a flat YAML document and apply `key=value` overrides (values are YAML; dots reach into options).

    Raises
    ------
    UnknownPartError
        If there is neither such a file nor a shipped recipe of that name.
    BadOptionError
        If the file cannot be read or is no YAML mapping, or an override is not key=value.
    """
    path = find(recipe)
    try:
        content = read_yaml(read_plain(path))
    except OSError as error:
        raise BadOptionError(f"cannot read {path}: {error.strerror}") from error
    except DocumentError as error:
        raise BadOptionError(f"{path} is not YAML as it is read here: {error}") from error
    if not isinstance(content, dict):
        raise BadOptionError(f"{path} must hold 'key: value' lines, it holds {type(content).__name__}")
    for override in overrides:
        key, sign, value = override.partition("=")
        if not sign:
            raise BadOptionError(f"an override is written key=value, got {quoted(override)}")
        try:
            _set(content, key.split("."), read_yaml(value))
        except DocumentError as error:
            raise BadOptionError(f"the override {quoted(override)} cannot be used ({error})") from error
    return content


def make_recipe(content: Mapping[str, Any]) -> Recipe:
    """Check a mapping as a recipe.

    Raises
    ------
    BadOptionError
        In one line, for the first thing that is wrong.
    """
    for key in content:
        if key not in Recipe.model_fields:
            raise BadOptionError(f"a recipe has no key {quoted(key)}.{nearest(str(key), Recipe.model_fields)}")
    try:
        return Recipe.model_validate(dict(content))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        given = "" if first["type"] == "missing" else f", got {quoted(first['input'])}"
        raise BadOptionError(f"recipe key {where!r}: {first['msg'].lower()}{given}") from error


def _set(content: dict[str, Any], keys: list[str], value: Any) -> None:
    for key in keys[:-1]:
        content = content.setdefault(key, {})
        if not isinstance(content, dict):
            raise BadOptionError(f"{key!r} is not a group of options")
    content[keys[-1]] = value
