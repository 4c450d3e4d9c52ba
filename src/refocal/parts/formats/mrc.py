"""MRC 2014 stacks: a header of 1024 bytes, an extended header, then nz sections of ny rows of nx values.

Modes 0 (int8 or uint8), 1 (int16), 2 (float32), 6 (uint16) and 12 (float16). Mode 0 is signed by the standard but was
unsigned in the older programs of this field; the IMOD stamp says which, else the density range may. A stack that is
still growing is shorter than its header says: whole sections are shown, and `missing` says how many are not there.

Rows are counted in the order of the file, as mrcfile does; IMOD shows the first row at the bottom. `axes` says which
axis of the specimen columns, rows and sections run along: pixel sizes follow it, and nothing is turned.

Source: Cheng et al., J. Struct. Biol. 192 (2015), https://www.ccpem.ac.uk/mrc_format/mrc2014.php; IMOD's notes on its
use of the extra fields.
"""

import os
from collections.abc import Iterable
from io import BufferedReader
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from refocal.core.atomic import writing
from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError, WriteError
from refocal.core.values import Counts, ImageInfo
from refocal.parts.formats._density import rounded
from refocal.parts.formats._pages import REFUSALS, expected
from refocal.parts.formats._reader import Reader, decoding, read_rows

__all__ = ["Mrc"]

_FIELDS: dict[str, tuple[str, int, int]] = {
    "n": ("i4", 3, 0),  # columns, rows, sections
    "mode": ("i4", 1, 12),
    "start": ("i4", 3, 16),
    "m": ("i4", 3, 28),
    "cell": ("f4", 3, 40),  # angstrom
    "angles": ("f4", 3, 52),
    "axes": ("i4", 3, 64),
    "min": ("f4", 1, 76),
    "max": ("f4", 1, 80),
    "mean": ("f4", 1, 84),
    "space_group": ("i4", 1, 88),
    "extended": ("i4", 1, 92),
    "version": ("i4", 1, 108),
    "imod_stamp": ("i4", 1, 152),
    "imod_flags": ("i4", 1, 156),
    "origin": ("f4", 3, 196),  # angstrom, along x, y, z
    "map": ("S4", 1, 208),
    "machine": ("V4", 1, 212),
    "rms": ("f4", 1, 216),
}
"""Each field's kind, how many of it, and at which byte."""
_IMOD_STAMP = 1146047817
_SIGNED, _ORIGIN_SIGN, _PACKED = 1, 4, 16
_VOLUME_STACK = range(401, 631)
_DTYPES = {0: "i1", 1: "i2", 2: "f4", 6: "u2", 12: "f2"}
_MODES = {"int8": 0, "uint8": 0, "int16": 1, "float32": 2, "uint16": 6, "float16": 12}
_MOST = 1_000_000
_HEADER = 1024
Order = Literal["<", ">"]
_ORDERS: tuple[Order, Order] = ("<", ">")


def _layout(order: Order) -> np.dtype[Any]:
    return np.dtype(
        {
            "names": list(_FIELDS),
            # Not "3i4": numpy parses that as Python source, which threads of Python 3.11 cannot do at the same time.
            "formats": [
                (f"{order}{kind}", (count,)) if count > 1 else f"{order}{kind}" for kind, count, _ in _FIELDS.values()
            ],
            "offsets": [offset for *_, offset in _FIELDS.values()],
            "itemsize": _HEADER,
        }
    )


class Mrc:
    """MRC files, as SerialEM, IMOD and others write them."""

    extensions = (".mrc", ".mrcs", ".st", ".ali", ".rec")

    def matches(self, head: bytes) -> bool:
        """Say whether the first bytes are plausible as an MRC header; old files have no magic word."""
        if len(head) < 224:
            return False
        head = head.ljust(_HEADER, b"\0")
        return _parse(head) is not None

    def open(self, path: Path, file: BufferedReader | None = None) -> "MrcImage":
        """Open an MRC file read-only.

        Raises
        ------
        UnreadableError
            If not one section is whole.
        UnsupportedError
            If its mode is complex or packed.
        """
        with decoding(path):
            return MrcImage(path, file or open(path, "rb"))

    def create(self, path: Path, pages: Iterable[Counts], like: ImageInfo, source: Path | None = None) -> None:
        """Write a stack, one section in memory; header, labels and extended header of `source` are kept."""
        if like.dtype.name not in _MODES:
            raise WriteError(f"{path}: MRC holds {', '.join(_MODES)}, not {like.dtype}; write .tif instead")
        with writing(path, refusals=REFUSALS) as unfinished:
            header, extended = _header_like(source, like)
            order = _order(header)
            sums, low, high = np.zeros(2), np.inf, -np.inf
            with open(unfinished, "wb") as file:
                file.write(header.tobytes())
                file.write(extended)
                for page in expected(path, pages, like):
                    file.write(np.ascontiguousarray(page, page.dtype.newbyteorder(order)).data)
                    sums += _sums(page)
                    low, high = min(low, float(page.min())), max(high, float(page.max()))
                mean, square = sums / np.prod(like.shape)
                header["min"], header["max"], header["mean"] = low, high, mean
                header["rms"] = max(0.0, square - mean * mean) ** 0.5
                file.seek(0)
                file.write(header.tobytes())


