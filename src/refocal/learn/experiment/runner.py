"""Run an experiment: each run is trained by the usual loop and scored by the usual `evaluate`.

For a share and seed, every method sees the same pairs, takes the same number of steps, and is scored on the same
fields, which no training saw. Finished runs are not repeated.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.documents import DocumentError, read_json
from refocal.core.errors import BadOptionError, DivergedError, UsageError
from refocal.core.values import Restorer
from refocal.learn.evaluate.scores import evaluate
from refocal.learn.examples.measured import TEST, TRAIN, MeasuredPairs, Pair, find_pairs, read_pairs
from refocal.learn.examples.unlabelled import WithUnlabelled
from refocal.learn.experiment.plan import METRICS, Experiment, Run, recipe_of, runs
from refocal.learn.recipe import Recipe

SCORES = "scores.json"


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

    A run whose loss was no longer finite has the key `diverged` in place of specimens.

    Parameters
    ----------
    specimens
        Of `refocal.learn.experiment.specimens.prepare`: folders with train and test pairs.
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
    made: Restorer = restorer or registry.make("restorers", "identity")
    as_recorded = registry.make("degradations", "chain")
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
    from refocal.learn.export.model_card import publish_run
    from refocal.learn.train import train
    from refocal.parts.restorers.torch_model import TorchModel

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
    with writing(folder / SCORES) as part:
        part.write_text(json.dumps({**content, "scores": scores}, indent=1))
    if "diverged" not in scores:
        (folder / "last.ckpt").unlink(missing_ok=True)  # three times the model; the finished one is there
    return scores


def _finished(path: Path, recipe: Recipe) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        content = read_json(path.read_bytes(), finite=False)
        made_by, scores = content["recipe_sha256"], dict(content["scores"])
    except (DocumentError, LookupError, OSError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is damaged; remove {path.parent}, and the run is made again") from error
    if made_by != recipe.sha256:
        raise UsageError(f"{path.parent} was made by another recipe; choose another output or remove that folder")
    return scores
