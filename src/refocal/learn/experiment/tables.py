"""Tables of an experiment in the shape of the SGPN paper's (2, 3, 6): mean and s.d. over seeds; and of costs (7).

The spread is over seeds, which draw the weights at the start and which pairs keep their truth. Gains are differences
at equal seeds, so what a seed does to both methods cancels.
"""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from refocal.learn.experiment.plan import METRICS, Experiment, Run, Table

BLURRY = "Blurry"
_DIGITS = {"psnr": 2, "ssim": 3}

Scores = Mapping[Run, Mapping[str, Any]]


def rows(experiment: Experiment, found: Scores, blurry: Mapping[str, Mapping[str, float]]) -> list[dict[str, Any]]:
    """Return one row for each table, method, specimen, share and metric, gains last; `sd` is None for one seed.

    Parameters
    ----------
    found
        Of `refocal.learn.experiment.runner.conduct`.
    blurry
        Scores of doing nothing: {specimen: {metric: value}}.
    """
    made = []
    for table in experiment.tables:
        for specimen in table.test:
            for share in table.shares:
                place = {"table": table.title, "specimen": specimen, "share": share}
                for metric in METRICS:
                    made.append(_row(place, BLURRY, metric, [blurry[specimen][metric]], 0))
                    values = {m: _values(experiment, table, found, m, share, specimen, metric) for m in table.methods}
                    for method, by_seed in values.items():
                        lost = len(experiment.seeds) - len(by_seed)
                        made.append(_row(place, method, metric, list(by_seed.values()), lost))
                    if table.gain:
                        first, second = (values[name] for name in table.gain)
                        gains = [first[seed] - second[seed] for seed in first if seed in second]
                        lost = len(experiment.seeds) - len(gains)
                        made.append(_row(place, _gain(table), metric, gains, lost))
    return made


def markdown(experiment: Experiment, made: Sequence[Mapping[str, Any]], costs: Sequence[Mapping[str, Any]] = ()) -> str:
    """Return all tables as Markdown: a line for each method, columns for specimens, shares and metrics."""
    parts = [_table(table, made, len(experiment.seeds)) for table in experiment.tables]
    if costs:
        lines = ["## Parameters and time", "", "| method | parameters | CPU: s per 256x256 image |", "|---|---|---|"]
        lines += [f"| {row['net']} | {row['parameters']:,} | {row['cpu_seconds']:.3g} |" for row in costs]
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _table(table: Table, made: Sequence[Mapping[str, Any]], seeds: int) -> str:
    columns = [(specimen, share) for specimen in table.test for share in table.shares]
    cells = {(r["method"], r["specimen"], r["share"], r["metric"]): r for r in made if r["table"] == table.title}
    titles = [f"{specimen} {share:.0%} {metric.upper()}" for specimen, share in columns for metric in METRICS]
    lines = [f"## {table.title}", "", "| method | " + " | ".join(titles) + " |", "|---" * (len(titles) + 1) + "|"]
    names = [BLURRY, *table.methods, *([_gain(table)] if table.gain else [])]
    for name in names:
        own = [cells[name, specimen, share, metric] for specimen, share in columns for metric in METRICS]
        lines.append(f"| {name} | " + " | ".join(_cell(row) for row in own) + " |")
    lines += ["", f"Mean ± s.d. over {seeds} seeds." if seeds > 1 else "One seed: no spread."]
    return "\n".join(lines) + "\n"


def _cell(row: Mapping[str, Any]) -> str:
    lost = f" ({row['diverged']} diverged)" if row["diverged"] else ""
    if row["mean"] is None:
        return f"-{lost}"
    digits = _DIGITS[row["metric"]]
    spread = "" if row["sd"] is None else f" ± {row['sd']:.{digits}f}"
    return f"{row['mean']:.{digits}f}{spread}{lost}"


def _gain(table: Table) -> str:
    return f"gain of {table.gain[0]} over {table.gain[1]}"


def _values(
    experiment: Experiment, table: Table, found: Scores, method: str, share: float, specimen: str, metric: str
) -> dict[int, float]:
    """Return {seed: score} of the runs that came to an end."""
    seen = tuple(table.unlabelled) if experiment.methods[method].unlabelled else ()
    scores = {seed: found[Run(method, share, seed, seen)] for seed in experiment.seeds}
    return {seed: of[specimen][metric] for seed, of in scores.items() if "diverged" not in of}


def _row(place: Mapping[str, Any], method: str, metric: str, values: list[float], diverged: int) -> dict[str, Any]:
    return {
        **place,
        "method": method,
        "metric": metric,
        "mean": statistics.fmean(values) if values else None,
        "sd": statistics.stdev(values) if len(values) > 1 else None,
        "seeds": len(values),
        "diverged": diverged,
    }
