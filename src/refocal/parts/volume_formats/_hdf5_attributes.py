"""Attributes of HDF5 datasets: voxel sizes and offsets under the names that are in use, the others as they are.

`resolution` and `offset` are nanometres, as in CREMI, unless a unit says something else; `element_size_um` is what
ilastik and Fiji write. Other names count only where the name or an attribute gives the unit.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.errors import UnreadableError
from refocal.core.volume import VolumeInfo

Triple = tuple[float, float, float]

_SIZES = ("resolution", "element_size", "voxel_size", "voxelsize", "pixel_size", "pixelsize", "spacing")
_NM = {
    **dict.fromkeys(("nm", "nanometer", "nanometre", "nanometers", "nanometres"), 1.0),
    **dict.fromkeys(("um", "µm", "μm", "micron", "microns", "micrometer", "micrometre"), 1e3),
    **dict.fromkeys(("micrometers", "micrometres"), 1e3),
    **dict.fromkeys(("mm", "millimeter", "millimetre"), 1e6),
    **dict.fromkeys(("a", "å", "angstrom", "angstroms"), 0.1),
}
_NONE: Triple = (0.0, 0.0, 0.0)
_PLAIN, _TEXT = frozenset({0, 1, 8}), 3
"""Classes of HDF5 types: integers, floating-point numbers and enumerations; text."""
_SECONDS = 5
_READ = "import sys, h5py; dict(h5py.File(sys.argv[1], 'r')[sys.argv[2]].attrs)"


def read_attributes(dataset: Any, warnings: list[str]) -> dict[str, Any]:
    """Return name to value of what can be read and written again; what cannot is named in a warning."""
    attributes: dict[str, Any] = {}
    lost: list[str] = []
    if any(name != "refocal" and _has_any_length(dataset, name) for name in dataset.attrs):
        path = Path(dataset.file.filename)
        _refuse_endless(path, dataset.name, path.stat().st_mtime_ns)
    for name in dataset.attrs:
        if name == "refocal":
            continue
        try:
            value = dataset.attrs[name]
            points = getattr(getattr(value, "dtype", None), "hasobject", False) and not _is_text(value)
        except Exception:  # damaged, or a type that h5py does not know
            points = True
        if points or type(value).__module__.startswith("h5py.h5r"):
            lost.append(str(name))
        else:
            attributes[str(name)] = value
    if lost:
        warnings.append(f"attributes that cannot be carried over: {', '.join(lost)[:100]}")
    return attributes


def _has_any_length(dataset: Any, name: str) -> bool:
    """Say whether an attribute is text or a list of any length, which lies in a heap elsewhere in the file."""
    try:
        kind = dataset.attrs.get_id(name).get_type()
    except Exception:
        return True
    if kind.get_class() == _TEXT:
        return bool(kind.is_variable_str())
    return kind.get_class() not in _PLAIN


@lru_cache(maxsize=256)
def _refuse_endless(path: Path, name: str, changed_ns: int) -> None:
    """Read the attributes in another process first: in a damaged heap the library runs in circles for ever.

    Raises
    ------
    UnreadableError
        If it does.
    """
    try:
        command = [sys.executable, "-c", _READ, str(path), name]
        subprocess.run(command, capture_output=True, timeout=_SECONDS, check=False)  # noqa: S603 - our own line
    except subprocess.TimeoutExpired as error:
        raise UnreadableError(f"{path}: the attributes of {name} cannot be read; the file is damaged") from error


def told(attributes: Mapping[str, Any], warnings: list[str]) -> tuple[Triple | None, Triple]:
    """Return voxel size and offset in nm; what cannot be used counts as not known, with a warning."""
    order = _axes(attributes)
    if order and order != "zyx":
        warnings.append(f"says that its axes are {', '.join(order)}; they are taken as z, y, x, as they are stored")
    voxel, name = _voxel(attributes, warnings)
    offset = _NONE
    if "offset" in attributes:
        scale = _unit(attributes, "offset") or (_unit(attributes, name) if name else None) or (1.0, 1.0, 1.0)
        values = _triple(attributes["offset"])
        if values is None:
            warnings.append("has an offset that is not three numbers; taken as not known")
        else:
            offset = _scaled(values, scale)
    return voxel, offset


def write_attributes(dataset: Any, info: VolumeInfo) -> None:
    """Write the attributes of the input as they were, and what they do not say of voxel size and offset."""
    attributes = dict(info.metadata.get("attributes", {}))
    voxel, offset = told(attributes, [])
    if info.voxel_nm and voxel != info.voxel_nm:
        for key in [key for key in attributes if key.lower().startswith(_SIZES) or key in ("unit", "units")]:
            del attributes[key]
        voxel, offset = None, told(attributes, [])[1]
    for key, value in attributes.items():
        dataset.attrs[key] = value
    if info.voxel_nm and voxel is None:
        dataset.attrs["resolution"] = info.voxel_nm
    if offset != tuple(info.offset_nm) or "offset" not in attributes:
        scale = _unit(attributes, "offset") or _unit(attributes, "resolution") or (1.0, 1.0, 1.0)
        dataset.attrs["offset"] = [n / s for n, s in zip(info.offset_nm, scale, strict=True)]


def _voxel(attributes: Mapping[str, Any], warnings: list[str]) -> tuple[Triple | None, str]:
    for name in _SIZES:
        for key in (key for key in attributes if key.lower() == name or key.lower().startswith(f"{name}_")):
            suffix = key.lower().removeprefix(name).strip("_")
            if suffix and suffix not in _NM:
                continue
            values = _triple(attributes[key])
            scale = (_NM[suffix],) * 3 if suffix else _unit(attributes, key)
            if values is None or min(values) <= 0:
                warnings.append(f"has a {key} that is not three positive numbers; the voxel size is not known")
            elif scale is None:
                warnings.append(f"has a {key} without a unit that is known; the voxel size is not known")
            else:
                return _scaled(values, scale), key
    return None, ""


def _unit(attributes: Mapping[str, Any], name: str) -> Triple | None:
    """Return the nm of each axis' unit; None where there is no unit of length."""
    for key in (f"{name}_unit", f"{name}_units", "unit", "units"):
        if key in attributes:
            words = _words(attributes[key])
            factors = [_NM.get(word.strip().lower(), 0.0) for word in words]
            factors = factors * 3 if len(factors) == 1 else factors
            return (factors[0], factors[1], factors[2]) if len(factors) == 3 and all(factors) else None
    return (1.0, 1.0, 1.0) if name == "resolution" else None


