"""Every image format: exact round trips, boxes, untouched sources, whole-or-not writing."""

import shutil
from pathlib import Path

import cv2
import mrcfile
import numpy as np
import pytest
import tifffile

from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.errors import UnreadableError, UnsupportedError, UsageError
from refocal.core.values import ImageInfo
from refocal.parts.formats import create_image, is_image_name, open_image
from refocal.testing import FormatContract
from refocal.testing.formats import name_of, write


class TestEveryFormat(FormatContract):
    kinds = registry.names("formats")


def image(rng, dtype, shape=(1, 45, 67)):
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=shape).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min, info.max, shape, dtype, endpoint=True)


@pytest.mark.parametrize("kind", ["png", "tiff"])
def test_metadata_without_a_source(kind, tmp_path, rng):
    metadata = {"stage_x_nm": 12.5, "microscope": "Zeiss"}
    path = write(name_of(kind, tmp_path), image(rng, "uint8"), metadata=metadata)
    with open_image(path) as back:
        assert back.info.metadata == metadata


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (bytes(5000), "zeros"),
        (b"\xff\xd8\xff\xe0" + bytes(99), "JPEG"),
        (b"\x89HDF\r\n\x1a\n" + bytes(99), "HDF5"),
        (b"hello, this is a text", "no known kind"),
        (b"BM", "no known kind"),
    ],
)
def test_what_is_not_an_image_is_named(content, says, tmp_path):
    path = tmp_path / "tile.tif"
    path.write_bytes(content)
    with pytest.raises(UnreadableError, match=says) as error:
        open_image(path)
    assert "\n" not in str(error.value)


def test_missing_files_and_unknown_extensions(tmp_path, rng):
    with pytest.raises(UnreadableError, match="No such file"):
        open_image(tmp_path / "absent.tif")
    with pytest.raises(UnreadableError):
        open_image(tmp_path)
    with pytest.raises(UsageError, match=r"\.tif"):
        write(tmp_path / "tile.xyz", image(rng, "uint8"))


def test_image_names():
    for name in ("a.tif", "A.TIFF", "001_000001_001_x.bmp", "s.ome.tif", "x.png", "x.mrc", "x.st"):
        assert is_image_name(Path("folder") / name), name
    for name in ("a.tif.part", ".a.tif", ".a.tif.part", "~a.tif", "a.tif~", "a.txt", "a.jpg", "tif", "a"):
        assert not is_image_name(Path(name)), name


# BMP: OpenCV is the independent reader and writer.


def test_bmp_agrees_with_opencv(tmp_path, rng):
    counts = image(rng, "uint8", (1, 31, 45))
    theirs, ours = tmp_path / "theirs.bmp", tmp_path / "ours.bmp"
    cv2.imwrite(str(theirs), counts[0])
    write(ours, counts, nm=4.0)
    with open_image(theirs) as back:
        np.testing.assert_array_equal(back.read(), counts[0])
        assert back.info.pixel_nm is None
    np.testing.assert_array_equal(cv2.imread(str(ours), cv2.IMREAD_UNCHANGED), counts[0])


def test_bmp_top_down_header_is_kept(tmp_path, rng):
    counts = image(rng, "uint8", (1, 31, 45))
    source = write(tmp_path / "a.bmp", counts, nm=4.0)
    stored = bytearray(source.read_bytes())
    stored[22:26] = (-31).to_bytes(4, "little", signed=True)
    source.write_bytes(stored)
    with open_image(source) as back:
        np.testing.assert_array_equal(back.read(), counts[0][::-1])
        np.testing.assert_array_equal(back.read(0, Box((3, 4), (9, 44))), counts[0][::-1][3:9, 4:44])
        copy = write(tmp_path / "b.bmp", back.read()[None], source=source)
    assert copy.read_bytes() == source.read_bytes()


