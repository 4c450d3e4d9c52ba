"""Side-cars that were made to take long: a megabyte of anything is read in a moment, and what is no number is none."""

import time

import pytest

from refocal.core import registry
from refocal.core.natural_order import natural
from refocal.eventlog.log import split_key
from refocal.parts.layouts import _mfov, _sessions

SIZE = 60_000
PIECES = [
    *(
        "pixel size ",
        "pixelsize",
        "pixel-size:",
        "pixelsize: ",
        "pixel" + " " * 50,
        "a.bmp\t",
        "x.tif;",
        "x.tif;1;2;3;",
    ),
    *(
        'start region "',
        "stop experiment",
        "'filename': '",
        "'glob_x': 1",
        "_s00001",
        "1",
        " ",
        "\t",
        "\t1",
        " \t",
        "[",
        "-",
    ),
    *("{", "1+", "((", "'a':", "'completed_slice': ", "a/"),
]
FIRST = [
    "",
    "x.tif\t",
    "x.tif\t1",
    "SESSION: ",
    "TILE: 'filename': '",
    "SLICE COMPLETE: ",
    "start region ",
    "pixelsize ",
]
READERS = [_mfov.Coordinates, _mfov.Metadata, _mfov.Operations, _sessions.Session]


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_no_line_takes_long(reader):
    for first in FIRST:
        for piece in PIECES:
            began = time.process_time()
            reader().learn(first + piece * (SIZE // len(piece)))
            assert time.process_time() - began < 0.5, (first, piece)


@pytest.mark.parametrize(
    ("line", "known"),
    [
        ("Pixelsize: 4 nm", 4.0),
        ("Pixel size (x, y) = 3,8 nm", 3.8),
        ("pixel-size: 1e3 nm", None),
        ("Pixelsize: " + "9" * 5000 + " nm", None),
        ("Pixelsize: 0 nm", None),
        ("Pixelsize" + " of this very image" * 20 + ": 4 nm", None),
    ],
)
def test_pixel_sizes(line, known):
    read = _mfov.Metadata()
    read.learn(line)
    assert read.pixel_nm == known


@pytest.mark.parametrize("text", ["1" * 5000, "999999999999999999"])
def test_slices_of_no_sensible_number_are_passed_over(text):
    session = _sessions.Session()
    session.learn(f"SLICE COMPLETE: {{'completed_slice': {text}}}")
    assert session.slices_done == set()
    session.learn("SLICE COMPLETE: {'completed_slice': 7}")
    assert session.slices_done == {7}


def test_a_table_of_nothing_but_separators_is_passed_over(tmp_path):
    path = tmp_path / "region_metadata.csv"
    path.write_bytes(b"sep=;\nMFoV Number;IMQA\n" + b";" * 30_000_000 + b"\n1;0.5;0.25\n")
    began = time.process_time()
    assert _mfov.read_imqa(path) == {(1, 1): 0.5, (1, 2): 0.25}
    assert time.process_time() - began < 2


def test_a_long_line_of_a_side_car_is_passed_over(tmp_path):
    root = tmp_path / "b_20260105_08-00-00" / "021_S56R1" / "000001"
    root.mkdir(parents=True)
    (root / "metadata.txt").write_bytes(b"pixel size " * 90_000 + b"\nPixelsize: 4 nm\n")
    began = time.process_time()
    layout = registry.make("layouts", "multisem")
    found = layout.known(tmp_path, root.relative_to(tmp_path).as_posix())
    assert found.pixel_nm == 4.0
    assert time.process_time() - began < 1


def test_numbers_of_any_length_in_names():
    long = "9" * 6000
    assert sorted([f"s{long}", "s10", "s9"], key=natural) == ["s9", "s10", f"s{long}"]
    assert split_key(f"a.tif#{long}")[0].startswith("a.tif")
