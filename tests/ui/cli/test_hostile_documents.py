"""Documents and options that are hostile or damaged, from the command line: one line, exit code 2, nothing written."""

import resource
import time
from pathlib import Path

import pytest

from drawn import drawn, save
from program import Program

BOMB = "a: &a [x, x, x, x, x, x, x, x, x, x]\n" + "\n".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 10)}]" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES = {
    "bomb": (BOMB, "more than"),
    "merges": ("a: &a {k: 1}\n" + "\n".join(f"a{n}: {{<<: [*a, *a]}}" for n in range(40_000)), "values"),
    "recursive": ("name: &n [*n]", "*n is not defined"),
    "twice": ("name: a\nsteps: 3\nsteps: 300", "line 3: the key 'steps' is given twice"),
    "tag": ("name: !!python/object/apply:os.system ['touch ran']", "line 1: the tag"),
    "own tag": ("name: !include /etc/passwd", "line 1: the tag"),
    "binary": ("name: !!binary x", "line 1: the tag"),
    "timestamp": ("seed: !!timestamp 2024-13-45", "line 1: the tag"),
    "deep": ("[" * 500_000, "dep"),
    "number": ("seed: " + "9" * 5000, "too large"),
    "infinite": ("lr: .inf", "finite"),
    "surrogate": ('name: "\\ud800"', "line 1"),
    "latin": (b"name: \xe4", "UTF-8"),
    "large": ("# " + "x" * (2 << 20), "bytes"),
    "empty": ("", "key: value"),
    "list": ("- 1", "key: value"),
    "several": ("name: a\n---\nname: b", "document"),
}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    save(tmp_path / "raw" / "a.tif", [drawn(1)])
    return tmp_path


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


@pytest.mark.parametrize("command", ["train {} -d raw -o out", "cluster v.zarr -o o.zarr --scheduler {}"])
@pytest.mark.parametrize("kind", FILES)
def test_documents(inside: Program, lab: Path, kind: str, command: str) -> None:
    content, words = FILES[kind]
    (lab / "given.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())
    if kind in ("number", "infinite") and "scheduler" in command:
        words = "not known"  # there all values are text
    began, before = time.process_time(), peak()
    said = inside(*command.format("given.yaml").split(), code=2, cwd=lab)
    assert "given.yaml" in said.line
    assert words in said.line
    assert len(said.line) < 500
    assert time.process_time() - began < 5
    assert peak() - before < 300_000  # KiB
    assert sorted(path.name for path in lab.iterdir()) == ["given.yaml", "raw"]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("seed=2024-13-45", "'seed'"),
        ("seed=2024-01-02", "'seed'"),
        ("seed=" + "9" * 5000, "too large"),
        ("lr=.nan", "finite"),
        ("lr=1e999", "finite"),
        ("name=!!binary x", "tag"),
        ("net_options=&a [*a]", "*a"),
        ("net_options.blocks=" + "[" * 90_000, "dep"),
        ("net_options={blocks: 1, blocks: 2}", "twice"),
        ("steps=" + "x" * 10_000, "'steps'"),
        ("x" * 10_000 + "=1", "no key"),
        ("net=os.system", "no net"),
        ("net=" + "x" * 10_000, "no net"),
        ("=1", "no key"),
    ],
)
def test_overrides(inside: Program, lab: Path, value: str, words: str) -> None:
    said = inside("train", "tile/quick", value, "-d", "raw", "-o", "out", code=2, cwd=lab)
    assert words in said.line
    assert len(said.line) < 600


@pytest.mark.parametrize("option", ["--restorer", "--gate"])
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("KIND:OPTION=2024-13-45", "takes a number"),
        ("KIND:OPTION=!!binary x", "tag"),
        ("KIND:OPTION=!!timestamp x", "tag"),
        ("KIND:OPTION=.nan", "finite"),
        ("KIND:OPTION=1e999", "finite"),
        ("KIND:OPTION=true", "takes a number"),
        ("KIND:OPTION=[1]", "takes a number"),
        ("KIND:OPTION=1,OPTION=2", "twice"),
        ("KIND:OPTION=&a [*a]", "*a"),
        ("KIND:OPTION=" + "{" * 90_000, "dep"),
        ("KIND:" + "x" * 500 + "=1", "no option"),
        ("os.system:command=ls", "named 'os.system'"),
        ("../../x", "named"),
        ("_tiling", "named"),
        ("x" * 10_000, "named"),
        (":a=1", "kind:option=value"),
    ],
)
def test_options_of_parts(inside: Program, lab: Path, option: str, text: str, words: str) -> None:
    kind, name = {"--restorer": ("unsharp", "amount"), "--gate": ("sharpness", "keep_px")}[option]
    given = text.replace("KIND", kind).replace("OPTION", name)
    more = ["--restorer", "unsharp"] if option == "--gate" else []
    said = inside("restore", "raw", "-o", "out", *more, option, given, code=2, cwd=lab)
    assert words in said.line
    assert len(said.line) < 700
    assert not (lab / "out").exists()
