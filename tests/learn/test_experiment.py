"""An experiment: it expands to recipes, trains by the one loop, scores what was not trained on, and goes on."""

import csv
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from drawn import SHARP, save, texture
from program import Program
from refocal.core.errors import DivergedError, UsageError
from refocal.learn.examples.measured import Pair, find_pairs
from refocal.learn.experiment import runner as conducting
from refocal.learn.experiment.plan import Run, load_experiment, recipe_of, runs
from refocal.learn.experiment.runner import labelled
from refocal.learn.experiment.tables import markdown, rows
from refocal.learn.recipe import shipped

EXPERIMENTS = [name for name in shipped() if name.startswith("experiment/")]
SMOKE = shipped()["experiment/smoke"]


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lab = tmp_path_factory.mktemp("lab")
    for name, first in (("liver", 0), ("cortex", 20)):
        for n in range(4):
            save(lab / name / f"tile{n}.tif", [texture(SHARP, first + n, (76, 152))])
    return lab


def test_it_trains_scores_and_goes_on(specimens: Path, inside: Program, tmp_path: Path) -> None:
    command = ("experiment", SMOKE, "seeds=[1]", "cut_px=76", "-d", f"M1={specimens / 'liver'}",
               "-d", f"M2={specimens / 'cortex'}", "-o", tmp_path, "--json")  # fmt: skip
    said = inside(*command)
    table = [json.loads(line) for line in said.out.splitlines()]
    assert {row["method"] for row in table} == {
        "Blurry", "supervised", "semi-supervised", "gain of semi-supervised over supervised",
    }  # fmt: skip
    assert all(np.isfinite(row["mean"]) for row in table)
    page = (tmp_path / "tables.md").read_text()
    assert "| method | M1 50% PSNR | M1 50% SSIM | M2 50% PSNR | M2 50% SSIM |" in page
    assert "s per 256x256 image" in page
    made = sorted(p.name for p in (tmp_path / "runs").iterdir())
    assert made == ["semi-supervised-0.5-seed1-m1", "semi-supervised-0.5-seed1-m1-m2", "supervised-0.5-seed1"]
    for run in made:
        assert (tmp_path / "runs" / run / f"{run}.onnx").is_file()
        assert not list((tmp_path / "runs" / run).glob("*.part"))
    content = json.loads((tmp_path / "runs" / made[1] / "scores.json").read_text())
    assert len(content["labelled"]) == 2
    assert content["unlabelled"] == 2 + 4
    _no_field_is_learned_and_scored(tmp_path / "specimens")

    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*") if p.is_file()}
    again = inside(*command)
    assert again.err.count("finished before") == 3
    assert again.out == said.out
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "runs").rglob("*") if p.is_file()} == before
    said = inside(*command[:3], "cut_px=70", *command[4:], code=2)
    assert "another way" in said.line
    said = inside(*command[:4], "recipe.steps=3", *command[4:], code=2)
    assert "another recipe" in said.err.splitlines()[-1]


def _no_field_is_learned_and_scored(folder: Path) -> None:
    for specimen in folder.iterdir():
        shares = [{p.name.partition("-")[0] for p in find_pairs(specimen / share)} for share in ("train", "test")]
        assert all(len(fields) == 2 for fields in shares)
        assert not shares[0] & shares[1]


