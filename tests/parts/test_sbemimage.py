"""SBEMimage: accepted tiles, grids and arrays, sessions, and the race about a name."""

import json

import pytest

from refocal.core import registry
from refocal.core.layout import TileLocation
from refocal.microscope.simulate import Plan, Shares, replay

FOLDER = "tiles/g0000/t0065"
LIST = "meta/logs/imagelist_20260105080000.txt"
METADATA = "meta/logs/metadata_20260105080000.txt"


@pytest.fixture
def layout():
    return registry.make("layouts", "sbemimage")


@pytest.fixture
def root(tmp_path):
    (tmp_path / FOLDER).mkdir(parents=True)
    (tmp_path / "meta" / "logs").mkdir(parents=True)
    return tmp_path


def name(number, ending=".ome.tif"):
    return f"my stack_g0000_t0065_s{number:05d}{ending}"


def add(root, file, text):
    with open(root / file, "ab") as log:
        log.write(text if isinstance(text, bytes) else text.encode())


def accepted(number, x=10, y=-20, ending=".ome.tif"):
    return f"tiles\\g0000\\t0065\\{name(number, ending)};{x};{y};25;{number}\n"


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (f"{FOLDER}/{name(314)}", TileLocation("s00314", "g0000.t0065", grid=0)),
        (f"{FOLDER}/{name(314, '.tif')}", TileLocation("s00314", "g0000.t0065", grid=0)),
        (f"run2/{FOLDER}/{name(314)}", TileLocation("run2.s00314", "g0000.t0065", grid=0)),
        (
            "tiles/a0001/r0002/t0003/x_a0001_r0002_t0003_s00000.ome.tif",
            TileLocation("a0001.r0002.s00000", "t0003", region=2, grid=2),
        ),
        (f"{FOLDER}/grab.tif", None),
        (f"tiles/rejected/{name(3)[:-8]}_1.ome.tif", None),
        (f"tiles/rejected/{name(3)}", None),
        (f"{FOLDER}/{name(3)[:-8]}_1.ome.tif", None),
        ("overviews/ov000/x_ov000_s00012.ome.tif", None),
        ("workspace/g0000_t0065.png", None),
    ],
)
def test_identity(layout, path, place):
    assert layout.place(path) == place


def test_only_tile_folders_are_entered(layout):
    for folder in ("", "run2", "tiles", "tiles/g0000", FOLDER, f"run2/{FOLDER}", "tiles/a0001/r0002/t0003"):
        assert layout.descends(folder), folder
    for folder in (
        "tiles/rejected",
        "overviews",
        "overviews/ov000",
        "workspace",
        "meta/logs",
        f"{FOLDER}/x",
        "tiles/x",
    ):
        assert not layout.descends(folder), folder


def test_a_tile_is_complete_when_it_is_accepted(layout, root):
    (root / FOLDER / name(1)).write_bytes(b"written, and about to be refused")
    assert layout.known(root, FOLDER).complete == frozenset()
    add(root, LIST, accepted(1))
    known = layout.known(root, FOLDER)
    assert known.complete == {name(1)}
    assert known.stage_nm == {name(1): (10, -20)}
    assert not known.closed
    add(root, LIST, accepted(2)[:-1])
    assert layout.known(root, FOLDER).complete == {name(1)}, "the line is torn"
    add(root, LIST, "\n")
    assert layout.known(root, FOLDER).complete == {name(1), name(2)}


