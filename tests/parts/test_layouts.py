"""Every layout: identity from names, what is known from logs, nothing written, nothing raised but for a lost folder."""

import builtins
import json
import os
from pathlib import Path

import pytest

from refocal.core import registry
from refocal.core.values import FolderStatus
from refocal.microscope.simulate import Plan, Shares, kinds, replay
from refocal.parts.formats import _formats
from refocal.parts.layouts import recognise
from refocal.parts.layouts._names import IMAGES

LAYOUTS = list(registry.names("layouts"))
SIDE_CARS = ("experiment_log.txt", "image_coordinates.txt", "region_metadata.csv", "imagelist_1.txt", "grab.tif.txt")


@pytest.fixture(scope="module")
def acquisitions(tmp_path_factory):
    """One small acquisition of each kind, and its tiles as they were written."""
    made = {}
    for kind in LAYOUTS:
        root = tmp_path_factory.mktemp(kind) / "scope"
        plan = Plan(mfovs=2, beams=7, tiles=3, grids=2, height=48, width=64, shares=Shares(rejected=0.5), variants=2)
        lines = replay(kind, root, plan).truth.read_text().splitlines()
        made[kind] = root, [tile for line in lines if "quality" in (tile := json.loads(line))]
    return made


def tree(root):
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))}


def folders(root):
    return ["", *(path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_dir())]


def test_every_layout_can_be_replayed():
    assert set(kinds()) == set(LAYOUTS)


def test_images_are_those_that_can_be_read():
    assert {ending for form in _formats().values() for ending in form.extensions} == IMAGES


@pytest.mark.parametrize("kind", LAYOUTS)
def test_tiles_are_placed_and_nothing_else_is(acquisitions, kind):
    root, tiles = acquisitions[kind]
    layout = registry.make("layouts", kind)
    for tile in tiles:
        place = layout.place(tile["name"])
        assert (place.section, place.tile) == (tile["section"], tile["tile"])
        assert (place.field, place.beam, place.grid) == tuple(tile.get(k) for k in ("field", "beam", "grid"))
        assert place.taken == tile.get("taken", "")
    everything = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
    assert {name for name in everything if layout.place(name)} == {tile["name"] for tile in tiles}


@pytest.mark.parametrize("kind", LAYOUTS)
def test_places_are_told_apart(acquisitions, kind):
    layout = registry.make("layouts", kind)
    places = [layout.place(tile["name"]) for tile in acquisitions[kind][1]]
    assert len({(place.section, place.tile) for place in places}) == len(places)


@pytest.mark.parametrize("kind", LAYOUTS)
def test_tiles_lie_where_it_descends(acquisitions, kind):
    layout = registry.make("layouts", kind)
    for tile in acquisitions[kind][1]:
        folder = Path(tile["name"]).parent
        assert all(layout.descends(above.as_posix().replace(".", "")) for above in (folder, *folder.parents))


@pytest.mark.parametrize("kind", LAYOUTS)
def test_it_is_recognised(acquisitions, tmp_path, kind):
    root, _ = acquisitions[kind]
    assert recognise(root) == kind
    assert registry.make("layouts", kind).matches(root)
    assert recognise(tmp_path) == "folder"
    for nothing in (tmp_path / "absent", Path(__file__)):
        assert registry.make("layouts", kind).matches(nothing) is False


@pytest.mark.parametrize("kind", LAYOUTS)
def test_nothing_is_written(acquisitions, kind):
    root, _ = acquisitions[kind]
    before, layout = tree(root), registry.make("layouts", kind)
    layout.matches(root)
    for folder in folders(root):
        layout.known(root, folder)
    assert tree(root) == before


@pytest.mark.parametrize("kind", LAYOUTS)
def test_nothing_is_opened_when_nothing_changed(acquisitions, monkeypatch, kind):
    root, _ = acquisitions[kind]
    layout = registry.make("layouts", kind)
    first = [layout.known(root, folder) for folder in folders(root)]
    opened = []
    monkeypatch.setattr(builtins, "open", lambda *args, **_: opened.append(args))
    assert [layout.known(root, folder) for folder in folders(root)] == first
    assert opened == []


@pytest.mark.parametrize("kind", LAYOUTS)
def test_a_lost_folder_is_an_os_error(acquisitions, tmp_path, kind):
    layout = registry.make("layouts", kind)
    with pytest.raises(OSError, match="absent"):
        layout.known(tmp_path, "absent")
    root, tiles = acquisitions[kind]
    folder = Path(tiles[0]["name"]).parent.as_posix()
    layout.known(root, folder)
    with pytest.raises(OSError, match="nowhere"):
        layout.known(root / "nowhere", folder)


@pytest.mark.parametrize("kind", LAYOUTS)
@pytest.mark.parametrize(
    "name", ["", ".", "/", "a", "a.txt", ".hidden.tif", "a/.b/c.tif", "$RECYCLE.BIN/a.tif", "x.tif~"]
)
def test_what_is_no_tile(kind, name):
    assert registry.make("layouts", kind).place(name) is None


@pytest.mark.parametrize("kind", LAYOUTS)
def test_an_unreadable_side_car_waits(acquisitions, monkeypatch, kind):
    root, tiles = acquisitions[kind]
    layout = registry.make("layouts", kind)
    folder = Path(tiles[0]["name"]).parent.as_posix()

    def refused(path, *_args, **_more):
        raise PermissionError(13, "share violation", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(builtins, "open", refused)
        nothing = layout.known(root, folder)
    assert isinstance(nothing, FolderStatus)
    assert not nothing.complete
    assert layout.known(root, folder) == registry.make("layouts", kind).known(root, folder)


@pytest.mark.skipif(os.name == "nt", reason="names are text there")
@pytest.mark.parametrize("kind", LAYOUTS)
def test_names_that_are_not_utf8(tmp_path, kind):
    odd = os.fsdecode(b"sect\xff\xe9ion")
    (tmp_path / odd).mkdir()
    (tmp_path / odd / os.fsdecode(b"t\xffile.tif")).write_bytes(b"")
    layout = registry.make("layouts", kind)
    layout.matches(tmp_path)
    layout.descends(odd)
    layout.place(f"{odd}/{os.fsdecode(b't' + bytes([255]) + b'ile.tif')}")
    assert isinstance(layout.known(tmp_path, odd), FolderStatus)
