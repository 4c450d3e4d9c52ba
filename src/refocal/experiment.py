"""An experiment: methods compared on specimens at several shares of labels, as one flat frozen document.

It expands to recipes; each is trained by the one loop and scored by the one `evaluate`. Every method sees the same
pairs of a share and seed, takes as many steps, and is scored on the same fields, which nobody trained on. A run that
is finished is not done again.

A specimen is a folder of pairs (`refocal pair`), or of sharp tiles, which are cut and spoilt once. Of the pairs of the
specimen `learn` a share keeps its truth; the blurry tiles of the others, and of other specimens, may be seen without.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from refocal import families
from refocal.errors import BadOptionError, DivergedError, UsageError, nearest
from refocal.evaluate import evaluate
from refocal.measured import TEST, TRAIN, MeasuredPairs, Pair, check_recipe, find_pairs, read_pairs
from refocal.recipe import Recipe, make_recipe, read_document
from refocal.unlabelled import WithUnlabelled
from refocal.values import Restorer
from refocal.whole import whole

METRICS = ("psnr", "ssim")
BLURRY = "Blurry"
SCORES = "scores.json"


class Method(BaseModel):
    """One row of the tables."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    recipe: dict[str, Any] = Field({}, description="keys of a recipe, beside and over those of the experiment")
    unlabelled: bool = Field(False, description="sees the blurry tiles without truth of the table's specimens")


class Table(BaseModel):
    """Methods by specimens and shares."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    test: list[str] = Field(description="specimens that are scored")
    shares: list[float] = Field(description="shares of the pairs that keep their truth")
    methods: list[str]
    unlabelled: list[str] = Field([], description="specimens whose tiles without truth are seen")
    gain: list[str] = Field([], description="two methods: what the first gains over the second at equal seeds")


class Experiment(BaseModel):
    """What is compared. Lengths are pixels."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")
    specimens: list[str] = Field(min_length=1)
    learn: str = Field(description="the specimen whose pairs are learned from")
    seeds: list[int] = Field([0], min_length=1)
    test_share: float = Field(0.25, gt=0, lt=1, description="share of a specimen's images that is kept for scoring")
    cut_px: int = Field(512, ge=48, description="edge of the tiles that large sharp images are cut into")
    degradation: str = Field("sem_acquisition", description="how sharp tiles are spoilt, once and for all methods")
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


def load_experiment(path: Path, overrides: Sequence[str] = ()) -> Experiment:
    """Read a YAML experiment with `key=value` overrides and check every recipe that it expands to.

    Raises
    ------
    BadOptionError
        In one line, for the first thing that is wrong.
    """
    content = read_document(path, overrides)
    for key in content:
        if key not in Experiment.model_fields:
            raise BadOptionError(f"an experiment has no key {key!r}.{nearest(str(key), Experiment.model_fields)}")
    try:
        made = Experiment.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        raise BadOptionError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}") from error
    named = [*made.costs, *(name for table in made.tables for name in (*table.methods, *table.gain))]
    specimens = [made.learn, *(name for table in made.tables for name in (*table.test, *table.unlabelled))]
    for name, known in [*((n, made.methods) for n in named), *((n, made.specimens) for n in specimens)]:
        if name not in known:
            raise BadOptionError(f"{path}: no {name!r} there.{nearest(name, known)}")
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
        families.load(family, kind)
    return recipe


def labelled(pairs: Sequence[Pair], share: float, seed: int) -> list[Pair]:
    """Return the pairs that keep their truth, at least one; a larger share of the same seed holds the smaller one."""
    order = sorted(pairs, key=lambda pair: hashlib.sha256(f"{seed}/{pair.name}".encode()).hexdigest())
    return order[: max(1, round(share * len(order)))]


def conduct(
    experiment: Experiment,
    specimens: Mapping[str, Path],
    out: Path,
    report: Callable[[str], None] = lambda _: None,
    each_step: Callable[[Mapping[str, Any]], None] | None = None,
) -> dict[Run, dict[str, Any]]:
    """Train and score every run that is not finished; return {run: {specimen: {metric: value}}}.

    A run whose loss was not finite any more has the key `diverged` in place of specimens.

    Parameters
    ----------
    specimens
        Of `refocal.specimens.prepare`: folders with train and test pairs.
    out
        Gets a folder for each run.
    report
        Told what is being done.
    each_step
        Called with the lines of each training.

    Raises
    ------
    UsageError
        If a finished run in `out` had another recipe.
    """
    found: dict[Run, dict[str, Any]] = {}
    every = runs(experiment)
    for number, run in enumerate(every, 1):
        recipe, folder = recipe_of(experiment, run), out / run.name
        done = _finished(folder / SCORES, recipe)
        report(f"{number}/{len(every)} {run.name}" + (": finished before" if done else ""))
        found[run] = done if done is not None else _run(experiment, run, recipe, specimens, folder, each_step)
    return found


def score(specimens: Mapping[str, Path], restorer: Restorer | None = None) -> dict[str, dict[str, float]]:
    """Return {specimen: {metric: mean over its test pairs}} of a restorer, or of doing nothing."""
    made: Restorer = restorer or families.make("restorers", "identity")
    as_recorded = families.make("degradations", "chain")
    found = {}
    for name, folder in specimens.items():
        (row,) = evaluate(read_pairs([f"{name}={folder / TEST}"]), as_recorded, {"it": lambda _: made}, METRICS)
        found[name] = {**{metric: row[metric] for metric in METRICS}, "count": row["count"]}
    return found


def _run(
    experiment: Experiment,
    run: Run,
    recipe: Recipe,
    specimens: Mapping[str, Path],
    folder: Path,
    each_step: Callable[[Mapping[str, Any]], None] | None,
) -> dict[str, Any]:
    from refocal.card import publish_run
    from refocal.restorers.torch_model import TorchModel
    from refocal.train import train

    pairs = {name: find_pairs(path / TRAIN) for name, path in specimens.items()}
    known = labelled(pairs[experiment.learn], run.share, run.seed)
    tiles: MeasuredPairs | WithUnlabelled = MeasuredPairs(known, recipe.scales, recipe.patch)
    others = [p.blurry for name in run.unlabelled for p in pairs[name] if p not in known]
    if experiment.methods[run.method].unlabelled:
        if not others:
            raise BadOptionError(f"{run.name}: no tile is left without truth; give more tiles or a smaller share")
        tiles = WithUnlabelled(tiles, others)
    try:
        trained = train(recipe, tiles, folder, report=each_step)
    except DivergedError as error:
        scores: dict[str, Any] = {"diverged": str(error)}
    else:
        scores = dict(score(specimens, TorchModel(trained.net, precision="f32")))
        publish_run(trained, recipe, tiles.hashes(), folder / f"{recipe.name}.safetensors", "experiment")
    content = {"recipe_sha256": recipe.sha256, "labelled": [p.name for p in known], "unlabelled": len(others)}
    with whole(folder / SCORES) as part:
        part.write_text(json.dumps({**content, "scores": scores}, indent=1))
    if "diverged" not in scores:
        (folder / "last.ckpt").unlink(missing_ok=True)  # three times the model; the finished one is there
    return scores


def _finished(path: Path, recipe: Recipe) -> dict[str, Any] | None:
    if not path.exists():
        return None
    content = json.loads(path.read_text())
    if content["recipe_sha256"] != recipe.sha256:
        raise UsageError(f"{path.parent} was made by another recipe; choose another output or remove that folder")
    scores: dict[str, Any] = content["scores"]
    return scores
