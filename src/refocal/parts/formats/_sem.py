"""What microscopes write in addition to pixels: pixel size, stage, working distance, dwell time, stigmators, voltage.

Every reader takes text and returns a flat dictionary with those of the keys `pixel_nm`, `stage_x_nm`, `stage_y_nm`,
`working_distance_nm`, `dwell_ns`, `stigmator_x`, `stigmator_y`, `voltage_kv`, `databar_rows` and `microscope` that the
text gives. Broken text gives fewer keys, never an error.

Sources: the tag descriptions in tifffile's documentation, the OME-XML schema, ImageJ's file info; TESCAN's header keys
as used by NexusLIMS.
"""

import html
import math
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

from refocal.parts.formats._density import rounded

ZEISS, FEI_SFEG, FEI_HELIOS, TESCAN = 34118, 34680, 34682, 50431
TAGS = (ZEISS, FEI_SFEG, FEI_HELIOS, TESCAN)

_LENGTH = {"m": 1e9, "cm": 1e7, "mm": 1e6, "um": 1e3, "micron": 1e3, "microns": 1e3, "micrometer": 1e3, "nm": 1.0}
_LENGTH |= {"nanometer": 1.0, "pm": 1e-3, "a": 0.1, "å": 0.1, "angstrom": 0.1, "inch": 2.54e7, "in": 2.54e7}
_TIME = {"s": 1e9, "ms": 1e6, "us": 1e3, "ns": 1.0}
_VOLTAGE = {"v": 1e-3, "kv": 1.0}
_PURE = {"": 1.0, "%": 1.0}
_UNITS = {
    "stigmator_x": _PURE,
    "stigmator_y": _PURE,
    "databar_rows": _PURE,
    "dwell_ns": _TIME,
    "voltage_kv": _VOLTAGE,
}
_NUMBER = re.compile(r"\s{0,20}([-+]?\d{0,40}[.,]?\d{1,40}(?:[eE][-+]?\d{1,4})?)\s{0,20}(\S{0,40})")

# A folder that changed just now may change again within one tick of its clock.
_QUIET_NS = 10_000_000_000

# The micro sign does not survive every code page: anything foreign before a plain letter is one.
_MICRO = re.compile(r"^([^\x00-\x7f]+|\?)(?=[a-z])")

# Key of the file -> our key. The first that is there wins.
_ZEISS_KEYS = {
    "AP_IMAGE_PIXEL_SIZE": "pixel_nm",
    "AP_PIXEL_SIZE": "pixel_nm",
    "AP_STAGE_AT_X": "stage_x_nm",
    "AP_STAGE_AT_Y": "stage_y_nm",
    "AP_WD": "working_distance_nm",
    "DP_DWELL_TIME": "dwell_ns",
    "AP_DWELL_TIME": "dwell_ns",
    "AP_STIG_X": "stigmator_x",
    "AP_STIG_Y": "stigmator_y",
    "AP_ACTUALKV": "voltage_kv",
    "AP_MANUALKV": "voltage_kv",
}
_FEI_KEYS = {
    "Scan.PixelWidth": "pixel_nm",
    "EScan.PixelWidth": "pixel_nm",
    "IScan.PixelWidth": "pixel_nm",
    "Stage.StageX": "stage_x_nm",
    "Stage.StageY": "stage_y_nm",
    "Stage.WorkingDistance": "working_distance_nm",
    "EBeam.WD": "working_distance_nm",
    "Scan.Dwelltime": "dwell_ns",
    "Scan.Dwell": "dwell_ns",
    "EScan.Dwell": "dwell_ns",
    "EBeam.StigmatorX": "stigmator_x",
    "EBeam.StigmatorY": "stigmator_y",
    "EBeam.HV": "voltage_kv",
    "Beam.HV": "voltage_kv",
    "PrivateFei.DatabarHeight": "databar_rows",
}
_TESCAN_KEYS = {
    "MAIN.PixelSizeX": "pixel_nm",
    "SEM.StageX": "stage_x_nm",
    "SEM.StageY": "stage_y_nm",
    "SEM.WD": "working_distance_nm",
    "SEM.DwellTime": "dwell_ns",
    "SEM.StigmatorX": "stigmator_x",
    "SEM.StigmatorY": "stigmator_y",
    "SEM.HV": "voltage_kv",
    "MAIN.ImageStripSize": "databar_rows",
}


