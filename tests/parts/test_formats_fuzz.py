"""Damaged files: whatever is cut, flipped or zeroed, opening and reading give pixels or a `RefocalError`."""

import contextlib
import io
import os
import time

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refocal.core import registry
from refocal.core.errors import RefocalError
from refocal.core.values import ImageInfo
from refocal.parts.formats import create_image, open_image

RNG = np.random.default_rng(7)
COUNTS = RNG.integers(0, 255, (40, 53), np.uint8)
MICROSCOPE = [
    (34118, 2, 0, b"1\n0\n0\n4e-9\nAP_WD\nWD = 5 mm\n\0", True),
    (34682, 7, 0, b"[Scan]\nPixelWidth=4e-9\n", True),
]
TIFFS = {
    "strips": {"rowsperstrip": 9},
    "tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "zstd": {"compression": "zstd"},
    "tags": {"extratags": MICROSCOPE, "description": "ImageJ=1.5\nimages=1\nunit=nm\n"},
    "big": {"bigtiff": True},
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of one sound file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    files = {}
    for kind in registry.names("formats"):
        path = folder / ("a" + registry.load("formats", kind).extensions[0])
        create_image(path, [COUNTS], ImageInfo((1, *COUNTS.shape), COUNTS.dtype, 4.0, {"stage_x_nm": 1.0}))
        files[kind] = path.read_bytes()
    for name, layout in TIFFS.items():
        stored = io.BytesIO()
        tifffile.imwrite(stored, COUNTS, metadata=None, **{"byteorder": ">" if name == "tiles" else "<"} | layout)
        files[f"tiff {name}"] = stored.getvalue()
    return files


KINDS = (*registry.names("formats"), *(f"tiff {name}" for name in TIFFS))


def read_all(path):
    """Read every page; only a `RefocalError` may come out, and soon. Returns the first page or None."""
    began = time.process_time()
    first = None
    with contextlib.suppress(RefocalError):
        with open_image(path) as image:
            assert all(n > 0 for n in image.info.shape)
            for page in range(min(3, image.info.shape[0])):
                counts = image.read(page)
                assert counts.shape == image.info.shape[1:]
                first = counts if first is None else first
    assert time.process_time() - began < 5
    return first


@pytest.mark.parametrize("kind", KINDS)
def test_sound_files_read(kind, whole, tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(whole[kind])
    np.testing.assert_array_equal(read_all(path), COUNTS)


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_anywhere(kind, whole, tmp_path):
    """No cut gives wrong pixels: either all of them are there or there is an error."""
    path, stored = tmp_path / "a.bin", whole[kind]
    for length in {
        *range(0, min(600, len(stored)), 3),
        *range(0, len(stored), 37),
        *range(len(stored) - 20, len(stored)),
    }:
        path.write_bytes(stored[:length])
        got = read_all(path)
        assert got is None or np.array_equal(got, COUNTS), length


@pytest.mark.parametrize("kind", KINDS)
def test_preallocated_but_not_written(kind, whole, tmp_path):
    """Windows programs set the size first: the tail is zeros. Pixels of zeros may come, no other error."""
    path, stored = tmp_path / "a.bin", whole[kind]
    for length in range(0, len(stored), 41):
        path.write_bytes(stored[:length] + bytes(len(stored) - length))
        read_all(path)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes(kind, whole, tmp_path, data):
    stored = bytearray(whole[kind])
    # Half of the flips in the first 600 bytes and the last 400, where the headers are.
    place = st.one_of(
        st.integers(0, min(600, len(stored) - 1)), st.integers(max(0, len(stored) - 400), len(stored) - 1)
    )
    for index in data.draw(st.lists(place | st.integers(0, len(stored) - 1), min_size=1, max_size=5)):
        stored[index] = data.draw(st.integers(0, 255))
    path = tmp_path / "a.bin"
    path.write_bytes(stored)
    read_all(path)


def test_flips_in_png_pixels_never_pass(whole, tmp_path):
    path = tmp_path / "a.png"
    for index in range(60, len(whole["png"]), 101):
        stored = bytearray(whole["png"])
        stored[index] ^= 0x10
        path.write_bytes(stored)
        got = read_all(path)
        assert got is None or np.array_equal(got, COUNTS)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.sampled_from([b"BM", b"II*\0", b"MM\0*", b"II+\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n", b""]),
    rest=st.binary(max_size=2000),
)
def test_noise(head, rest, tmp_path):
    path = tmp_path / "a.tif"
    path.write_bytes(head + rest)
    with contextlib.suppress(RefocalError):
        open_image(path).__exit__()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("mrc")])
def test_what_opens_is_written_as_it_was_read(kind, whole, tmp_path):
    """A damaged file that still opens comes back with the same size and pixels; REFOCAL_FUZZ_ROUNDS damages more."""
    rng, stored = np.random.default_rng(5), np.frombuffer(whole[kind], np.uint8)
    written = 0
    for _ in range(int(os.environ.get("REFOCAL_FUZZ_ROUNDS", "60"))):
        damaged = stored.copy()
        places = rng.choice(
            [*range(min(200, len(stored))), *range(max(0, len(stored) - 300), len(stored))], rng.integers(1, 4)
        )
        damaged[places] = rng.integers(0, 256, len(places))
        path = tmp_path / "a.bin"
        path.write_bytes(damaged.tobytes())
        try:
            with open_image(path) as image:
                if np.prod(image.info.shape) > 1 << 20:
                    continue
                info, pages = image.info, [image.read(page) for page in range(image.info.shape[0])]
        except RefocalError:
            continue
        with contextlib.suppress(RefocalError):
            create_image(tmp_path / "b.bin", pages, info, path)
            with open_image(tmp_path / "b.bin") as back:
                assert back.info.shape == info.shape
                assert back.info.dtype == info.dtype
                for page, counts in enumerate(pages):
                    np.testing.assert_array_equal(back.read(page), counts)
            written += 1
    assert written or kind == "png", "no damaged PNG has the right checksum"
