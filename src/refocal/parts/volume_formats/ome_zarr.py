"""OME-Zarr 0.4 (Zarr 2) and 0.5 (Zarr 3, chunks in shards), read and written with zarr-python.

The axes may stand in any order; channel and time axes must have one entry. Lengths are nanometres, whatever unit the
file uses. Chunks that are not there are 0, as Zarr defines it, and all-zero chunks are not written.

Source: https://ngff.openmicroscopy.org/0.4 and /0.5.
"""

import json
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import product
from typing import Any

import numpy as np

from refocal.core.blocks import Box
from refocal.core.documents import read_json
from refocal.core.errors import RefocalError, UnreadableError, UsageError, missing_extra
from refocal.core.storage import Store
from refocal.core.values import Counts
from refocal.core.volume import Volume, VolumeInfo
from refocal.parts.volume_formats import _axes, _bounds, _levels, _zarr_codecs

__all__ = ["OmeZarr"]

_NM = {"nanometer": 1.0, "micrometer": 1e3, "millimeter": 1e6, "centimeter": 1e7, "meter": 1e9, "angstrom": 0.1}
_NM |= {"picometer": 1e-3}
_ALIASES = {"nm": "nanometer", "um": "micrometer", "µm": "micrometer", "μm": "micrometer", "micron": "micrometer"}
_ALIASES |= {"mm": "millimeter", "cm": "centimeter", "m": "meter", "pm": "picometer", "å": "angstrom"}
_MOST_BYTES = 64 << 20
_KINDS = {"t": "time", "c": "channel"}


class OmeZarr:
    """OME-Zarr images."""

    extensions = (".zarr", ".ome.zarr", ".ngff")
    signs = (".zgroup", ".zattrs", "zarr.json", ".zarray")
    magic = b""
    blockwise = True

    def matches(self, place: Store, /) -> bool:
        """Say whether there is a Zarr group or array."""
        return any(place.exists(name) for name in self.signs)

    def open(self, place: Store, level: int = 0, *, write: bool = False) -> Volume:
        """Open one level.

        Raises
        ------
        UsageError
            If it is Zarr, but nothing of OME-Zarr.
        UnreadableError, UnsupportedError
            If it is damaged, has no such level, or has several channels.
        """
        attributes, version = _attributes(place)
        try:
            image = attributes["multiscales"][0]
            datasets = image["datasets"]
            axes = [axis if isinstance(axis, dict) else {"name": axis} for axis in image["axes"]]
            written = "".join(str(axis["name"]).lower() for axis in axes)
            path = _bounds.check_name(str(datasets[level]["path"]), place.url)
        except (KeyError, IndexError, TypeError) as error:
            if attributes.get("multiscales"):
                raise UnreadableError(f"{place.url}: is no OME-Zarr image with a level {level}") from error
            raise _bare(place) from error
        codec = _zarr_codecs.check_array(place, path)
        array = _array(place, path, write)
        names = _axes.checked(written, array.shape, place.url)
        geometry = _transform(image, datasets[level], axes, names, place.url)
        chunk, unit = array.chunks, array.shards or array.chunks
        info = VolumeInfo(
            _axes.triple(names, array.shape, 1),
            np.dtype(array.dtype).newbyteorder("="),
            _axes.triple(names, chunk, 1),
            _axes.triple(names, unit, 1),
            axes=names,
            version=version,
            levels=len(datasets),
            metadata={key: value for key, value in attributes.items() if key == "omero"},
            labels="its metadata have `image-label`" if "image-label" in attributes else "",
            **geometry,
        )
        _bounds.check(info, place.url)
        return _ZarrVolume(place, path, array, info, codec)

    def create(self, place: Store, levels: Sequence[VolumeInfo], provenance: Mapping[str, Any], /) -> None:
        """Make an image of the version of the finest level, else 0.4, or 0.5 for shards.

        Chunks that are there stay. Several processes may make the same image at once.
        """
        first = levels[0]
        sharded = first.unit != first.chunk
        version = first.version if first.version in ("0.4", "0.5") else "0.5" if sharded else "0.4"
        if sharded and version == "0.4":
            raise UsageError(f"{place.url}: OME-Zarr 0.4 has no shards; ask for 0.5, or for none")
        image = {"name": place.url.rstrip("/").rpartition("/")[2], **_multiscale(levels)}
        old = version == "0.4"
        ome = {"multiscales": [{"version": "0.4", **image} if old else image], **first.metadata}
        attributes = (
            {**ome, "refocal": provenance} if old else {"ome": {"version": "0.5", **ome}, "refocal": provenance}
        )
        for name, content in _metadata(levels, old, _plain(attributes), place).items():
            place.write(name, content)


