"""The scanner: every file once, a cost that does not grow with what is there, and clocks that are not believed."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refocal.core.layout import FolderStatus
from refocal.core.values import ImageInfo
from refocal.engine.watch.scanner import Scanner
from refocal.engine.watch.state import WatchState, version
from refocal.parts.formats import create_image
from refocal.parts.layouts.folder import Folder


class Clock:
    """Moves when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Closing(Folder):
    """Closes the folders that it is told of."""

    def __init__(self) -> None:
        self.closed: set[str] = set()

    def known(self, root: Path, folder: str) -> FolderStatus:
        return FolderStatus(closed=folder in self.closed)


def image(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    counts = np.random.default_rng(seed).integers(0, 255, (9, 10)).astype(np.uint8)
    create_image(path, [counts], ImageInfo((1, 9, 10), counts.dtype))
    return path


def decide(ledger: WatchState, name: str, state: tuple[int, int], decision: str = "kept") -> None:
    place = Folder().place(name)
    assert place
    ledger.add({
        "event": "tile", "key": name, "decision": decision, "size": state[0], "mtime_ns": state[1],
        "section": place.section,
    })  # fmt: skip


def look(scanner: Scanner, ledger: WatchState, clock: Clock, polls: int = 20, step: float = 0.5) -> list[str]:
    """Poll, decide what is found, and return the names."""
    names = []
    for _ in range(polls):
        for found in filter(None, scanner.poll()):
            names.append(found.name)
            decide(ledger, found.name, found.state)
        clock.now += step
    return names


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moves=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 6), st.integers(0, 3)), min_size=1, max_size=25),
    settle=st.floats(0.0, 4.0),
)
def test_every_version_of_every_file_is_found_once(tmp_path_factory, moves, settle):
    root = tmp_path_factory.mktemp("tree")
    clock, ledger = Clock(), WatchState()
    scanner = Scanner(root, Folder(), ledger, settle=settle, clock=clock)
    found: list[str] = []
    expected: dict[str, int] = {}
    stamp = 10**18
    for folder, file, polls in moves:
        name = f"s{folder}/{'deep/' * (folder % 2)}{file}.bmp"
        stamp += 10**9
        image(root / name, seed=stamp)
        os.utime(root / name, ns=(stamp, stamp))
        found += look(scanner, ledger, clock, polls)
        expected[name] = expected.get(name, 0) + 1
    found += look(scanner, ledger, clock, 60, step=1.0)
    found += look(scanner, ledger, clock, 20, step=700.0)
    assert set(found) == set(expected)
    assert all(found.count(name) <= count for name, count in expected.items())
    for name in expected:
        size, mtime_ns = (root / name).stat().st_size, (root / name).stat().st_mtime_ns
        assert ledger.version(name) == version(size, mtime_ns), "the last version is the one that is known"


@pytest.mark.parametrize("closed", [True, False])
def test_the_cost_of_a_poll_does_not_grow_with_the_history(tmp_path, closed):
    costs, listed = [], []
    for sections in (4, 40):
        root, clock, ledger, layout = tmp_path / str(sections), Clock(), WatchState(), Closing()
        for section in range(sections):
            for i in range(3):
                (root / f"{section:03d}").mkdir(parents=True, exist_ok=True)
                (root / f"{section:03d}" / f"{i}.bmp").write_bytes(b"x")
                state = (root / f"{section:03d}" / f"{i}.bmp").stat()
                decide(ledger, f"{section:03d}/{i}.bmp", (state.st_size, state.st_mtime_ns))
        if closed:
            layout.closed = {f"{section:03d}" for section in range(sections - 1)}
        scanner = Scanner(root, layout, ledger, clock=clock)
        assert look(scanner, ledger, clock, 200) == []
        assert scanner.swept
        before = scanner.touched
        look(scanner, ledger, clock, 100, step=0.3)
        costs.append((scanner.touched - before) / 100)
        listed.append(sum(bool(ledger.decisions(f"{s:03d}")) for s in range(sections)))
        image(root / f"{sections - 1:03d}" / "new.bmp")
        assert look(scanner, ledger, clock, 8) == [f"{sections - 1:03d}/new.bmp"]
    if closed:
        assert costs[0] == pytest.approx(costs[1], abs=0.5)
        assert listed == [1, 1], "closed folders are forgotten"
    else:
        assert costs[1] < 3 * costs[0] + 3


def test_a_quiet_poll_lists_nothing(tmp_path, monkeypatch):
    for i in range(5):
        image(tmp_path / "s" / f"{i}.bmp", i)
    clock, ledger = Clock(), WatchState()
    scanner = Scanner(tmp_path, Folder(), ledger, clock=clock)
    look(scanner, ledger, clock, 20)
    look(scanner, ledger, clock, 100, step=30.0)
    listings = []
    scandir = os.scandir
    monkeypatch.setattr(
        "refocal.engine.watch.scanner.os.scandir", lambda path: (listings.append(str(path)), scandir(path))[1]
    )
    look(scanner, ledger, clock, 4, step=0.3)
    assert {path for path in listings if path != str(tmp_path)} == set()


