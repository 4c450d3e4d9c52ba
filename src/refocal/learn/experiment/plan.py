"""An experiment: methods compared on specimens at several shares of labels, as one flat frozen document.

It expands to recipes, one for each method, share and seed, all of them checked before any is trained.

A specimen is a folder of pairs (`refocal pair`), or of sharp tiles, which are cut and degraded once. Of the pairs of
the specimen `learn` a share keeps its truth; the blurry tiles of the others, and of other specimens, may be seen
without.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refocal.core import registry
from refocal.core.errors import BadOptionError, nearest, quoted
from refocal.learn.examples.measured import check_recipe
from refocal.learn.recipe import Recipe, make_recipe, read_document

METRICS = ("psnr", "ssim")


class Method(BaseModel):
    """One row of the tables."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    recipe: dict[str, Any] = Field({}, description="keys of a recipe, beside and over those of the experiment")
    unlabelled: bool = Field(False, description="sees the blurry tiles without truth of the table's specimens")


class Table(BaseModel):
    """Methods by specimens and shares."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    title: str
    test: list[str] = Field(description="specimens that are scored")
    shares: list[float] = Field(description="shares of the pairs that keep their truth")
    methods: list[str]
    unlabelled: list[str] = Field([], description="specimens whose tiles without truth are seen")
    gain: list[str] = Field([], description="two methods: what the first gains over the second at equal seeds")


class Experiment(BaseModel):
    """What is compared. Lengths are pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    specimens: list[str] = Field(min_length=1)
    learn: str = Field(description="the specimen whose pairs are learned from")
    seeds: list[int] = Field([0], min_length=1)
    test_share: float = Field(0.25, gt=0, lt=1, description="share of a specimen's images that is kept for scoring")
    cut_px: int = Field(512, ge=48, description="edge of the tiles that large sharp images are cut into")
    degradation: str = Field("sem_acquisition", description="how sharp tiles are degraded, once for all methods")
    degradation_options: dict[str, Any] = {}
    recipe: dict[str, Any] = Field({}, description="keys of every method's recipe")
    methods: dict[str, Method]
    tables: list[Table]
    costs: list[str] = Field([], description="methods whose parameters and speed are listed")


@dataclass(frozen=True, slots=True)
class Run:
    """One training run."""

    method: str
    share: float
    seed: int
    unlabelled: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of its folder and model."""
        seen = "".join(f"-{specimen}" for specimen in self.unlabelled)
        return f"{self.method}-{self.share:g}-seed{self.seed}{seen}".lower().replace(" ", "-")


def load_experiment(path: str | Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a YAML experiment, or a shipped one by its name, with `key=value` overrides, and check all its recipes.

    Raises
    ------
    UnknownPartError, BadOptionError
        In one line, for the first thing that is wrong.
    """
    content = read_document(path, overrides)
    for key in content:
        if key not in Experiment.model_fields:
            raise BadOptionError(f"an experiment has no key {quoted(key)}.{nearest(str(key), Experiment.model_fields)}")
    try:
        made = Experiment.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadOptionError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
    named = [*made.costs, *(name for table in made.tables for name in (*table.methods, *table.gain))]
    specimens = [made.learn, *(name for table in made.tables for name in (*table.test, *table.unlabelled))]
    for name, known in [*((n, made.methods) for n in named), *((n, made.specimens) for n in specimens)]:
        if name not in known:
            raise BadOptionError(f"{path}: no {quoted(name)} there.{nearest(name, known)}")
    if wrong := [share for table in made.tables for share in table.shares if not 0 < share <= 1]:
        raise BadOptionError(f"{path}: shares are above 0 and at most 1, got {wrong[0]}")
    for run in runs(made):
        recipe_of(made, run)
    return made


def runs(experiment: Experiment) -> list[Run]:
    """Return the runs that the tables need, each once; all methods of a seed before the next seed."""
    found = [
        Run(method, share, seed, tuple(table.unlabelled) if experiment.methods[method].unlabelled else ())
        for seed in experiment.seeds
        for table in experiment.tables
        for share in table.shares
        for method in table.methods
    ]
    return list(dict.fromkeys(found))


def recipe_of(experiment: Experiment, run: Run) -> Recipe:
    """Return the recipe of a run; pairs come degraded, so its degradation does nothing."""
    content = {**experiment.recipe, **experiment.methods[run.method].recipe}
    recipe = make_recipe({"degradation": "chain", **content, "name": run.name, "seed": run.seed})
    check_recipe(recipe)
    for family, kind in (("nets", recipe.net), ("objectives", recipe.objective), ("degradations", recipe.degradation)):
        registry.load(family, kind)
    return recipe
