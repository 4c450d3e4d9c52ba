"""Pixel size, stage and optics from the tags of each microscope maker, in files built byte for byte like theirs."""

import struct
from dataclasses import replace

import numpy as np
import pytest
import tifffile

from refocal.parts.formats import create_image, open_image

PIXELS = np.arange(48 * 64, dtype=np.uint8).reshape(48, 64)

ZEISS = (
    "1\r\n0\r\n0\r\n2.96e-008\r\n0.0\r\n-1\r\n"
    "AP_WD\r\nWD =  5.632 mm\r\n"
    "AP_STAGE_AT_X\r\nStage at X = 65.245 mm\r\n"
    "AP_STAGE_AT_Y\r\nStage at Y = -12.5 µm\r\n"
    "AP_STIG_X\r\nStigmation X = -4.0 %\r\n"
    "AP_STIG_Y\r\nStigmation Y = 83.9 %\r\n"
    "AP_ACTUALKV\r\nEHT = 1.50 kV\r\n"
    "DP_DWELL_TIME\r\nDwell Time = 200 ns\r\n"
    "AP_TIME\r\nTime :10:20:30\r\n"
    "DP_DETECTOR_CHANNEL\r\nSignal A = SE1\r\n"
)
FEI = (
    "[User]\r\nDate=06/15/2026\r\n[Beam]\r\nHV=2000\r\n[EBeam]\r\nStigmatorX=0.0125\r\nStigmatorY=-0.03\r\nHFW=2.56e-07\r\n"
    "[Scan]\r\nPixelWidth={}\r\nDwelltime=1e-06\r\n[Stage]\r\nStageX=0.00123\r\nStageY=-0.002\r\nWorkingDistance=0.0041\r\n"
    "[Image]\r\nResolutionX=64\r\n[PrivateFei]\r\nDatabarHeight=8\r\n"
)
TESCAN = (
    "[MAIN]\r\nCompany=TESCAN\r\nPixelSizeX=8e-09\r\nPixelSizeY=8e-09\r\nImageStripSize=0\r\n"
    "[SEM]\r\nWD=0.00512\r\nHV=5000.0\r\nDwellTime=3.2e-06\r\nStigmatorX=1.5\r\nStigmatorY=-2.25\r\nStageX=-0.01\r\nStageY=0.02\r\n"
)
OME = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">'
    '<Pixels ID="Pixels:0" SizeX="64" SizeY="48" PhysicalSizeX="{}" PhysicalSizeY="{}"{} Type="uint8">'
    '<Plane TheZ="0" PositionX="12.5" PositionXUnit="&#181;m" PositionY="-3" PositionYUnit="mm"/>'
    "</Pixels></Image></OME>"
)


def blob(code, text):
    stored = text.encode("cp1252") if isinstance(text, str) else text
    return (code, 2 if code == 34118 else 7, len(stored), stored, True)


def written(path, *tags, **settings):
    tifffile.imwrite(path, PIXELS, metadata=None, software=False, extratags=tags, **settings)
    return path


def info(path):
    with open_image(path) as image:
        np.testing.assert_array_equal(image.read(), PIXELS)
        return image.info


def test_zeiss(tmp_path):
    text = ZEISS + "AP_IMAGE_PIXEL_SIZE\r\nImage Pixel Size = 30.32 nm\r\n\0"
    got = info(written(tmp_path / "a.tif", blob(34118, text), resolution=(300, 300), resolutionunit="INCH"))
    assert got.pixel_nm == 30.32
    assert got.metadata == {
        "working_distance_nm": 5.632e6,
        "stage_x_nm": 65.245e6,
        "stage_y_nm": -12500.0,
        "stigmator_x": -4.0,
        "stigmator_y": 83.9,
        "voltage_kv": 1.5,
        "dwell_ns": 200.0,
        "microscope": "Zeiss",
    }


def test_zeiss_pixel_size_from_the_bare_numbers(tmp_path):
    # 2.96e-8 m for 1024 pixels across; this image has 64.
    assert info(written(tmp_path / "a.tif", blob(34118, ZEISS))).pixel_nm == pytest.approx(29.6 * 1024 / 64)


