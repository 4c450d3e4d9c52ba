"""What is public is named, described, typed, and all that the documents use."""

import ast
import configparser
import importlib
import inspect
import pydoc
import re
import textwrap
from pathlib import Path

import pytest

import refocal

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
BLOCK = re.compile(r"^( *)```python\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
NAMES = [name for name in refocal.__all__ if name != "__version__"]


def modules():
    """Return the modules that `docs/python.md` declares public."""
    text = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    return re.findall(r"^\| `(refocal[\w.]*)` \|", text, re.MULTILINE)


def examples():
    for page in PAGES:
        for number, (_, body) in enumerate(BLOCK.findall(page.read_text(encoding="utf-8"))):
            tree = ast.parse(textwrap.dedent(body))
            yield pytest.param(tree, id=f"{page.relative_to(ROOT).as_posix()}-{number}")


def test_dir_lists_what_is_public_and_nothing_else():
    assert sorted(name for name in dir(refocal) if not name.startswith("__")) == sorted(NAMES)
    assert sorted(refocal.__all__) == sorted(set(refocal.__all__))
    assert {"__all__", "__doc__", "__version__"} <= set(dir(refocal))
    with pytest.raises(AttributeError, match="restor'"):
        _ = refocal.restor


@pytest.mark.parametrize("name", NAMES)
def test_public_names_are_described(name):
    value = getattr(refocal, name)
    assert value.__name__ == name
    # A frozen dataclass without a docstring gets its signature as one.
    assert value.__doc__
    assert not value.__doc__.startswith(f"{name}(")
    for part, member in vars(value).items() if inspect.isclass(value) else ():
        if inspect.isfunction(member) and not part.startswith("_"):
            assert member.__doc__, f"{name}.{part}"


def test_type_checkers_see_the_same_names_from_the_same_modules():
    tree = ast.parse(Path(refocal.__file__).read_text(encoding="utf-8"))
    (checked,) = [node for node in tree.body if isinstance(node, ast.If)]
    assert ast.unparse(checked.test) == "TYPE_CHECKING"
    imported = [(alias.name, node.module) for node in checked.body for alias in node.names]
    assert sorted(name for name, _ in imported) == sorted(NAMES)
    for name, module in imported:
        assert getattr(refocal, name) is getattr(importlib.import_module(module), name)


def test_help_shows_the_tree_and_every_name():
    text = pydoc.plain(pydoc.render_doc(refocal))
    rooms = re.findall(r"^ +(\w+) {2,}\S", refocal.__doc__, re.MULTILINE)
    contracts = configparser.ConfigParser()
    contracts.read(ROOT / ".importlinter", encoding="utf-8")
    assert rooms == contracts["importlinter:contract:house"]["layers"].split()
    assert [name for name in NAMES if not re.search(rf"\b{name}\b", text)] == []


@pytest.mark.parametrize("module", modules())
def test_public_modules_are_there_and_described(module):
    assert importlib.import_module(module).__doc__


@pytest.mark.parametrize("tree", list(examples()))
def test_examples_import_what_is_public(tree):
    public = set(modules())
    assert "refocal" in public
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module if node.module in public else f"{node.module}.{alias.name}" for alias in node.names]
            if node.module == "refocal":
                assert [alias.name for alias in node.names if alias.name not in refocal.__all__] == []
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "refocal":
            assert node.attr in refocal.__all__ or f"refocal.{node.attr}" in public
            continue
        else:
            continue
        assert [name for name in names if name.partition(".")[0] == "refocal" and name not in public] == []