class MrcImage(Reader):
    """An opened MRC stack."""

    def __init__(self, path: Path, file: BufferedReader) -> None:
        super().__init__(path, file)
        try:
            self._describe(os.fstat(self._file.fileno()).st_size)
        except BaseException:
            self.close()
            raise

    def _describe(self, stored: int) -> None:
        head = self._file.read(_HEADER)
        header = _parse(head) if len(head) == _HEADER else None
        if header is None:
            raise UnreadableError(f"{self.path}: is {stored} bytes long or damaged; an MRC header has {_HEADER}")
        mode = int(header["mode"])
        if mode not in _DTYPES:
            raise UnsupportedError(f"{self.path}: has MRC mode {mode}; expected one of {', '.join(map(str, _DTYPES))}")
        warnings: list[str] = []
        dtype = np.dtype(_dtype_of_bytes(header, warnings) if mode == 0 else _DTYPES[mode])
        self._stored = dtype.newbyteorder(_order(header))
        width, height, sections = (int(n) for n in header["n"])
        if mode == 0 and header["imod_stamp"] == _IMOD_STAMP and header["imod_flags"] & _PACKED:
            raise UnsupportedError(f"{self.path}: holds two pixels of 4 bits in a byte; unpack them first (newstack)")
        self._start = _HEADER + max(0, int(header["extended"]))
        self._stride = width * dtype.itemsize
        section = self._stride * height
        there = max(0, stored - self._start) // section
        if there < sections and stored - _HEADER == sections * section:
            raise UnreadableError(
                f"{self.path}: claims an extended header of {self._start - _HEADER} bytes that is not there; "
                "get the file from a copy, or set nsymbt to 0"
            )
        if not there:
            raise UnreadableError(
                f"{self.path}: is truncated: {stored} bytes hold no whole section of {height} x {width}"
            )
        if there < sections:
            warnings.append(f"{there} of {sections} sections are there; the stack is still growing or was cut off")
        elif extra := stored - self._start - sections * section:
            warnings.append(f"{extra} bytes behind the last section are not kept")
        geometry, missing = _geometry(header, warnings), max(0, sections - there)
        shape = (sections - missing, height, width)
        self.info = ImageInfo(shape, dtype, missing=missing, warnings=tuple(warnings), **geometry)

    def _decode(self, page: int, box: Box) -> Counts:
        offset = self._start + page * self._stride * self.info.shape[1]
        return read_rows(self._file, offset, self._stride, self._stored, box)


def _parse(head: bytes) -> NDArray[Any] | None:
    """Return the header as a record in the byte order that makes sense, None where neither does."""
    for order in _ORDERS:
        header = np.frombuffer(head, _layout(order), 1)[0]
        sizes_fit = all(0 < n <= _MOST for n in header["n"])
        axes_fit = sorted(header["axes"].tolist()) == [1, 2, 3] or header["map"] == b"MAP " or _is_bare(header)
        if sizes_fit and axes_fit and 0 <= header["mode"] <= 127:
            record: NDArray[Any] = header
            return record
    return None


def _is_bare(header: NDArray[Any]) -> bool:
    """Say whether a header without axes and magic word is one all the same, as old programs wrote them."""
    plain = int(header["mode"]) in _DTYPES and header["extended"] >= 0 and not header["axes"].any()
    return bool(plain and (header["n"] <= 1 << 16).all() and np.isin(header["angles"], (0, 90)).all())


def _order(header: NDArray[Any]) -> Order:
    return ">" if header.dtype["mode"].str[0] == ">" else "<"


def _dtype_of_bytes(header: NDArray[Any], warnings: list[str]) -> str:
    """Say whether mode 0 is int8 or uint8."""
    if header["imod_stamp"] == _IMOD_STAMP:
        return "i1" if header["imod_flags"] & _SIGNED else "u1"
    low, high = float(header["min"]), float(header["max"])
    if low < high and (low < 0 or high > 127):
        return "i1" if low < 0 else "u1"
    standard = int(header["version"]) in (20140, 20141)
    warnings.append(f"the file does not say whether its bytes are signed; taken as {'' if standard else 'un'}signed")
    return "i1" if standard else "u1"