def test_bmp_palettes(tmp_path, rng):
    counts = image(rng, "uint8")
    stored = bytearray(write(tmp_path / "a.bmp", counts).read_bytes())
    inverted = stored.copy()
    inverted[54:1078] = np.repeat(np.arange(256, dtype=np.uint8)[::-1, None], 4, axis=1).tobytes()
    (tmp_path / "inverted.bmp").write_bytes(inverted)
    with open_image(tmp_path / "inverted.bmp") as back:
        np.testing.assert_array_equal(back.read(), 255 - counts[0])
        assert "palette" in back.info.warnings[0]
        copy = write(tmp_path / "copy.bmp", back.read()[None], source=tmp_path / "inverted.bmp")
    with open_image(copy) as back:
        np.testing.assert_array_equal(back.read(), 255 - counts[0])
    stored[54:58] = b"\1\2\3\0"
    (tmp_path / "colour.bmp").write_bytes(stored)
    with pytest.raises(UnsupportedError, match="colour"):
        open_image(tmp_path / "colour.bmp")


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".tif"])
def test_colour_files(suffix, tmp_path, rng):
    grey = image(rng, "uint8")[0]
    path = tmp_path / f"grey{suffix}"
    cv2.imwrite(str(path), np.dstack([grey] * 3))
    with open_image(path) as back:
        assert "grey" in back.info.warnings[0]
        np.testing.assert_array_equal(back.read(0, Box((2, 3), (40, 50))), grey[2:40, 3:50])
        copy = write(tmp_path / f"copy{suffix}", back.read()[None], source=path)
    with open_image(copy) as back:
        np.testing.assert_array_equal(back.read(), grey)
    cv2.imwrite(str(path), np.dstack([grey, grey, 255 - grey]))
    with pytest.raises(UnsupportedError, match="colour"), open_image(path) as back:
        back.read()


# MRC: mrcfile is the independent reader and writer.


@pytest.mark.parametrize("dtype", ["int8", "int16", "uint16", "float16", "float32"])
def test_mrc_agrees_with_mrcfile(dtype, tmp_path, rng):
    counts = image(rng, dtype, (3, 20, 31))
    ours = write(tmp_path / "ours.mrc", counts, nm=4.0)
    with mrcfile.open(ours) as theirs:
        np.testing.assert_array_equal(theirs.data, counts)
        assert theirs.voxel_size.x == pytest.approx(40.0)
        assert float(theirs.header.dmax) == pytest.approx(float(counts.max()))
        assert float(theirs.header.rms) == pytest.approx(float(counts.astype(np.float64).std()), rel=1e-5)
    assert mrcfile.validate(ours, print_file=open("/dev/null", "w")) or dtype == "float16"


