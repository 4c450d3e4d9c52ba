"""What pages enumerate by hand is what the registry finds."""

import re
from pathlib import Path

import pytest

import refocal.testing
from refocal.core import registry
from refocal.microscope import simulate
from refocal.parts import volume_formats

ROOT = Path(__file__).parents[2]


def text_of(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["docs/extending.md", "CONTRIBUTING.md"])
def test_every_family_has_its_row(page: str) -> None:
    assert set(re.findall(r"`parts/(\w+)/mine\.py`", text_of(page))) == set(registry.families())


def test_every_row_names_the_entry_point_and_the_contract_of_its_family() -> None:
    rows = re.findall(
        r"^\| .* `parts/(\w+)/mine\.py`, `refocal\.(\w+)` .*\| (.*) \|$", text_of("docs/extending.md"), re.M
    )
    contracts = {name: family for family, group, names in rows for name in re.findall(r"`(\w+)`", names)}
    assert all(family == group for family, group, _ in rows)
    assert contracts == {name: getattr(refocal.testing, name).family for name in refocal.testing.__all__}


def test_methods_that_a_subclass_may_override_exist() -> None:
    rows = re.findall(r"^\| `(\w+Contract)` \| (`.*?\(.*) \| ", text_of("docs/extending.md"), re.MULTILINE)
    assert rows
    for contract, methods in rows:
        for method in re.findall(r"`(\w+)\(", methods):
            assert callable(getattr(getattr(refocal.testing, contract), method))


def test_extensions_of_images_are_those_of_the_page() -> None:
    rows = re.findall(r"^\| [^|]+ \| ((?:`\.\w+` ?)+) \|", text_of("docs/formats.md"), re.MULTILINE)
    assert set(re.findall(r"\.\w+", " ".join(rows))) == registry.extensions("formats")


def test_layouts_are_those_of_the_page() -> None:
    table = text_of("docs/layouts.md").partition("| layout | section |")[2].partition("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) == set(registry.names("layouts"))


def test_endings_of_volumes_and_kinds_of_microscopes_are_described() -> None:
    assert [e for e in volume_formats.endings() if f"{e}" not in text_of("docs/volumes.md")] == []
    assert [kind for kind in simulate.kinds() if f"`{kind}`" not in text_of("docs/commands.md")] == []