def test_the_metadata_alone_are_enough(layout, root):
    tile = {
        "tileid": "0000.0065.00007",
        "filename": f"{FOLDER}/{name(7)}",
        "wd_stig_xy": [0.005, 0, 0],
        "glob_x": 4,
        "glob_y": 5,
    }
    add(root, METADATA, f"SESSION: {{'grids': [0, 1], 'pixel_sizes': [10.0, 8.0]}}\nTILE: {tile}\n")
    known = layout.known(root, FOLDER)
    assert known.complete == {name(7)}
    assert known.stage_nm[name(7)] == (4, 5)
    assert known.pixel_nm == 10
    assert layout.known(root, "").over == {}
    add(root, METADATA, "SLICE COMPLETE: {'timestamp': 1, 'completed_slice': 7}\r\n")
    assert layout.known(root, "").over == {"s00007": 1}
    add(root, METADATA, "SLICE COMPLETE: {'timestamp': 2, 'completed_slice': 8}\n")
    assert layout.known(root, "").over == {"s00007": 1}, "nothing is known of a slice without tiles"
    add(root, LIST, accepted(8))
    assert layout.known(root, "").over == {"s00007": 1, "s00008": 1}


def test_slices_of_a_stack_in_a_folder(layout, tmp_path):
    (tmp_path / "run" / "meta" / "logs").mkdir(parents=True)
    add(tmp_path / "run", LIST, accepted(1))
    add(tmp_path / "run", METADATA, "SLICE COMPLETE: {'timestamp': 2, 'completed_slice': 1}\n")
    assert layout.known(tmp_path, "run").over == {layout.place(f"run/{FOLDER}/{name(1)}").section: 1}


def test_later_sessions_add_to_earlier_ones(layout, root):
    add(root, LIST, accepted(1))
    layout.known(root, FOLDER)
    add(root, "meta/logs/imagelist_20260106080000.txt", accepted(2, 7, 7) + accepted(1, 3, 3))
    add(root, "meta/logs/imagelist_ov_20260106080000.txt", accepted(9))
    known = layout.known(root, FOLDER)
    assert known.stage_nm == {name(1): (3, 3), name(2): (7, 7)}


def test_old_slices_are_forgotten(layout, root):
    add(root, LIST, "".join(accepted(number) for number in range(3000)))
    known = layout.known(root, FOLDER)
    assert len(known.complete) == 1024
    assert name(2999) in known.complete


@pytest.mark.parametrize(
    "session", ["{", "{'grids': [0]}", "[" * 500, "{'grids': ['x'], 'pixel_sizes': [1]}", "__import__('os')"]
)
def test_a_strange_session_is_passed_over(layout, root, session):
    add(root, METADATA, f"SESSION: {session}\n")
    add(root, LIST, accepted(1) + "garbage;1;2\n" + accepted(2))
    known = layout.known(root, FOLDER)
    assert known.pixel_nm is None
    assert len(known.complete) == 2


def test_a_stack_name_beyond_ascii(layout, root):
    add(root, LIST, "tiles\\g0000\\t0065\\m\xe4use_g0000_t0065_s00001.ome.tif;1;2;3;1\n".encode("cp1252"))
    add(root, LIST, "tiles\\g0000\\t0065\\m\xe4use_g0000_t0065_s00002.ome.tif;1;2;3;2\n")
    assert {file[:5] for file in layout.known(root, FOLDER).complete} == {"mäuse"}


def test_a_replay_is_read_back(layout, tmp_path):
    plan = Plan(sections=5, grids=2, tiles=4, height=64, width=64, pixel_nm=8, variants=1, shares=Shares(rejected=0.4))
    root = tmp_path / "stack"
    done = replay("sbemimage", root, plan)
    tiles = [row for text in done.truth.read_text().splitlines() if "quality" in (row := json.loads(text))]
    assert len(tiles) == done.tiles == 40
    for row in tiles:
        folder, _, file = row["name"].rpartition("/")
        known = layout.known(root, folder)
        assert len(known.complete) == 5
        assert known.stage_nm[file] == (row["x_nm"], row["y_nm"])
        assert known.pixel_nm == 8
    assert layout.known(root, "").over == {f"s{number:05d}": 8 for number in range(5)}
    assert any((root / "tiles" / "rejected").iterdir())
    assert not list(root.rglob("grab.tif"))
