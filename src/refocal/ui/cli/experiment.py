"""The command experiment: methods compared on specimens at several shares of labels."""

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson
from refocal.ui.cli._show import each_step, print_rows

if TYPE_CHECKING:
    from refocal.learn.experiment.plan import Experiment


@app.command("experiment", rich_help_panel=Panel.MODELS)
def experiment(
    document: Annotated[str, typer.Argument(help="A shipped experiment (refocal list recipes), or a YAML file.")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value overrides, e.g. recipe.steps=200.")] = None,
    data: Annotated[
        list[str] | None, typer.Option("--data", "-d", help="NAME=FOLDER of each specimen: pairs, or sharp tiles.")
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for runs and tables.")] = Path("runs/experiment"),
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Name the runs and stop.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train and compare methods; the same command resumes.

    Finished runs are not repeated. Writes a folder for each run, and table.csv and tables.md with mean and s.d. over
    seeds. Needs the `train` extra.

    For example:

        refocal experiment semi-supervised -d M1=liver -d M2=cortex -o runs/few

        refocal experiment semi-supervised --dry-run
    """
    registry.load("nets", registry.names("nets")[0])  # without PyTorch: one line
    from refocal.core.atomic import writing
    from refocal.learn.experiment.plan import load_experiment, runs
    from refocal.learn.experiment.runner import conduct, score
    from refocal.learn.experiment.specimens import prepare
    from refocal.learn.experiment.tables import markdown, rows

    made = load_experiment(document, overrides or ())
    if dry_run:
        print("\n".join(run.name for run in runs(made)))
        return
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    given = dict(_named(text) for text in data or [])
    (out / "specimens").mkdir(parents=True, exist_ok=True)
    specimens = prepare(made, given, out / "specimens")
    steps = int(made.recipe.get("steps", 0)) or 1
    found = conduct(made, specimens, out / "runs", lambda said: print(said, file=sys.stderr), each_step(steps))
    table = rows(made, found, score(specimens))
    print_rows(table, as_json)
    from refocal.learn.evaluate.scores import table_csv

    for name, text in (("table.csv", table_csv(table)), ("tables.md", markdown(made, table, _costs(made)))):
        with writing(out / name) as part:
            part.write_text(text)


def _costs(made: "Experiment") -> list[dict[str, Any]]:
    from refocal.learn.evaluate.net_costs import Entry, measure
    from refocal.learn.experiment.plan import Run, recipe_of

    found = []
    for method in made.costs:
        recipe = recipe_of(made, Run(method, 1.0, made.seeds[0], ()))
        found.append(measure(Entry(method, recipe.net, recipe.net_options), (256, 256), 1, 1))
    return found


def _named(text: str) -> tuple[str, Path]:
    name, sign, path = text.partition("=")
    if not (sign and name and path):
        raise BadOptionError(f"a specimen is given as NAME=FOLDER, e.g. -d M1=liver; got {text!r}")
    return name, Path(path)