def _sums(page: Counts) -> NDArray[np.float64]:
    """Return the sums of the values and of their squares; rows at a time, so the copy stays in the cache."""
    sums = np.zeros(2)
    for y in range(0, len(page), 64):
        rows = page[y : y + 64].astype(np.float64).ravel()
        sums += rows.sum(), rows @ rows
    return sums


def _along(header: NDArray[Any]) -> list[int]:
    """Return which axis (0 is x) columns, rows and sections run along."""
    axes = [int(axis) - 1 for axis in header["axes"]]
    return axes if sorted(axes) == [0, 1, 2] else [0, 1, 2]


def _geometry(header: NDArray[Any], warnings: list[str]) -> dict[str, Any]:
    """Return pixel size, distance of sections and origin as fields of an `ImageInfo`."""
    along = _along(header)
    edge, high, thick = (_edge_nm(header, axis) for axis in along)
    if along != [0, 1, 2]:
        names = ["xyz"[axis] for axis in along]
        warnings.append(f"columns, rows and sections run along {', '.join(names)}; the order is kept as it is stored")
    if int(header["space_group"]) in _VOLUME_STACK and 0 < int(header["m"][along[2]]) < int(header["n"][2]):
        count = int(header["n"][2]) // int(header["m"][along[2]])
        warnings.append(f"is a stack of {count} volumes; their sections are taken one after the other")
    if edge and high and high != edge:
        warnings.append(f"pixels are not square: {edge:g} nm wide and {high:g} nm high; blur counts in pixels")
    return {
        "pixel_nm": edge,
        "pixel_y_nm": high if edge and high != edge else None,
        "section_nm": thick,
        "origin_nm": _origin_nm(header, along, (edge, high, thick)),
    }


def _origin_nm(header: NDArray[Any], along: list[int], edges: tuple[float | None, ...]) -> tuple[float, float, float]:
    """Return the origin as (section, row, column); where it is 0, that of the first pixel of a larger map."""
    origin = header["origin"].astype(np.float64) / 10
    if header["imod_stamp"] == _IMOD_STAMP and not header["imod_flags"] & _ORIGIN_SIGN:
        origin = -origin
    if not np.isfinite(origin).all() or not origin.any():
        first = [int(header["start"][n]) * (edge or 0.0) for n, edge in enumerate(edges)]
        x, y, z = (float(value) for value in first)
    else:
        x, y, z = (float(origin[axis]) for axis in along)
    return (z + 0.0, y + 0.0, x + 0.0)


def _edge_nm(header: NDArray[Any], axis: int) -> float | None:
    edge, count = float(header["cell"][axis]), int(header["m"][axis])
    if not (count > 0 and np.isfinite(edge) and edge > 0):
        return None
    return rounded(edge / count / 10)


def _header_like(source: Path | None, like: ImageInfo) -> tuple[NDArray[Any], bytes]:
    """Return a writable header for `like` and the extended header, from `source` where there is one."""
    sections, height, width = like.shape
    extended = b""
    if source is None:
        header = np.zeros(1, _layout("<"))[0]
        header["axes"], header["angles"] = (1, 2, 3), 90
        header["map"], header["machine"], header["version"] = b"MAP ", b"\x44\x44\0\0", 20141
        header["m"] = (width, height, sections)
        edge = like.pixel_nm or 0
        edges = [edge, like.pixel_y_nm or edge, like.section_nm or edge]
        header["cell"] = np.multiply(header["m"], np.multiply(edges, 10))
        header["origin"] = np.multiply(like.origin_nm[::-1], 10)
    else:
        with open(source, "rb") as file:
            head = file.read(_HEADER)
            parsed = _parse(head)
            if parsed is None:
                raise UnreadableError(f"{source}: is not an MRC file any more")
            header = np.frombuffer(bytearray(head), parsed.dtype, 1)[0]
            extended = file.read(max(0, int(header["extended"])))
        # A sampling that was the size of the stack follows it, with the cell, so the voxel stays as it is.
        size, along = np.array([width, height, sections], np.int32), _along(header)
        sampling, cell = header["m"][along], header["cell"][along]
        follows = (sampling == header["n"]) & (header["n"] != size)
        header["cell"][along] = np.where(follows, cell * (size / header["n"]), cell)
        header["m"][along] = np.where(follows, size, sampling)
    header["n"], header["extended"] = (width, height, sections), len(extended)
    header["mode"] = _MODES[like.dtype.name]
    if header["mode"] == 0:
        header["imod_flags"] = (int(header["imod_flags"]) & ~_SIGNED) if header["imod_stamp"] == _IMOD_STAMP else 0
        header["imod_flags"] |= _SIGNED if like.dtype.kind == "i" else 0
        header["imod_flags"] |= _ORIGIN_SIGN if source is None or header["imod_stamp"] != _IMOD_STAMP else 0
        header["imod_stamp"] = _IMOD_STAMP
    return header, extended