def _axes(attributes: Mapping[str, Any]) -> str:
    """Return the letters of the axes, slowest first; empty where they are not named."""
    if "axistags" in attributes:
        try:
            words = [str(axis["key"]) for axis in json.loads(str(attributes["axistags"]))["axes"]]
        except (ValueError, TypeError, KeyError, RecursionError):
            return ""
    else:
        words = next((_words(attributes[key]) for key in ("axis_names", "axes") if key in attributes), [])
    words = list(words[0]) if len(words) == 1 else words
    names = "".join(word.strip("^").lower() for word in words)
    return names if len(names) == 3 and names.isalpha() else ""


def _words(value: Any) -> list[str]:
    if isinstance(value, str | bytes):
        value = [value]
    if not isinstance(value, np.ndarray | list | tuple) or np.ndim(value) > 1 or len(np.atleast_1d(value)) > 8:
        return []
    return [word.decode("utf-8", "replace") if isinstance(word, bytes) else str(word) for word in np.atleast_1d(value)]


def _triple(value: Any) -> Triple | None:
    if getattr(value, "shape", None) != (3,) or value.dtype.kind not in "uif":
        return None
    numbers = tuple(float(n) for n in value)
    return (numbers[0], numbers[1], numbers[2]) if np.isfinite(numbers).all() else None


def _scaled(values: Triple, scale: tuple[float, ...]) -> Triple:
    z, y, x = (
        float(f"{value * factor:.9g}") if factor != 1 else value for value, factor in zip(values, scale, strict=True)
    )
    return z, y, x


def _is_text(value: Any) -> bool:
    return all(isinstance(item, str | bytes) for item in np.ravel(value))