def test_closed_folders_end_their_sections_when_all_tiles_are_decided(tmp_path):
    clock, ledger, layout, ended = Clock(), WatchState(), Closing(), []
    image(tmp_path / "a" / "1.bmp")
    image(tmp_path / "b" / "1.bmp")
    scanner = Scanner(
        tmp_path, layout, ledger, clock=clock, closed=lambda folder, sections: ended.append((folder, list(sections)))
    )
    layout.closed = {"a"}
    held = []
    for _ in range(40):
        held += filter(None, scanner.poll())
        clock.now += 0.5
    assert {found.name for found in held} == {"a/1.bmp", "b/1.bmp"}
    assert ended == []
    for found in held:
        decide(ledger, found.name, found.state)
    look(scanner, ledger, clock)
    assert ended == [("a", ["a"])]
    assert not ledger.decisions("a"), "what is never looked at again is forgotten"
    image(tmp_path / "a" / "2.bmp")
    assert look(scanner, ledger, clock, 60) == []


@pytest.mark.parametrize("deep", ["x", "x/y"])
def test_a_folder_that_is_deleted_does_not_keep_a_closed_one_open(tmp_path, deep):
    clock, ledger, layout, ended = Clock(), WatchState(), Closing(), []
    scanner = Scanner(tmp_path, layout, ledger, clock=clock, closed=lambda folder, sections: ended.append(folder))
    image(tmp_path / "a" / "1.bmp")
    image(tmp_path / "b" / "1.bmp")
    look(scanner, ledger, clock)
    image(tmp_path / "b" / deep / "2.bmp")
    look(scanner, ledger, clock, 3, step=0.01)  # too short for a listing to be trusted
    shutil.rmtree(tmp_path / "b" / "x")
    layout.closed = {"b"}
    look(scanner, ledger, clock, 100)
    assert ended[-1] == "b"
    before = scanner.touched
    look(scanner, ledger, clock, 100, step=0.01)
    image(tmp_path / "b" / deep / "3.bmp")
    assert look(scanner, ledger, clock, 20) == [], "what is closed is not looked at again"
    assert scanner.touched - before < 6 * 120


def test_a_long_look_lets_its_caller_do_other_things(tmp_path):
    for i in range(50):
        image(tmp_path / f"{i:02d}.bmp", i)
    clock, ledger = Clock(), WatchState()
    scanner = Scanner(tmp_path, Folder(), ledger, settle=3.0, clock=clock)

    def slow(name: str) -> None:  # as a remote share answers
        clock.now += 0.05
        return Folder().place(name)

    scanner._layout = type("Slow", (), {
        "place": staticmethod(slow), "known": lambda self, root, folder: FolderStatus(),
        "descends": lambda self, name: True
    })()  # fmt: skip
    pauses, names, taken = 0, [], []
    for found in scanner.poll():
        pauses += found is None
        names += [found.name] if found else []
        if found is None and not taken and (asked := scanner.take("07.bmp")):
            taken.append(asked.name)
            decide(ledger, asked.name, asked.state)
    assert pauses >= 10
    assert taken == ["07.bmp"]
    names += look(scanner, ledger, clock)
    assert sorted(names) == [f"{i:02d}.bmp" for i in range(50) if i != 7], "none comes twice"


def test_a_file_that_grows_waits_and_one_that_a_done_file_vouches_for_does_not(tmp_path):
    clock, ledger = Clock(), WatchState()
    scanner = Scanner(tmp_path, Folder(), ledger, settle=3.0, clock=clock)
    whole = image(tmp_path / "whole" / "x.bmp").read_bytes()
    (tmp_path / "growing").mkdir()
    for end in range(200, len(whole) - 40, 20):
        (tmp_path / "growing" / "x.bmp").write_bytes(whole[:end])
        os.utime(tmp_path / "growing" / "x.bmp", ns=(end, end))
        assert "growing/x.bmp" not in look(scanner, ledger, clock, 2)
    assert look(scanner, ledger, clock, 3) == []
    assert look(scanner, ledger, clock, 12) == ["growing/x.bmp"], "then its size says that it stays so"
    (tmp_path / "vouched").mkdir()
    (tmp_path / "vouched" / "y.bmp").write_bytes(whole[:300])
    (tmp_path / "vouched" / "y.bmp.done").touch()
    assert look(scanner, ledger, clock, 2, step=0.1) == ["vouched/y.bmp"]