class _ZarrVolume:
    """One array of an image."""

    def __init__(self, place: Store, path: str, array: Any, info: VolumeInfo, codec: str) -> None:
        self.info = info
        self.fill = array.fill_value
        self._place, self._path, self._array, self._codec = place, path, array, codec

    def check_there(self) -> None:
        """Raise `UnreadableError` if no chunk is there."""
        first = self._array.metadata.encode_chunk_key((0,) * self._array.ndim)
        pattern = re.compile(re.sub(r"\d+", r"\\d+", re.escape(first)))
        known = (".zarray", ".zattrs", "zarr.json")
        _bounds.check_there(self._place, self._path, lambda name: bool(pattern.fullmatch(name)), first, known)

    def read(self, box: Box, /) -> Counts:
        if self._codec and self._place.path:
            chunk = _axes.spread(self.info.axes, self.info.chunk, 1)
            for name in self._units(box):
                _zarr_codecs.refuse_bomb(self._place.path / name, self._codec, tuple(chunk), self.info.dtype.itemsize)
        with _named(self._place):
            counts = np.asarray(self._array[_axes.index(self.info.axes, box)])
        native = counts.astype(self.info.dtype, copy=False)
        return _axes.to_zyx(self.info.axes, native, box)

    def write(self, box: Box, counts: Counts, /) -> None:
        self._array[_axes.index(self.info.axes, box)] = _axes.from_zyx(self.info.axes, counts)
        if self._place.path:
            # The library does not, and a record on the disk must not outlive what it tells of.
            for name in self._units(box):
                with suppress(FileNotFoundError), (self._place.path / name).open("rb") as file:
                    os.fsync(file.fileno())

    def missing(self, box: Box, /) -> int:
        units = list(self._units(box))
        return len(units) - sum(map(self._place.exists, units))

    def _units(self, box: Box) -> Iterator[str]:
        """Yield the names of the chunks or shards that a box touches."""
        edges, spans = _axes.spread(self.info.axes, self.info.unit, 1), _axes.index(self.info.axes, box)
        for at in product(*(range(s.start // n, -(-s.stop // n)) for s, n in zip(spans, edges, strict=True))):
            yield f"{self._path}/{self._array.metadata.encode_chunk_key(at)}"

    def close(self) -> None:
        pass


def _attributes(place: Store) -> tuple[dict[str, Any], str]:
    """Return the OME attributes and their version, without the Zarr library."""
    for name in ("zarr.json", ".zattrs"):
        stored = place.read(name)
        if stored is None:
            continue
        try:
            found = read_json(stored, most_bytes=_MOST_BYTES, finite=False)
            found = found.get("attributes", {}) if name == "zarr.json" else found
            ome = found.get("ome", found)
            if "bioformats2raw.layout" in ome and not ome.get("multiscales"):
                raise UsageError(f"{place.url}: holds several images, as bioformats2raw writes; give {place.url}/0")
            if "plate" in ome or "well" in ome:
                raise UsageError(f"{place.url}: holds a plate of images; give one of them")
            image = (ome.get("multiscales") or [{}])[0]
            return ome, str(ome.get("version") or image.get("version") or "0.4")
        except (ValueError, AttributeError, LookupError, TypeError) as error:
            raise UnreadableError(f"{place.url}: {name} is damaged; get it from a copy") from error
    raise _bare(place)


def _bare(place: Store) -> UsageError:
    return UsageError(
        f"{place.url}: is Zarr without the metadata of OME-Zarr 0.4 or 0.5; expected `multiscales` with axes and "
        "datasets: add it, or give a stack of images"
    )


def _array(place: Store, path: str, write: bool) -> Any:
    zarr = _zarr()
    try:
        return zarr.open_array(_zarr_store(place), path=path, mode="r+" if write else "r")
    except Exception as error:  # the library and its stores raise many kinds
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UnreadableError(f"{place.url}: the array {path!r} cannot be opened: {reason}") from error


def _metadata(levels: Sequence[VolumeInfo], old: bool, attributes: Mapping[str, Any], place: Store) -> dict[str, bytes]:
    """Return the files that make an image without voxels, its attributes last.

    They are made in memory: the library would first write groups without attributes, and other processes would see
    these, or stumble over each other.
    """
    zarr, files = _zarr(), dict[str, Any]()
    with _named(place):
        group = zarr.create_group(zarr.storage.MemoryStore(files), attributes=attributes, zarr_format=2 if old else 3)
        for number, info in enumerate(levels):
            axes = info.axes
            group.create_array(
                str(number),
                shape=_axes.spread(axes, info.shape, 1),
                chunks=_axes.spread(axes, info.chunk, 1),
                shards=None if info.unit == info.chunk else _axes.spread(axes, info.unit, 1),
                dtype=info.dtype,
                fill_value=0,
                chunk_key_encoding={"name": "v2" if old else "default", "separator": "/"},
                dimension_names=None if old else list(axes),
            )
    return {name: files[name].to_bytes() for name in sorted(files, key=lambda name: ("/" not in name, name))}


def _transform(
    image: Mapping[str, Any], dataset: Mapping[str, Any], axes: Sequence[Mapping[str, Any]], names: str, url: str
) -> dict[str, Any]:
    """Return voxel size and offset in nanometres, or as they are written where a unit is missing or not known."""
    scale, offset = np.ones(len(axes)), np.zeros(len(axes))
    try:
        for step in (*dataset.get("coordinateTransformations", ()), *image.get("coordinateTransformations", ())):
            factor = np.broadcast_to(np.asarray(step.get("scale", 1.0), float), scale.shape)
            scale, offset = scale * factor, offset * factor + np.asarray(step.get("translation", 0.0), float)
        if offset.shape != scale.shape:
            raise ValueError
    except (ValueError, TypeError, AttributeError) as error:
        raise UnreadableError(
            f"{url}: its coordinateTransformations are damaged; get the metadata from a copy"
        ) from error
    given = [str(axis.get("unit") or "") for axis in axes]
    spatial = [n for n, name in enumerate(names) if name in _axes.ZYX]
    if not all(math.isfinite(offset[n]) and math.isfinite(scale[n]) and scale[n] > 0 for n in spatial):
        return {"warnings": ("the voxel size is no positive number: taken as not known",)}
    units = [_nanometres(unit) for unit in given]
    if not all(units[n] for n in spatial):
        plain = (_axes.triple(names, scale.tolist(), 1.0), _axes.triple(names, offset.tolist(), 0.0))
        told = _axes.triple(names, given, "")
        if np.all(scale == 1) and not offset.any() and not any(given):
            return {}
        lost = next(given[n] for n in spatial if not units[n])
        said = (
            f"lengths are in {lost!r}, which is no unit of length that is known" if lost.strip() else "no unit is given"
        )
        return {"as_written": (*plain, told), "warnings": (f"{said}: scale and translation are kept as numbers",)}
    in_nm = [float(f"{a * b:.9g}") for a, b in zip(scale, units, strict=True)]
    where = [float(f"{a * b:.9g}") for a, b in zip(offset, units, strict=True)]
    return {"voxel_nm": _axes.triple(names, in_nm, in_nm[-1]), "offset_nm": _axes.triple(names, where, 0.0)}


def _nanometres(unit: str) -> float:
    """Return a unit of length in nanometres, 0 for what is none that is known."""
    name = unit.strip()
    name = _ALIASES.get(name) or _ALIASES.get(name.lower(), name.lower())
    name = name.removesuffix("s").replace("metre", "meter")
    return _NM.get(name) or _NM.get(_ALIASES.get(name, ""), 0.0)


def _unit(info: VolumeInfo, name: str) -> dict[str, str]:
    if name not in _axes.ZYX:
        return {}
    if info.as_written:
        unit = info.as_written[2][_axes.ZYX.index(name)]
        return {"unit": unit} if unit else {}
    return {"unit": "nanometer"} if info.voxel_nm else {}


def _multiscale(levels: Sequence[VolumeInfo]) -> dict[str, Any]:
    first = levels[0]
    axes = [{"name": name, "type": _KINDS.get(name, "space")} | _unit(first, name) for name in first.axes]
    datasets = []
    for number, info in enumerate(levels):
        scale, offset = _levels.voxel(first, info), info.offset_nm
        if first.as_written:
            z, y, x = (a * b for a, b in zip(first.as_written[0], scale, strict=True))
            scale = (z, y, x)
            offset = first.as_written[1]
        steps: list[dict[str, Any]] = [{"type": "scale", "scale": _axes.spread(info.axes, scale, 1.0)}]
        if any(offset):
            steps.append({"type": "translation", "translation": _axes.spread(info.axes, offset, 0.0)})
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    return {"axes": axes, "datasets": datasets, "type": "mean"}


def _zarr() -> Any:
    try:
        import zarr
    except ModuleNotFoundError as error:
        raise missing_extra("zarr", "volumes") from error
    return zarr


def _zarr_store(place: Store) -> Any:
    return str(place.path) if place.path else _zarr().storage.FsspecStore.from_url(place.url)


class _named:
    """Turn what the library raises into one line that names the volume; `OSError` stays, for it may be tried again."""

    def __init__(self, place: Store) -> None:
        self._place = place

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, RefocalError | OSError):
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            wrong = UsageError if isinstance(error, ValueError | TypeError) else UnreadableError
            raise wrong(f"{self._place.url}: {reason}") from error


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
