"""What every layout promises: identity from names, news from logs, nothing written, only a lost folder raised."""

import builtins
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from refocal.core import registry
from refocal.core.layout import FolderStatus
from refocal.microscope.simulate import Plan, Shares, kinds, replay
from refocal.parts.layouts import recognise
from refocal.testing._part import PartContract

Tiles = Sequence[Mapping[str, Any]]


class LayoutContract(PartContract):
    """Override `acquire`, or add a microscope of the layout's name, to have the layout tested on an acquisition."""

    family: ClassVar[str] = "layouts"

    def acquire(self, kind: str, root: Path) -> Tiles | None:
        """Write a small acquisition below `root`; by default the simulated microscope of the layout's name does.

        Returns
        -------
        sequence of mapping, or None
            Of each tile its `name` relative to `root`, `section` and `tile`, and `field`, `beam`, `grid` and `taken`
            where the layout reads them; None where no acquisition can be written.
        """
        if kind not in kinds():
            return None
        plan = Plan(mfovs=2, beams=7, tiles=3, grids=2, height=48, width=64, shares=Shares(rejected=0.5), variants=2)
        lines = replay(kind, root, plan).truth.read_text(encoding="utf-8").splitlines()
        return [tile for line in lines if "quality" in (tile := json.loads(line))]

    @pytest.fixture(scope="class")
    @classmethod
    def acquisition(cls, kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Tiles]:
        """Return the root of an acquisition, and its tiles as they were written."""
        root = tmp_path_factory.mktemp(kind) / "scope"
        tiles = cls().acquire(kind, root)
        if tiles is None:
            pytest.skip(f"no microscope {kind!r}, and {cls.__name__} has no acquire: nothing to test the layout on")
        return root, tiles

    def test_tiles_are_placed_and_nothing_else_is(self, kind: str, acquisition: tuple[Path, Tiles]) -> None:
        root, tiles = acquisition
        layout = self.make(kind)
        for tile in tiles:
            place = layout.place(tile["name"])
            assert (place.section, place.tile) == (tile["section"], tile["tile"])
            assert (place.field, place.beam, place.grid) == tuple(tile.get(k) for k in ("field", "beam", "grid"))
            assert place.taken == tile.get("taken", "")
        everything = {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}
        assert {name for name in everything if layout.place(name)} == {tile["name"] for tile in tiles}

    def test_places_are_told_apart(self, kind: str, acquisition: tuple[Path, Tiles]) -> None:
        layout, (_, tiles) = self.make(kind), acquisition
        places = [layout.place(tile["name"]) for tile in tiles]
        assert len({(place.section, place.tile) for place in places}) == len(places)

    def test_tiles_lie_where_it_descends(self, kind: str, acquisition: tuple[Path, Tiles]) -> None:
        layout, (_, tiles) = self.make(kind), acquisition
        for tile in tiles:
            folder = Path(tile["name"]).parent
            assert all(layout.descends(above.as_posix().replace(".", "")) for above in (folder, *folder.parents))

    def test_it_is_recognised(self, kind: str, acquisition: tuple[Path, Tiles]) -> None:
        root, _ = acquisition
        assert recognise(root) == kind
        assert self.make(kind).matches(root)

    def test_nothing_is_not_recognised(self, kind: str, tmp_path: Path) -> None:
        assert recognise(tmp_path) == "folder"
        for nothing in (tmp_path / "absent", Path(__file__)):
            assert self.make(kind).matches(nothing) is False

    def test_nothing_is_written(self, kind: str, acquisition: tuple[Path, Tiles]) -> None:
        root, _ = acquisition
        before, layout = _tree(root), self.make(kind)
        layout.matches(root)
        for folder in _folders(root):
            layout.known(root, folder)
        assert _tree(root) == before

    def test_nothing_is_opened_when_nothing_changed(
        self, kind: str, acquisition: tuple[Path, Tiles], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root, _ = acquisition
        layout = self.make(kind)
        first = [layout.known(root, folder) for folder in _folders(root)]
        opened: list[Any] = []
        monkeypatch.setattr(builtins, "open", lambda *args, **_: opened.append(args))
        assert [layout.known(root, folder) for folder in _folders(root)] == first
        assert opened == []

    def test_a_lost_folder_is_an_os_error(self, kind: str, tmp_path: Path) -> None:
        with pytest.raises(OSError, match="absent"):
            self.make(kind).known(tmp_path, "absent")

    def test_a_folder_lost_later_is_an_os_error(self, kind: str, acquisition: tuple[Path, Tiles]) -> None:
        layout, (root, tiles) = self.make(kind), acquisition
        folder = Path(tiles[0]["name"]).parent.as_posix()
        layout.known(root, folder)
        with pytest.raises(OSError, match="nowhere"):
            layout.known(root / "nowhere", folder)

    @pytest.mark.parametrize(
        "name", ["", ".", "/", "a", "a.txt", ".hidden.tif", "a/.b/c.tif", "$RECYCLE.BIN/a.tif", "x.tif~"]
    )
    def test_what_is_no_tile(self, kind: str, name: str) -> None:
        assert self.make(kind).place(name) is None

    def test_an_unreadable_side_car_waits(
        self, kind: str, acquisition: tuple[Path, Tiles], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        root, tiles = acquisition
        layout = self.make(kind)
        folder = Path(tiles[0]["name"]).parent.as_posix()

        def refused(path: object, *_args: object, **_more: object) -> None:
            raise PermissionError(13, "share violation", str(path))

        with monkeypatch.context() as patch:
            patch.setattr(builtins, "open", refused)
            nothing = layout.known(root, folder)
        assert isinstance(nothing, FolderStatus)
        assert not nothing.complete
        assert layout.known(root, folder) == registry.make(self.family, kind).known(root, folder)

    @pytest.mark.skipif(os.name == "nt", reason="names are text there")
    def test_names_that_are_not_utf8(self, kind: str, tmp_path: Path) -> None:
        odd = os.fsdecode(b"sect\xff\xe9ion")
        (tmp_path / odd).mkdir()
        (tmp_path / odd / os.fsdecode(b"t\xffile.tif")).write_bytes(b"")
        layout = self.make(kind)
        layout.matches(tmp_path)
        layout.descends(odd)
        layout.place(f"{odd}/{os.fsdecode(b't' + bytes([255]) + b'ile.tif')}")
        assert isinstance(layout.known(tmp_path, odd), FolderStatus)


def _tree(root: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(root.rglob("*"))}


def _folders(root: Path) -> list[str]:
    return ["", *(path.relative_to(root).as_posix() for path in sorted(root.rglob("*")) if path.is_dir())]