def read_tag(code: int, stored: bytes, width: int) -> dict[str, Any]:
    """Read one private TIFF tag of `TAGS`; `width` is the image's, in pixels."""
    text = stored.decode("cp1252", "replace")
    if code == ZEISS:
        return read_zeiss(text, width)
    return read_tescan(text) if code == TESCAN else read_fei(text, width)


def read_zeiss(text: str, width: int) -> dict[str, Any]:
    """Read the SmartSEM block: some bare numbers, then pairs of lines `AP_KEY` and `Name = value unit`.

    The fourth bare number is the pixel size in metres of an image 1024 pixels wide.
    """
    lines = [line.strip("\0\r\n ") for line in text.split("\n")]
    pairs = {
        key: value.partition("=")[2]
        for key, value in pairwise(lines)
        if key.startswith(("AP_", "DP_")) and "=" in value
    }
    found = _pick(pairs, _ZEISS_KEYS, {})
    if "pixel_nm" not in found and len(lines) > 3:
        with suppress(ValueError):
            found |= _positive(float(lines[3]) * 1024 / width * 1e9)
    return found | ({"microscope": "Zeiss"} if found else {})


def read_fei(text: str, width: int) -> dict[str, Any]:
    """Read the FEI or Thermo Fisher block: an INI text in SI units."""
    pairs = _ini(text)
    found = _pick(pairs, _FEI_KEYS, {"pixel_nm": "m", "dwell_ns": "s", "voltage_kv": "V"})
    if "pixel_nm" not in found:
        field = next((pairs[k] for k in ("EBeam.HFW", "IRBeam.HFW", "IBeam.HFW") if k in pairs), "")
        with suppress(ValueError, ZeroDivisionError):
            found |= _positive(float(field) / float(pairs.get("Image.ResolutionX", width)) * 1e9)
    return found | ({"microscope": "Thermo Fisher"} if found else {})


def read_tescan(text: str) -> dict[str, Any]:
    """Read the TESCAN block or `.hdr` side-car: an INI text in SI units, after a few binary bytes."""
    found = _pick(_ini(text), _TESCAN_KEYS, {"pixel_nm": "m", "dwell_ns": "s", "voltage_kv": "V"})
    return found | ({"microscope": "TESCAN"} if found else {})


def read_side_car(path: Path) -> dict[str, Any]:
    """Read `name.hdr` or `name-ext.hdr` beside an image, where TESCAN keeps its header."""
    if not _has_headers(path.parent):
        return {}
    for name in (path.stem + ".hdr", f"{path.stem}-{path.suffix[1:]}.hdr"):
        with suppress(OSError), open(path.with_name(name), "rb") as file:
            return read_tescan(file.read(1 << 20).decode("cp1252", "replace"))
    return {}


def _has_headers(folder: Path) -> bool:
    """Say whether a folder may hold `.hdr` files; one that has not changed for a while is listed once.

    Two look-ups for files that are not there take longer over a network than reading the head of a tile.
    """
    try:
        changed_ns = os.stat(folder).st_mtime_ns
        return time.time_ns() - changed_ns < _QUIET_NS or _lists_headers(folder, changed_ns)
    except OSError:
        return True


@lru_cache(maxsize=1024)
def _lists_headers(folder: Path, changed_ns: int) -> bool:
    with os.scandir(folder) as entries:
        return any(entry.name.lower().endswith(".hdr") for entry in entries)


