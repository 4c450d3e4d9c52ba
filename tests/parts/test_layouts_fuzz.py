"""Layouts meet anything: names of any kind, and side-cars that are garbage, torn, doubled, shrinking or growing."""

import os
from itertools import pairwise
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refocal.core import registry
from refocal.core.layout import FolderStatus, TileLocation

LAYOUTS = registry.names("layouts")
TILE = "021_000001_{:03d}_2026-01-05T0800021234567.bmp"
MULTISEM = "b_20260105_08-00-00/021_S56R1/000001"
SBEM = "tiles/g0000/t0001"
FILES = {
    "multisem": [
        f"{MULTISEM}/image_coordinates.txt",
        f"{MULTISEM}/metadata.txt",
        f"{MULTISEM}/../full_image_coordinates.txt",
        f"{MULTISEM}/../full_image_coordinates_corrected.txt",
        f"{MULTISEM}/../region_metadata.csv",
        f"{MULTISEM}/../../experiment_log.txt",
    ],
    "sbemimage": ["meta/logs/imagelist_1.txt", "meta/logs/metadata_1.txt", "meta/logs/imagelist_2.txt"],
}
FOLDERS = {"multisem": MULTISEM, "sbemimage": SBEM}

pieces = st.sampled_from(
    [
        *(TILE.format(beam).encode() for beam in (1, 2, 91)),
        b"000001\\" + TILE.format(3).encode() + b"\t1.5\t-2.25\t0\r\n",
        b"\t1\t2\t0\r\n",
        b"\t1e400\t\t",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\0" * 9,
        b"\r\n",
        b"\n",
        b'x: stop region "S56R1": 3 [s]\r\n',
        b'start region "',
        b"stop experiment",
        b"sep=;\r\n",
        b"MFoV Number;IMQA\r\n1;2;3;nan;inf;x\r\n",
        b"Pixelsize: 0 nm\n",
        b"tiles\\g0000\\t0001\\x_g0000_t0001_s00001.ome.tif;1;2;3;1\n",
        b"SESSION: {'grids': [0], 'pixel_sizes': [1e999]}\n",
        b"TILE: {'filename': 'tiles/g0000/t0001/x_s00002.tif', 'glob_x': 1, 'glob_y': 2}\n",
        b"SLICE COMPLETE: {'completed_slice': 99999999999999999999}\n",
    ]
)
content = st.lists(st.one_of(pieces, st.binary(max_size=20)), max_size=12).map(b"".join)
names = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60).map(os.fsdecode),
    st.lists(
        st.sampled_from(
            [
                *(
                    "tiles",
                    "g0000",
                    "t0001",
                    "000001",
                    "021_S56R1",
                    "b_20260105_08-00-00",
                    "..",
                    "",
                    ".",
                    "\n",
                    "\ud800",
                ),
                *("x_g0000_t0001_s00001.tif", TILE.format(1), "thumbnail_" + TILE.format(1), "a.tif", "\u0661\u0662"),
            ]
        ),
        max_size=6,
    ).map("/".join),
)


@pytest.mark.parametrize("kind", LAYOUTS)
@given(name=names)
def test_any_name_has_an_answer(kind, name):
    layout = registry.make("layouts", kind)
    place = layout.place(name)
    assert place is None or isinstance(place, TileLocation)
    assert layout.descends(name) in (True, False)
    if place:
        assert place.section
        assert place.tile
        assert layout.place(name) == place
        assert layout.descends(PurePosixPath(name).parent.as_posix())


@pytest.mark.parametrize("kind", LAYOUTS)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(states=st.lists(st.lists(content, min_size=6, max_size=6), min_size=1, max_size=3), append=st.booleans())
def test_any_side_car_has_an_answer(tmp_path_factory, kind, states, append):
    root: Path = tmp_path_factory.mktemp("any")
    folder = FOLDERS.get(kind, "")
    (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "meta" / "logs").mkdir(parents=True)
    layout = registry.make("layouts", kind)
    for contents in states:
        for name, data in zip(FILES.get(kind, []), contents, strict=False):
            with open(root / name, "ab" if append else "wb") as file:
                file.write(data)
        for one in {folder, folder.rpartition("/")[0], ""}:
            known = layout.known(root, one)
            assert isinstance(known, FolderStatus)
            assert set(known.stage_nm) <= known.complete
            assert known.pixel_nm is None or known.pixel_nm > 0
    if append and kind == "multisem":
        fresh = registry.make("layouts", kind).known(root, folder)
        assert fresh.complete >= layout.known(root, folder).complete - {""}
        layout.imqa(root / "b_20260105_08-00-00" / "021_S56R1")


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 2000), max_size=6))
def test_reading_piece_by_piece_is_reading_at_once(tmp_path_factory, cuts):
    root = tmp_path_factory.mktemp("pieces")
    (root / MULTISEM).mkdir(parents=True)
    whole = "".join(f"{TILE.format(b)}\t{b * 1.125:.3f}\t-{b}.5\t0\r\n" for b in (*range(1, 20), *range(5, 9))).encode()
    layout = registry.make("layouts", "multisem")
    edges = [0, *sorted(min(cut, len(whole)) for cut in cuts), len(whole)]
    for begin, end in pairwise(edges):
        with open(root / MULTISEM / "image_coordinates.txt", "ab") as file:
            file.write(whole[begin:end])
        layout.known(root, MULTISEM)
    assert layout.known(root, MULTISEM) == registry.make("layouts", "multisem").known(root, MULTISEM)
    assert len(layout.known(root, MULTISEM).complete) == 19
