"""Files that are written whole or not at all."""

import os
from pathlib import Path

import pytest

from refocal.core.atomic import copy, link, make_parents, replacing, write_errors, writing
from refocal.core.errors import WriteError


def test_a_file_appears_when_it_is_complete_and_replaces_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with writing(path) as part:
        part.write_text("after")
        assert path.read_text() == "before"
        assert part.name == ".a.txt.part"
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "after"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, OSError(28, "No space left on device")])
def test_a_write_that_fails_leaves_the_file_before_it_and_no_part(
    tmp_path: Path, error: type[BaseException] | OSError
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("before")
    with pytest.raises(error if isinstance(error, type) else OSError):  # noqa: PT012
        with replacing(path) as part:
            part.write_text("half")
            raise error
    assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "before"


def test_writers_with_tags_do_not_share_a_part(tmp_path: Path) -> None:
    with replacing(tmp_path / "a", "1") as one, replacing(tmp_path / "a", "2") as other:
        one.write_text("one")
        other.write_text("other")
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_errors_of_the_system_name_the_path_and_keep_their_cause(tmp_path: Path) -> None:
    path = tmp_path / "absent" / "a"
    with pytest.raises(WriteError, match="cannot be written: No such file") as found, writing(path) as part:
        part.write_text("x")
    assert str(path) in str(found.value)
    assert isinstance(found.value.__cause__, FileNotFoundError)
    with pytest.raises(WriteError, match=r"disk full\? \(16 requested and 3 written\)"), write_errors(path):
        raise OSError("16 requested and 3 written")


def test_only_named_refusals_become_write_errors(tmp_path: Path) -> None:
    with (
        pytest.raises(WriteError, match="cannot be written: too large"),
        writing(tmp_path / "a", refusals=(ValueError,)),
    ):
        raise ValueError("too \n large")
    with pytest.raises(ValueError, match="mine"), writing(tmp_path / "a"):
        raise ValueError("mine")
    with pytest.raises(WriteError, match=r"^first$"), writing(tmp_path / "a", refusals=(ValueError,)):
        raise WriteError("first")


@pytest.mark.parametrize("hard", [True, False])
def test_links_replace_what_is_there(tmp_path: Path, hard: bool) -> None:
    source, target = tmp_path / "raw", tmp_path / "out"
    source.write_text("raw")
    target.write_text("before")
    for _ in range(2):
        link(source, target, hard=hard)
        assert target.samefile(source)
        assert target.is_symlink() is not hard
    assert sorted(os.listdir(tmp_path)) == ["out", "raw"]


def test_a_copy_is_a_file_of_its_own(tmp_path: Path) -> None:
    source, target = tmp_path / "raw", tmp_path / "a" / "b" / "out"
    source.write_bytes(bytes(range(256)) * 10_000)
    make_parents(target)
    copy(source, target)
    assert target.read_bytes() == source.read_bytes()
    assert not target.samefile(source)
    with pytest.raises(WriteError, match="cannot be written"):
        make_parents(target / "c")