def read_ome(text: str) -> dict[str, Any]:
    """Read the pixel size and the stage position of the first plane from OME-XML."""
    found: dict[str, Any] = {}
    pixels, plane = _attributes("Pixels", text), _attributes("Plane", text)
    if "PhysicalSizeX" in pixels:
        for axis, key in (("X", "pixel_nm"), ("Y", "pixel_y_nm"), ("Z", "section_nm")):
            size = pixels.get(f"PhysicalSize{axis}", "") + pixels.get(f"PhysicalSize{axis}Unit", "um")
            found |= _positive(_quantity(size, _LENGTH, ""), key)
    for axis, key in (("X", "stage_x_nm"), ("Y", "stage_y_nm")):
        # Without a unit the schema means an unknown "reference frame".
        value = _quantity(plane.get(f"Position{axis}", "") + plane.get(f"Position{axis}Unit", "?"), _LENGTH, "")
        if value is not None:
            found[key] = value
    return found


def read_imagej(text: str, per_unit: float | None) -> dict[str, Any]:
    """Read ImageJ's `unit=` and `spacing=`; `per_unit` is the resolution tag, pixels per that unit."""
    lines = dict(line.partition("=")[::2] for line in text.splitlines())
    name = lines.get("unit", "").strip().replace("\\u00B5", "µ").replace("\\u00b5", "µ")
    if not name or not per_unit:
        return {}
    found = _positive(_quantity(f"{1 / per_unit!r}{name}", _LENGTH, ""))
    z_unit = lines.get("zunit", "").strip() or name
    return found | _positive(_quantity(f"{lines.get('spacing', '').strip()}{z_unit}", _LENGTH, ""), "section_nm")


def _pick(pairs: Mapping[str, str], keys: Mapping[str, str], bare: Mapping[str, str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for theirs, ours in keys.items():
        if theirs not in pairs or ours in found:
            continue
        units = _UNITS.get(ours, _LENGTH)
        value = _quantity(pairs[theirs], units, bare.get(ours, "" if units is _PURE else "m"))
        if value is None or (ours == "pixel_nm" and not value > 0):
            continue
        found[ours] = int(value) if ours == "databar_rows" else value
    if not found.get("databar_rows", 1):
        del found["databar_rows"]
    return found


def _ini(text: str) -> dict[str, str]:
    """Return `Section.Key` -> value; the first section header may follow binary bytes."""
    pairs: dict[str, str] = {}
    section = ""
    for line in text.splitlines():
        _, bracket, name = line.rstrip("\0 \t\r").rpartition("[")
        if bracket and name.endswith("]") and name[:-1].isidentifier():
            section = name[:-1]
        elif "=" in line:
            key, _, value = line.partition("=")
            pairs.setdefault(f"{section}.{key.strip()}", value.strip("\0 "))
    return pairs


def _quantity(text: str, units: Mapping[str, float], bare: str) -> float | None:
    """Return a number with its unit in our unit; `bare` is the unit of a number without one."""
    match = _NUMBER.match(text)
    if not match:
        return None
    unit = match[2].lower() or bare.lower()
    unit = _MICRO.sub("u", unit)
    if unit not in units:
        return None
    value = float(match[1].replace(",", ".")) * units[unit]
    return float(f"{value:.9g}") if math.isfinite(value) else None


def _positive(nm: float | None, key: str = "pixel_nm") -> dict[str, Any]:
    return {key: rounded(nm)} if nm and math.isfinite(nm) and nm > 0 else {}


def _attributes(element: str, text: str) -> dict[str, str]:
    """Return the attributes of the first such element; a pattern suffices and cannot be attacked as XML can."""
    match = re.search(rf"<(?:\w{{1,40}}:)?{element}\b([^<>]{{0,4000}})>", text)
    return {k: html.unescape(v) for k, v in re.findall(r'(\w{1,60})="([^"]*)"', match[1])} if match else {}