@pytest.mark.parametrize("unit", [b"\xb5m", b"\xc2\xb5m", b"?m", b"um", b"\xefm"])
def test_the_micro_sign_may_be_broken(unit, tmp_path):
    text = b"1\r\n0\r\n0\r\n0\r\nAP_PIXEL_SIZE\r\nPixel Size = 1.25 " + unit + b"\r\n"
    assert info(written(tmp_path / "a.tif", blob(34118, text))).pixel_nm == 1250.0


@pytest.mark.parametrize("code", [34680, 34682])
def test_fei(code, tmp_path):
    got = info(written(tmp_path / "a.tif", blob(code, FEI.format("4e-09"))))
    assert got.pixel_nm == 4.0
    assert got.metadata == {
        "stage_x_nm": 1.23e6,
        "stage_y_nm": -2e6,
        "working_distance_nm": 4.1e6,
        "dwell_ns": 1000.0,
        "stigmator_x": 0.0125,
        "stigmator_y": -0.03,
        "voltage_kv": 2.0,
        "databar_rows": 8,
        "microscope": "Thermo Fisher",
    }
    assert "data bar" in got.warnings[0]


def test_fei_pixel_size_from_the_field_width(tmp_path):
    assert info(written(tmp_path / "a.tif", blob(34682, FEI.format("")))).pixel_nm == 4.0


def tescan_metadata():
    return {
        "working_distance_nm": 5.12e6,
        "voltage_kv": 5.0,
        "dwell_ns": 3200.0,
        "stigmator_x": 1.5,
        "stigmator_y": -2.25,
        "stage_x_nm": -1e7,
        "stage_y_nm": 2e7,
        "microscope": "TESCAN",
    }


def test_tescan_tag_with_binary_prefix(tmp_path):
    got = info(written(tmp_path / "a.tif", blob(50431, b"\x01\x00\xd8\xff\x00" + TESCAN.encode())))
    assert (got.pixel_nm, got.metadata) == (8.0, tescan_metadata())


@pytest.mark.parametrize("name", ["a.hdr", "a-tif.hdr"])
def test_tescan_side_car(name, tmp_path):
    path = written(tmp_path / "a.tif")
    (tmp_path / name).write_text(TESCAN)
    assert (info(path).pixel_nm, info(path).metadata) == (8.0, tescan_metadata())


@pytest.mark.parametrize(
    ("size", "unit"), [("0.004", ""), ("4", ' PhysicalSizeXUnit="nm"'), ("40", ' PhysicalSizeXUnit="&#xC5;"')]
)
def test_ome(size, unit, tmp_path):
    got = info(written(tmp_path / "a.ome.tif", description=OME.format(size, size, unit)))
    assert got.pixel_nm == 4.0
    assert got.metadata == {"stage_x_nm": 12500.0, "stage_y_nm": -3e6}


@pytest.mark.parametrize(
    ("unit", "per_unit", "nm"),
    [("nm", 0.25, 4.0), ("micron", 250.0, 4.0), ("\\u00B5m", 250.0, 4.0), ("um", 250.0, 4.0), ("pixel", 1.0, None)],
)
def test_imagej(unit, per_unit, nm, tmp_path):
    text = f"ImageJ=1.54f\nunit={unit}\nmin=0.0\nmax=255.0\n"
    path = written(tmp_path / "a.tif", description=text, resolution=(per_unit, per_unit), resolutionunit="NONE")
    assert info(path).pixel_nm == nm


@pytest.mark.parametrize(("density", "unit", "nm"), [(2500000, "CENTIMETER", 4.0), (6350000, "INCH", 4.0)])
def test_resolution(density, unit, nm, tmp_path):
    path = written(tmp_path / "a.tif", resolution=(density, density), resolutionunit=unit)
    assert info(path).pixel_nm == nm


