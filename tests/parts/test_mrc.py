"""MRC files of other programs: geometry, what is cut off or not there, old and foreign headers, and damage.

Headers are made and read by `struct`, at the bytes of the MRC 2014 standard; mrcfile is the judge of what is written.
"""

import struct

import mrcfile
import numpy as np
import pytest

from refocal.core.errors import RefocalError, UnreadableError, UnsupportedError
from refocal.core.values import ImageInfo
from refocal.parts.formats import create_image, open_image

IMOD = 1146047817
SHAPE = (6, 20, 32)


@pytest.fixture
def counts():
    return np.random.default_rng(2).integers(-99, 99, SHAPE, np.int16)


def mrc(counts, extended=b"", order="<", **fields):
    """Return the bytes of a file; `fields` are (format, value...) by the byte at which they begin, as `at_64`."""
    z, y, x = counts.shape
    head = bytearray(1024)
    mode = {"int8": 0, "uint8": 0, "int16": 1, "float32": 2, "float16": 12, "uint16": 6}[counts.dtype.name]
    struct.pack_into(f"{order}10i6f3i3f2i", head, 0, x, y, z, mode, 0, 0, 0, x, y, z,
                     x * 40.0, y * 50.8, z * 400.0, 90, 90, 90, 1, 2, 3, 0, 0, 0, 1, len(extended))  # fmt: skip
    struct.pack_into("4s4B", head, 208, b"MAP ", *((0x44, 0x44) if order == "<" else (0x11, 0x11)), 0, 0)
    for name, (kind, *values) in fields.items():
        struct.pack_into(order + kind, head, int(name.removeprefix("at_")), *values)
    return bytes(head) + extended + counts.astype(counts.dtype.newbyteorder(order)).tobytes()


def info(path):
    with open_image(path) as image:
        return image.info


def test_pixels_that_are_not_square_and_sections_are_kept(counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts))
    known = info(tmp_path / "a.mrc")
    assert (known.pixel_nm, known.pixel_y_nm, known.section_nm) == (4.0, 5.08, 40.0)
    assert any("not square" in line for line in known.warnings)
    create_image(tmp_path / "b.mrc", iter(counts), ImageInfo(
        SHAPE, counts.dtype, 4.0, pixel_y_nm=5.08, section_nm=40.0, origin_nm=(80.0, 10.0, 4.0)))  # fmt: skip
    with mrcfile.open(tmp_path / "b.mrc") as theirs:
        voxel, origin = theirs.voxel_size, theirs.header.origin
        np.testing.assert_allclose([float(voxel[n]) for n in "xyz"], [40, 50.8, 400], rtol=1e-5)
        np.testing.assert_allclose([float(origin[n]) for n in "xyz"], [40, 100, 800], rtol=1e-5)


@pytest.mark.parametrize("axes", [(1, 2, 3), (3, 2, 1), (2, 1, 3), (1, 3, 2), (3, 1, 2), (2, 3, 1)])
def test_sizes_follow_the_axes(axes, counts, tmp_path):
    edges, n = (40.0, 50.8, 400.0), SHAPE[::-1]
    sampling, cell = [0, 0, 0], [0.0, 0.0, 0.0]
    for place, axis in enumerate(axes):
        sampling[axis - 1], cell[axis - 1] = n[place], n[place] * edges[axis - 1]
    data = mrc(counts, at_28=("3i", *sampling), at_40=("3f", *cell), at_64=("3i", *axes))
    (tmp_path / "a.mrc").write_bytes(data)
    known = info(tmp_path / "a.mrc")
    column, row, section = (edges[axis - 1] / 10 for axis in axes)
    assert (known.pixel_nm, known.pixel_y_nm or known.pixel_nm, known.section_nm) == (column, row, section)
    assert (axes == (1, 2, 3)) == (not any("run along" in line for line in known.warnings))


@pytest.mark.parametrize(
    ("fields", "origin"),
    [
        ({}, (0.0, 0.0, 0.0)),
        ({"at_196": ("3f", 40.0, 50.0, 60.0)}, (6.0, 5.0, 4.0)),
        ({"at_16": ("3i", 10, 20, 3)}, (120.0, 101.6, 40.0)),
        ({"at_196": ("3f", 40.0, 50.0, 60.0), "at_152": ("2i", IMOD, 0)}, (-6.0, -5.0, -4.0)),
        ({"at_196": ("3f", 40.0, 50.0, 60.0), "at_152": ("2i", IMOD, 4)}, (6.0, 5.0, 4.0)),
        ({"at_196": ("3f", np.nan, 0.0, 0.0)}, (0.0, 0.0, 0.0)),
    ],
)
def test_the_origin_is_an_offset(fields, origin, counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, **fields))
    assert info(tmp_path / "a.mrc").origin_nm == pytest.approx(origin)


