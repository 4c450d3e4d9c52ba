"""Which Zarr arrays are decoded: plain numbers, and codecs that do nothing but unpack them.

Codecs are looked up by name in registries that any package may add to, and one that ships with them, `pickle`, runs
code. So the metadata are read here first, without the library.
"""

import bz2
import lzma
import re
import zlib
from collections.abc import Callable, Mapping
from math import prod
from pathlib import Path
from typing import Any

import imagecodecs

from refocal.core.documents import DocumentError, read_json
from refocal.core.errors import UnreadableError, UnsupportedError
from refocal.core.storage import Store

_V2 = frozenset(
    {"zlib", "gzip", "bz2", "lzma", "blosc", "zstd", "lz4", "delta", "shuffle", "fixedscaleoffset", "quantize"}
    | {"bitround", "packbits", "crc32", "crc32c", "adler32", "fletcher32"}
)
_V3 = frozenset({"bytes", "transpose", "gzip", "zstd", "blosc", "crc32c", "sharding_indexed"})
_V2_TYPE = re.compile(r"[<>|][iuf][1248]")
_V3_TYPE = re.compile(r"u?int(8|16|32|64)|float(16|32|64)")
_MOST_BYTES = 64 << 20


def check_array(place: Store, path: str) -> str:
    """Read the metadata of an array and refuse what is not to be decoded; return the codec that unpacks a chunk.

    Raises
    ------
    UnreadableError
        If there is no array, or its metadata are damaged.
    UnsupportedError
        If its voxels are no numbers, or a codec is not of the list.
    """
    prefix = f"{path.strip('/')}/" if path.strip("/") else ""
    for name, check in ((".zarray", _check_v2), ("zarr.json", _check_v3)):
        stored = place.read(prefix + name)
        if stored is None:
            continue
        try:
            about = read_json(stored, most_bytes=_MOST_BYTES, finite=False)
            if not isinstance(about, Mapping):
                raise TypeError
            return check(about, f"{place.url}/{prefix}".rstrip("/"))
        except (DocumentError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(f"{place.url}: {prefix}{name} is damaged; get it from a copy") from error
    raise UnreadableError(f"{place.url}: there is no array {path!r}")


def _check_v2(about: Mapping[str, Any], url: str) -> str:
    if not isinstance(about["dtype"], str) or not _V2_TYPE.fullmatch(about["dtype"]):
        raise UnsupportedError(f"{url}: has voxels of type {str(about['dtype'])[:40]!r}; expected plain numbers")
    codecs = [codec["id"] for codec in (about.get("compressor"), *(about.get("filters") or ())) if codec]
    _refuse(codecs, _V2, url)
    return str(codecs[0]) if about.get("compressor") else ""


def _check_v3(about: Mapping[str, Any], url: str) -> str:
    if about.get("node_type") != "array":
        raise UnreadableError(f"{url}: is no array")
    kind = about["data_type"]
    if not isinstance(kind, str) or not _V3_TYPE.fullmatch(kind):
        raise UnsupportedError(f"{url}: has voxels of type {str(kind)[:40]!r}; expected plain numbers")
    codecs = list(about.get("codecs") or ())
    names = []
    while codecs:
        codec = codecs.pop()
        names.append(codec["name"])
        inner = codec.get("configuration") or {}
        codecs += [*inner.get("codecs", ()), *inner.get("index_codecs", ())]
    _refuse(names, _V3, url)
    packing = [name for name in names if name in ("gzip", "zstd", "blosc")]
    return str(packing[0]) if packing and "sharding_indexed" not in names else ""


def _refuse(codecs: list[Any], known: frozenset[str], url: str) -> None:
    if unknown := [str(codec)[:40] for codec in codecs if codec not in known]:
        raise UnsupportedError(
            f"{url}: needs the codec {unknown[0]!r}, which is not among those that are known to be harmless; store it "
            "anew with zstd, blosc or gzip first"
        )


def refuse_bomb(file: Path, codec: str, shape: tuple[int, ...], itemsize: int) -> None:
    """Refuse a chunk file that unpacks to more than a chunk holds; the library would do so without bound.

    Raises
    ------
    UnreadableError
        If it does.
    """
    size, measure = prod(shape) * itemsize, _SIZES.get(codec)
    if measure is None or not file.is_file() or file.stat().st_size * _BEST_RATIO.get(codec, 1 << 20) <= 2 * size:
        return
    try:
        unpacked = measure(file.read_bytes(), 2 * size + (1 << 16))
    except (zlib.error, lzma.LZMAError, OSError, ValueError, RuntimeError):
        return  # the library says what is wrong with it
    if unpacked > 2 * size + (1 << 15):
        raise UnreadableError(f"{file}: unpacks to more than the {size} bytes of a chunk; it is damaged")


def _deflated(stored: bytes, most: int) -> int:
    return len(zlib.decompressobj(wbits=47).decompress(stored, most))


def _zstd(stored: bytes, most: int) -> int:
    return len(imagecodecs.zstd_decode(stored, out=bytearray(most)))


_BEST_RATIO = {"zlib": 1032, "gzip": 1032}
_SIZES: dict[str, Callable[[bytes, int], int]] = {
    "zlib": _deflated,
    "gzip": _deflated,
    "bz2": lambda stored, most: len(bz2.BZ2Decompressor().decompress(stored, most)),
    "lzma": lambda stored, most: len(lzma.LZMADecompressor().decompress(stored, most)),
    "zstd": _zstd,
    "blosc": lambda stored, most: int.from_bytes(stored[4:8], "little"),
    "lz4": lambda stored, most: int.from_bytes(stored[:4], "little"),
}