@pytest.mark.parametrize("dpi", [1, 72, 96, 300, 2400])
def test_print_resolution_is_not_a_pixel_size(dpi, tmp_path):
    assert info(written(tmp_path / "a.tif", resolution=(dpi, dpi), resolutionunit="INCH")).pixel_nm is None


def test_oblong_pixels_are_reported(tmp_path):
    got = info(written(tmp_path / "a.tif", resolution=(2500000, 1250000), resolutionunit="CENTIMETER"))
    assert (got.pixel_nm, len(got.warnings)) == (4.0, 1)


@pytest.mark.parametrize(
    "text", ["", "\0" * 40, "[", "[MAIN]\nPixelSizeX=\n", "AP_WD\nWD = nan mm", "=\n=\n=\n=", "µ" * 99]
)
@pytest.mark.parametrize("code", [34118, 34680, 34682, 50431])
def test_broken_tags_give_nothing(code, text, tmp_path):
    got = info(written(tmp_path / "a.tif", blob(code, text + "padding")))
    assert got.pixel_nm is None
    assert got.metadata == {}


@pytest.mark.parametrize("order", ["<", ">"])
def test_tags_are_copied_byte_for_byte(order, tmp_path):
    stored = {
        34118: ZEISS.encode("cp1252"),
        34682: FEI.format("4e-09").encode(),
        50431: b"\x01\x00\xd8\xff\x00" + TESCAN.encode(),
        65027: bytes(range(256)),
        50839: b"IJIJ" + bytes(40),
        315: b"Gr\xf6\xdfe",
    }
    tags = [
        (code, 2 if code in (34118, 315) else 7, len(v), v + b"\0" * (code in (34118, 315)), True)
        for code, v in stored.items()
    ]
    tags += [(65100, 5, 2, (1, 3, 2, 7), True), (65101, 12, 2, struct.pack(order + "2d", 1.5, -2.0), True)]
    tags += [(306, 2, 20, "2026:06:15 10:20:30\0", True)]
    source = written(tmp_path / "a.tif", *tags, byteorder=order, description="beam 17", resolution=(1000, 1001))
    with open_image(source) as image:
        create_image(tmp_path / "b.tif", [image.read()], image.info, source)
        assert info(tmp_path / "b.tif") == image.info
    with tifffile.TiffFile(source) as a, tifffile.TiffFile(tmp_path / "b.tif") as b:
        one, two = a.pages.first.tags, b.pages.first.tags
        for code in (*stored, 65100, 65101, 270, 282, 283, 296, 306):
            assert two[code].dtype == one[code].dtype
            assert two[code].count == one[code].count, code
            assert repr(two.valueof(code)) == repr(one.valueof(code)), code


def test_tvips_structure_is_copied_with_its_pointer(tmp_path):
    """The tag says "one number", the place of a structure: copying the number would point anywhere."""
    header = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V1)).tobytes()
    second = np.zeros(1, np.dtype(tifffile.TIFF.TVIPS_HEADER_V2))
    second["Magic"], second["PixelSizeX"] = 0xAAAAAAAA, 4.5
    stored = struct.pack("<i", 2) + header[4:] + second.tobytes()
    source = written(tmp_path / "a.tif", (37706, 4, len(stored) // 4, stored, True))
    raw = bytearray(source.read_bytes())
    entry = raw.find(struct.pack("<HHI", 37706, 4, len(stored) // 4))
    raw[entry + 4 : entry + 8] = struct.pack("<I", 1)
    source.write_bytes(raw)
    with open_image(source) as image:
        create_image(tmp_path / "b.tif", [image.read()], image.info, source)
    with tifffile.TiffFile(tmp_path / "b.tif") as back:
        assert back.tvips_metadata["PixelSizeX"] == 4.5


def test_pixel_size_known_only_to_the_caller_is_written(tmp_path):
    source = written(tmp_path / "a.tif")
    with open_image(source) as image:
        assert image.info.pixel_nm is None
        create_image(tmp_path / "b.tif", [image.read()], replace(image.info, pixel_nm=4.0), source)
    assert info(tmp_path / "b.tif").pixel_nm == 4.0
