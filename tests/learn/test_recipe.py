"""Recipes: what is accepted, what is refused and in which words."""

from pathlib import Path

import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError, UnknownPartError
from refocal.learn.recipe import find, load_recipe, make_recipe, shipped

RECIPES = [name for name in shipped() if not name.startswith("experiment/")]
MINIMAL = {"name": "x", "net": "gran", "degradation": "gran_protocol", "steps": 1}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_that_ships_names_parts_that_exist(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.net in registry.names("nets")
    assert recipe.objective in registry.names("objectives")
    registry.make("degradations", recipe.degradation, **recipe.degradation_options)


def test_the_paper_recipes_have_the_settings_of_the_paper() -> None:
    for name in ("gran", "edsr", "rdn"):
        recipe = load_recipe(f"tile/{name}")
        assert (recipe.patch, recipe.batch, recipe.lr, recipe.betas) == (96, 16, 1e-4, (0.9, 0.999))
        assert (recipe.schedule, recipe.halve_every, recipe.objective) == ("halve", 200_000, "l1")
        assert recipe.degradation == "gran_protocol"


def test_a_recipe_is_found_by_its_path_its_name_or_its_short_name(tmp_path: Path) -> None:
    own = tmp_path / "quick"
    own.write_text("name: x\n")
    assert find(own) == own
    assert find("quick") == find("tile/quick") == shipped()["tile/quick"]


@pytest.mark.parametrize(
    ("name", "words"),
    [("tile/quik", "'tile/quick'"), ("deblurgan_v2", "burst/deblurgan_v2, tile/deblurgan_v2"), ("../x", "Known")],
)
def test_a_name_that_is_no_recipe_is_refused_with_what_there_is(name: str, words: str) -> None:
    with pytest.raises(UnknownPartError, match="recipe") as refused:
        find(name)
    assert words in str(refused.value)


def test_overrides_reach_into_options() -> None:
    recipe = load_recipe("gran", ["steps=7", "net_options.blocks=2", "lr=1e-3"])
    assert (recipe.steps, recipe.net_options["blocks"], recipe.lr) == (7, 2, 1e-3)


def test_hash_depends_on_content_only() -> None:
    assert make_recipe(MINIMAL).sha256 == make_recipe(dict(reversed(MINIMAL.items()))).sha256
    assert make_recipe(MINIMAL).sha256 != make_recipe({**MINIMAL, "seed": 1}).sha256


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({**MINIMAL, "btach": 3}, "did you mean 'batch'"),
        ({**MINIMAL, "lr": -1}, "'lr'"),
        ({**MINIMAL, "steps": "many"}, "'steps'"),
        ({k: v for k, v in MINIMAL.items() if k != "net"}, "'net'"),
        ({**MINIMAL, "name": "../up"}, "'name'"),
    ],
)
def test_refusals_name_the_key_in_one_line(content: dict, words: str) -> None:
    with pytest.raises(BadOptionError) as caught:
        make_recipe(content)
    assert words.lower() in str(caught.value).lower()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "a: [", "\x00"])
def test_files_that_are_no_recipe(tmp_path: Path, text: str) -> None:
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(BadOptionError):
        load_recipe(tmp_path / "r.yaml")
    with pytest.raises(UnknownPartError, match="no file and no shipped recipe"):
        load_recipe(tmp_path / "missing.yaml")


def test_yaml_cannot_run_code(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("name: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(BadOptionError):
        load_recipe(tmp_path / "r.yaml")