def test_a_run_that_diverges_is_told_and_the_others_go_on(
    specimens: Path, inside: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(run: Run) -> dict:
        if run.method == "supervised":
            return {"diverged": "step 3"}
        return {name: {"psnr": 20.0 + run.seed, "ssim": 0.5, "count": 4} for name in ("M1", "M2")}

    made = load_experiment(SMOKE)
    found = {run: fail(run) for run in runs(made)}
    blurry = {name: {"psnr": 18.0, "ssim": 0.4} for name in ("M1", "M2")}
    table = rows(made, found, blurry)
    lost = [row for row in table if row["method"] == "supervised"]
    assert all(row["diverged"] == 2 and row["mean"] is None for row in lost)
    page = markdown(made, table)
    assert "| semi-supervised | 21.50 ± 0.71 | 0.500 ± 0.000 |" in page
    assert "(2 diverged)" in page

    def diverge(*_: object, **__: object) -> None:
        raise DivergedError("training stopped after step 1: the loss 'critic' is not finite")

    monkeypatch.setattr("refocal.learn.train.train", diverge)
    run, folder = runs(made)[0], tmp_path / "run"
    folder.mkdir()
    for share in ("train", "test"):
        for side in ("sharp", "blurry"):
            save(tmp_path / "M" / share / side / "a.tif", [texture(SHARP, 0, (76, 76))])
    given = dict.fromkeys(("M1", "M2"), tmp_path / "M")
    scores = conducting._run(made, run, recipe_of(made, run), given, folder, None)
    assert "critic" in scores["diverged"]
    assert json.loads((folder / "scores.json").read_text())["scores"] == scores


def test_gains_are_paired_over_seeds() -> None:
    made = load_experiment(SMOKE, ["seeds=[1,2,3]"])
    level = {1: 20.0, 2: 25.0, 3: 30.0}
    found = {
        run: {s: {"psnr": level[run.seed] + 0.3 * bool(run.unlabelled), "ssim": 0.5} for s in ("M1", "M2")}
        for run in runs(made)
    }
    table = rows(made, found, {s: {"psnr": 18.0, "ssim": 0.4} for s in ("M1", "M2")})
    (gain,) = (r for r in table if r["method"].startswith("gain") and r["specimen"] == "M2" and r["metric"] == "psnr")
    assert gain["mean"] == pytest.approx(0.3)
    assert gain["sd"] == pytest.approx(0, abs=1e-9)
    (own,) = (r for r in table if (r["table"], r["specimen"], r["metric"], r["method"])
              == ("Another specimen", "M2", "psnr", "supervised"))  # fmt: skip
    assert (own["mean"], own["sd"]) == (25, 5)


def test_shares_are_nested_and_never_empty() -> None:
    pairs = [Pair(f"{n}.tif", Path("a"), Path("b")) for n in range(40)]
    picked = [labelled(pairs, share, 1) for share in (0.01, 0.05, 0.1, 0.5, 1.0)]
    assert [len(p) for p in picked] == [1, 2, 4, 20, 40]
    assert all(set(a) <= set(b) for a, b in itertools.pairwise(picked))
    assert labelled(pairs, 0.1, 1) != labelled(pairs, 0.1, 2)
    assert labelled(list(reversed(pairs)), 0.1, 1) == labelled(pairs, 0.1, 1)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_that_ships_expands(name: str) -> None:
    made = load_experiment(name)
    found = [recipe_of(made, run) for run in runs(made)]
    assert len({recipe.name for recipe in found}) == len(found)
    assert len({(recipe.steps, recipe.batch, recipe.patch) for recipe in found}) == 1, "methods take equal steps"


def test_the_paper_has_its_shares_and_steps() -> None:
    made = load_experiment("semi_supervised")
    assert made.tables[0].shares == made.tables[1].shares == [0.05, 0.1, 0.2, 0.5]
    # Six rows at four shares, the method that sees tiles without truth once for each table, two more in the ablation.
    assert len(runs(made)) == 3 * (4 * 5 + 2 * 4 + 2)
    ablation = [made.methods[name].recipe["objective_options"] for name in made.tables[2].methods]
    assert [set(options) for options in ablation] == [
        {"perceptual", "unsupervised", "augment"}, {"model", "unsupervised", "augment"}, {"model", "unsupervised"},
        {"model"},
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"specimen": []}, "Did you mean 'specimens'?"),
        ({"learn": "M3"}, "'M3'"),
        ({"costs": ["supervise"]}, "Did you mean 'supervised'?"),
        ({"methods": {}}, "'supervised'"),
        ({"recipe": {"steps": 1, "stps": 2}}, "Did you mean 'steps'?"),
        ({"recipe": {"net": "sgpm", "steps": 1}}, "Did you mean 'sgpn'?"),
        ({"seeds": []}, "seeds"),
        ({"tables": [{"title": "t", "test": ["M1"], "shares": [0], "methods": ["supervised"]}]}, "above 0"),
    ],
)
def test_wrong_documents_are_refused_in_one_line(tmp_path: Path, changes: dict, words: str) -> None:
    content = yaml.safe_load(SMOKE.read_text()) | changes
    (tmp_path / "e.yaml").write_text(json.dumps(content))
    with pytest.raises(UsageError) as caught:
        load_experiment(tmp_path / "e.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none"], "'none'"),
        ([SMOKE], "M1"),
        ([SMOKE, "-d", "M1"], "NAME=FOLDER"),
        ([SMOKE, "-d", "M1=liver", "-d", "M2=none"], "no such file"),
        ([SMOKE, "-d", "M1=liver", "-d", "M2=liver", "cut_px=200"], "lower cut_px"),
        ([SMOKE, "-d", "M1=liver/tile0.tif", "-d", "M2=cortex"], "one image only"),
    ],
)
def test_wrong_requests(specimens: Path, inside: Program, tmp_path: Path, arguments: list, words: str) -> None:
    assert words in inside("experiment", *arguments, "-o", tmp_path / "out", code=2, cwd=specimens).line


def test_a_dry_run_names_the_runs(inside: Program, tmp_path: Path) -> None:
    said = inside("experiment", SMOKE, "--dry-run", cwd=tmp_path)
    assert len(said.out.splitlines()) == 6
    assert not list(tmp_path.iterdir())


def test_the_table_is_a_table(specimens: Path, tmp_path: Path) -> None:
    made = load_experiment(SMOKE)
    found = {run: {s: {"psnr": 20.0, "ssim": 0.5} for s in ("M1", "M2")} for run in runs(made)}
    from refocal.learn.evaluate.scores import table_csv

    text = table_csv(rows(made, found, {s: {"psnr": 18.0, "ssim": 0.4} for s in ("M1", "M2")}))
    read = list(csv.DictReader(text.splitlines()))
    assert {"table", "specimen", "share", "method", "metric", "mean", "sd", "seeds", "diverged"} == set(read[0])