@pytest.mark.parametrize("order", ["<", ">"])
def test_mrc_header_labels_and_extended_header_are_kept(order, tmp_path, rng):
    counts = image(rng, "int16", (3, 20, 31)).astype(order + "i2")
    source = tmp_path / "theirs.st"
    with mrcfile.new(source) as theirs:
        theirs.set_data(counts)
        theirs.voxel_size = 40.0
        theirs.add_label("beam 17")
        theirs.set_extended_header(np.frombuffer(bytes(range(200)), "V1"))
    with open_image(source) as back:
        assert back.info.pixel_nm == 4.0
        assert back.info.warnings == ()
        np.testing.assert_array_equal(back.read(2), counts[2])
        copy = tmp_path / "copy.st"
        create_image(copy, (back.read(i) // 2 for i in range(2)), ImageInfo((2, 20, 31), np.dtype("int16")), source)
    with mrcfile.open(copy) as theirs:
        np.testing.assert_array_equal(theirs.data, counts[:2] // 2)
        assert "beam 17" in theirs.get_labels()[-1]
        assert theirs.extended_header.tobytes() == bytes(range(200))
        assert theirs.voxel_size.z == pytest.approx(40.0)


def test_mrc_growing_stack_shows_whole_sections(tmp_path, rng):
    counts = image(rng, "uint16", (4, 20, 31))
    path = write(tmp_path / "s.mrc", counts)
    path.write_bytes(path.read_bytes()[:-1500])
    with open_image(path) as back:
        assert back.info.shape == (2, 20, 31)
        assert "2 of 4" in back.info.warnings[0]
        np.testing.assert_array_equal(back.read(1), counts[1])


@pytest.mark.parametrize(
    ("stamp", "flags", "low", "high", "version", "dtype", "warned"),
    [
        (1146047817, 0, 0, 0, 0, "uint8", False),
        (1146047817, 1, 0, 0, 0, "int8", False),
        (0, 0, -5, 100, 0, "int8", False),
        (0, 0, 0, 200, 20140, "uint8", False),
        (0, 0, 0, 0, 20140, "int8", True),
        (0, 0, 0, 0, 0, "uint8", True),
    ],
)
def test_mrc_signedness_of_bytes(stamp, flags, low, high, version, dtype, warned, tmp_path, rng):
    counts = image(rng, "uint8")
    path = write(tmp_path / "s.mrc", counts)
    stored = bytearray(path.read_bytes())
    for offset, value in ((152, stamp), (156, flags), (108, version)):
        stored[offset : offset + 4] = value.to_bytes(4, "little")
    stored[76:84] = np.array([low, high], "<f4").tobytes()
    path.write_bytes(stored)
    with open_image(path) as back:
        assert back.info.dtype == np.dtype(dtype)
        assert bool(back.info.warnings) is warned
        np.testing.assert_array_equal(back.read(), counts[0].view(dtype))
        copy = write(tmp_path / "c.mrc", back.read()[None], source=path)
    with open_image(copy) as back:
        assert back.info.dtype == np.dtype(dtype)
        assert back.info.warnings == ()


def test_mrc_complex_is_unsupported(tmp_path):
    with mrcfile.new(tmp_path / "c.mrc") as theirs:
        theirs.set_data(np.zeros((4, 5), np.complex64))
    with pytest.raises(UnsupportedError, match="mode 4"):
        open_image(tmp_path / "c.mrc")


# TIFF: tifffile writes, we read; and the other way round.

LAYOUTS = [
    {},
    {"rowsperstrip": 7},
    {"tile": (16, 32)},
    {"compression": "lzw", "predictor": True},
    {"compression": "zlib", "tile": (32, 16), "predictor": True},
    {"compression": "zstd", "rowsperstrip": 9},
    {"compression": "packbits"},
]


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("layout", LAYOUTS, ids=str)
def test_tiff_layouts_are_read_and_kept(order, big, dtype, layout, tmp_path, rng):
    counts = image(rng, dtype, (2, 50, 77))
    if dtype == "float32" and layout.get("compression") == "packbits":
        pytest.skip("packbits is for bytes")
    source, copy = tmp_path / "a.tif", tmp_path / "b.tif"
    with tifffile.TiffWriter(source, byteorder=order, bigtiff=big) as writer:
        for page in counts:
            writer.write(page, metadata=None, contiguous=False, description="kept", software="scope 1", **layout)
    with open_image(source) as back:
        for page in range(2):
            np.testing.assert_array_equal(back.read(page), counts[page])
            for box in (Box((0, 0), (1, 1)), Box((6, 15), (34, 49)), Box((49, 70), (50, 77)), Box((3, 2), (41, 9))):
                np.testing.assert_array_equal(back.read(page, box), counts[page][box.slices])
        create_image(copy, (back.read(i) for i in range(2)), back.info, source)
    np.testing.assert_array_equal(tifffile.imread(copy), counts)
    with tifffile.TiffFile(source) as a, tifffile.TiffFile(copy) as b:
        assert len(b.pages) == 2
        for one, two in zip(a.pages, b.pages, strict=True):
            for name in ("dtype", "shape", "compression", "predictor", "rowsperstrip", "tile", "description"):
                assert getattr(one, name) == getattr(two, name), name
            assert two.software == "scope 1"
        assert a.is_bigtiff == b.is_bigtiff


def test_tiff_lossy_source_is_written_lossless(tmp_path, rng):
    counts = image(rng, "uint8")
    tifffile.imwrite(tmp_path / "a.tif", counts[0], compression="jpeg")
    write(tmp_path / "b.tif", counts, source=tmp_path / "a.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), counts[0])


def test_tiff_palette_gives_indices_and_stays(tmp_path, rng):
    counts = image(rng, "uint8")
    palette = rng.integers(0, 65535, (3, 256), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", counts[0], photometric="palette", colormap=palette)
    with open_image(tmp_path / "a.tif") as back:
        np.testing.assert_array_equal(back.read(), counts[0])
    write(tmp_path / "b.tif", counts, source=tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "b.tif") as back:
        np.testing.assert_array_equal(back.pages.first.colormap, palette)


@pytest.mark.parametrize("nested", [True, False])
def test_tiff_pyramids_show_the_full_size(nested, tmp_path, rng):
    counts = image(rng, "uint16", (1, 64, 96))[0]
    with tifffile.TiffWriter(tmp_path / "p.tif") as writer:
        writer.write(counts, subifds=2 if nested else None, tile=(16, 16), metadata=None)
        for step in (2, 4):
            writer.write(counts[::step, ::step], subfiletype=1, tile=(16, 16), metadata=None)
    with open_image(tmp_path / "p.tif") as back:
        assert back.info.shape == (1, 64, 96)
        assert "smaller copies" in back.info.warnings[0]
        np.testing.assert_array_equal(back.read(), counts)


def test_tiff_stacks_with_one_directory(tmp_path, rng):
    counts = image(rng, "uint16", (5, 30, 40))
    with tifffile.TiffWriter(tmp_path / "s.tif") as writer:
        writer.write(counts, truncate=True)
    with open_image(tmp_path / "s.tif") as back:
        assert back.info.shape == counts.shape
        for page in (0, 3, 4):
            np.testing.assert_array_equal(back.read(page), counts[page])
            np.testing.assert_array_equal(back.read(page, Box((3, 4), (9, 8))), counts[page, 3:9, 4:8])


def test_tiff_of_other_kinds_is_unsupported(tmp_path):
    for counts in (np.zeros((4, 5), bool), np.zeros((4, 5), np.complex64)):
        tifffile.imwrite(tmp_path / "k.tif", counts)
        with pytest.raises(UnsupportedError):
            open_image(tmp_path / "k.tif")


def test_png_keeps_comments_and_density(tmp_path, rng):
    pillow = pytest.importorskip("PIL.Image")
    from PIL.PngImagePlugin import PngInfo

    counts = image(rng, "uint8")
    notes = PngInfo()
    notes.add_text("Beam", "17")
    notes.add_itxt("Wafer", "Größe")
    pillow.fromarray(counts[0]).save(tmp_path / "a.png", pnginfo=notes, dpi=(72, 72))
    with open_image(tmp_path / "a.png") as back:
        assert back.info.pixel_nm is None
        np.testing.assert_array_equal(back.read(), counts[0])
    write(tmp_path / "b.png", counts, source=tmp_path / "a.png")
    with pillow.open(tmp_path / "b.png") as back:
        np.testing.assert_array_equal(np.asarray(back), counts[0])
        assert back.text == {"Beam": "17", "Wafer": "Größe"}
        assert back.info["dpi"] == pytest.approx((72, 72), rel=1e-3)


def test_real_images_open(data, tmp_path):
    paths = sorted(p for p in data.rglob("*") if p.is_file() and is_image_name(p))
    assert paths
    for path in paths:
        try:
            with open_image(path) as back:
                pages, height, width = back.info.shape
                got = back.read(pages - 1, Box((0, 0), (min(64, height), min(64, width))))
                assert got.dtype == back.info.dtype
        except UnsupportedError as error:
            if "colour" not in str(error):  # as histological sections are
                raise


def test_a_real_tile_as_bmp_in_png(data, tmp_path):
    tile = tmp_path / "tile.png"
    with open_image(data / "real" / "sem_focus_series" / "richard3.png") as raw:
        counts = raw.read()
    write(tmp_path / "tile.bmp", counts[None], nm=30.32)
    shutil.move(tmp_path / "tile.bmp", tile)
    with open_image(tile) as back:
        assert "BMP" in back.info.warnings[0]
        assert back.info.pixel_nm == 30.32
        np.testing.assert_array_equal(back.read(), counts)