@pytest.mark.parametrize("edge", [0.0, -40.0, np.nan, np.inf])
def test_a_cell_that_is_no_size_is_not_known(edge, counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, at_40=("3f", edge, edge, edge)))
    known = info(tmp_path / "a.mrc")
    assert (known.pixel_nm, known.section_nm) == (None, None)


def test_a_stack_of_volumes_is_said(counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, at_88=("i", 401), at_28=("3i", 32, 20, 3)))
    assert any("stack of 2 volumes" in line for line in info(tmp_path / "a.mrc").warnings)
    with open_image(tmp_path / "a.mrc") as image:
        create_image(tmp_path / "b.mrc", iter(counts), image.info, tmp_path / "a.mrc")
    assert struct.unpack_from("<3i", (tmp_path / "b.mrc").read_bytes(), 28) == (32, 20, 3)


@pytest.mark.parametrize("kind", [b"SERI", b"FEI1", b"CCP4"])
def test_extended_headers_are_skipped_and_kept(kind, counts, tmp_path):
    extended = bytes(range(160)) * 2
    (tmp_path / "a.mrc").write_bytes(mrc(counts, extended, at_104=("4s", kind)))
    with open_image(tmp_path / "a.mrc") as image:
        np.testing.assert_array_equal(image.read(5), counts[5])
        create_image(tmp_path / "b.mrc", iter(counts), image.info, tmp_path / "a.mrc")
    assert (tmp_path / "b.mrc").read_bytes()[1024:1344] == extended


@pytest.mark.parametrize("claimed", [1, 10 * 64, 5 * 20 * 64, 1 << 30])
def test_an_extended_header_that_is_not_there_is_no_shift(claimed, counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, at_92=("i", claimed)))
    with pytest.raises(UnreadableError, match="extended header"):
        info(tmp_path / "a.mrc")


def test_bytes_too_many_are_said(counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts) + bytes(100))
    assert any("100 bytes behind" in line for line in info(tmp_path / "a.mrc").warnings)


@pytest.mark.parametrize("fields", [{"at_64": ("3i", 0, 0, 0), "at_208": ("8x",)}, {"at_208": ("8x",)}])
@pytest.mark.parametrize("order", "<>")
def test_old_headers_are_read(fields, order, counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, order=order, **fields))
    with open_image(tmp_path / "a.mrc") as image:
        np.testing.assert_array_equal(image.read(3), counts[3])


def test_a_wrong_machine_stamp_does_not_matter(counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, at_212=("4B", 0x11, 0x11, 0, 0)))
    with open_image(tmp_path / "a.mrc") as image:
        np.testing.assert_array_equal(image.read(3), counts[3])


@pytest.mark.parametrize("mode", [3, 4, 16, 101, 7, 99])
def test_other_modes_are_one_line(mode, counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts, at_12=("i", mode)))
    with pytest.raises(UnsupportedError, match=f"mode {mode}"):
        info(tmp_path / "a.mrc")


def test_packed_bytes_are_refused(counts, tmp_path):
    (tmp_path / "a.mrc").write_bytes(mrc(counts.astype("u1"), at_152=("2i", IMOD, 16)))
    with pytest.raises(UnsupportedError, match="4 bits"):
        info(tmp_path / "a.mrc")


def test_damaged_headers_are_one_line(counts, tmp_path):
    rng, whole, said = np.random.default_rng(5), mrc(counts), []
    for _ in range(300):
        damaged = bytearray(whole[: rng.choice([100, 1024, 3000, len(whole)], p=[0.05, 0.05, 0.1, 0.8])])
        for at in rng.integers(0, 224, 4):
            if at < len(damaged):
                damaged[at] = rng.integers(0, 256)
        (tmp_path / "d.mrc").write_bytes(damaged)
        try:
            with open_image(tmp_path / "d.mrc") as image:
                pages = [image.read(n) for n in range(min(image.info.shape[0], 8))]
                if len(pages) == image.info.shape[0]:
                    create_image(tmp_path / "o.mrc", iter(pages), image.info, tmp_path / "d.mrc")
        except RefocalError as error:
            said.append(str(error))
    assert said
    assert not any("\n" in line for line in said)
