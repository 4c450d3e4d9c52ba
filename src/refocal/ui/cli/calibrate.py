"""The command calibrate: fit the gate to one microscope and one specimen."""

import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refocal.core.errors import UsageError
from refocal.core.values import Contrast, Restorer
from refocal.engine.job import LOG, Job, learned
from refocal.eventlog.log import read_log
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import (
    AsJson,
    Backend,
    Limits,
    Model,
    Number,
    OtherRestorer,
    Quiet,
    contrast_of,
    limits_of,
    listed,
    numbers,
    part_of,
)
from refocal.ui.cli._show import print_json, print_rows

if TYPE_CHECKING:
    from refocal.microscope.calibrate import Calibrated
    from refocal.microscope.calibrate.blur_series import BlurSeries
    from refocal.microscope.calibrate.costs import BlurDistribution, Prices

_LEAST_SAMPLES = 480
_SAMPLES = {"crop": Number(512, 64), "each": Number(0, 8), "softest": Number(4.0, 1, 16), "seed": Number(0, 0)}
_COSTS = {
    "retake": Number(1.0, 1e-6), "bad": Number(10.0, 1e-6), "bad_db": Number(3.0, 0.1), "budget": Number(1.0, 1e-6, 1),
}  # fmt: skip


@app.command("calibrate", rich_help_panel=Panel.MICROSCOPE)
def calibrate(
    tiles: Annotated[list[Path], typer.Argument(help="5 to 50 known-good tiles: files and folders.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="File to write.")] = Path("calibration.json"),
    sharpest: Annotated[
        float | None, typer.Option(help="Take this share of each folder, the sharpest, e.g. 0.1.", min=0, max=1)
    ] = None,
    model: Model = "gran-em",
    restorer: OtherRestorer = None,
    backend: Backend = "auto",
    contrast: Limits = None,
    samples: Annotated[
        str | None, typer.Option(metavar="NAME=NUMBER,...", help=f"How tiles are sampled: {listed(_SAMPLES)}.")
    ] = None,
    costs: Annotated[
        str | None, typer.Option(metavar="NAME=NUMBER,...", help=f"What mistakes cost: {listed(_COSTS)}.")
    ] = None,
    expect_from: Annotated[
        Path | None, typer.Option(help="log.jsonl of a run, or a folder of tiles: the blurs to expect.")
    ] = None,
    overrides: Annotated[Path | None, typer.Option(help="log.jsonl with verdicts of operators.")] = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Fit the gate to one microscope and one specimen.

    Known-good tiles are blurred and made noisy in many ways, restored by the real restorer, and compared. `restore`,
    `grade` and `watch` use the result with `--gate calibrated:path=calibration.json`.

    The numbers of --samples: crop, the edge of the crops that are restored, px; each, the samples of each tile (by
    default 24 or more); softest, the largest blur, px; seed. Those of --costs: retake, the cost of imaging a tile
    again; bad, that of a bad restored tile; bad_db, how much worse than a restored good tile is bad, dB; budget, the
    largest share of a section to image again.

    For example:

        refocal calibrate good_tiles -o calibration.json

        refocal calibrate wafer --sharpest 0.1 --expect-from out/log.jsonl

        refocal calibrate good_tiles --costs bad=20,budget=0.02
    """
    from refocal.microscope.calibrate import write
    from refocal.microscope.calibrate.blur_series import BlurSeries
    from refocal.microscope.calibrate.costs import Prices

    sampled, prices = numbers("--samples", samples, _SAMPLES), Prices(**numbers("--costs", costs, _COSTS))
    made = learned(Job(model=model, backend=backend, restorer=part_of(restorer)))
    series = BlurSeries(sampled["softest"], sampled["crop"], sampled["each"], seed=sampled["seed"])
    facts = {"name": restorer or model, "date": datetime.datetime.now(datetime.UTC).date().isoformat()}
    limits = contrast_of(limits_of(contrast))
    with _bar(quiet) as step:
        result = _calibrated(tiles, sharpest, limits, made, series, prices, facts, expect_from, overrides, step)
    write(result.calibration, out)
    _show(result, out, as_json=as_json)


def _calibrated(
    tiles: list[Path],
    sharpest: float | None,
    contrast: Contrast | None,
    restorer: Restorer,
    series: "BlurSeries",
    prices: "Prices",
    facts: dict[str, str],
    expect_from: Path | None,
    overrides: Path | None,
    step: Callable[[str, int, int], None],
) -> "Calibrated":
    from refocal.microscope import calibrate as engine
    from refocal.microscope.calibrate.costs import operator_verdicts
    from refocal.microscope.calibrate.reference_tiles import good_tiles

    for given in (overrides, expect_from):
        if given is not None and not given.exists():
            raise UsageError(f"{given}: no such file or folder")
    goods = good_tiles(tiles, sharpest=sharpest, contrast=contrast, look=lambda done, of: step("looking", done, of))
    return engine.calibrate(
        goods,
        restorer,
        name=facts["name"],
        date=facts["date"],
        series=replace(series, each=series.each or max(24, -(-_LEAST_SAMPLES // len(goods)))),
        prices=prices,
        mix=(lambda native_px: _mix(expect_from, native_px)) if expect_from else None,
        persons=(lambda native_px: operator_verdicts(read_log(_log(overrides)), native_px)) if overrides else None,
        step=lambda done, of: step("restoring samples", done, of),
    )


def _log(path: Path) -> Path:
    return path / LOG if path.is_dir() else path


def _mix(where: Path, native_px: float) -> "BlurDistribution":
    """Return the blurs in a log, in the log of an output folder, or in a folder of tiles."""
    from refocal.microscope.calibrate.costs import graded, observed

    log = _log(where)
    if log.is_file() and log.suffix == ".jsonl":
        return observed(read_log(log), native_px, where.name)
    return graded([where], native_px, where.name)


def _show(result: "Calibrated", out: Path, *, as_json: bool) -> None:
    from refocal.microscope.calibrate.costs import RETAKES_BEARABLE

    found = result.calibration
    costs, limits = found.costs, found.thresholds
    row: dict[str, Any] = {
        "file": str(out), "tiles": len(found.tiles), "samples": found.samples, "pixel_nm": found.pixel_nm,
        "native_px": found.native_px, "native_noise": found.native_noise, **result.scores,
        "keep_px": limits.keep_px, "keep_nm": _nm(limits.keep_px, found.pixel_nm),
        "softest_px": limits.softest_px, "softest_nm": _nm(limits.softest_px, found.pixel_nm),
        "bad_db": costs.bad_db, "least_db": limits.least_db, "budget_rules": costs.limited,
        "overrides": costs.overrides, "expected_for": costs.mix, "bad_share": costs.bad_share, **costs.rates,
    }  # fmt: skip
    if as_json:
        print_json(row)
        return
    print_rows([{"what": _WORDS.get(name, name), "value": value} for name, value in row.items()], as_json=False)
    rate = costs.rates["retake"]
    sign = "above" if rate > RETAKES_BEARABLE else "within"
    print(f"expected retakes {rate:.1%}: {sign} the {RETAKES_BEARABLE:.0%} that a running microscope tolerates")


_WORDS = {
    "native_px": "blur of the good tiles, px", "native_noise": "noise of the good tiles, of the contrast",
    "blur_mae_px": "blur, mean error on unseen tiles, px", "blur_rank": "blur, rank correlation",
    "noise_error": "noise, mean relative error", "quality_mae_db": "restored quality, mean error, dB",
    "quality_rank": "restored quality, rank correlation", "ssim_mae": "restored SSIM, mean error",
    "keep_px": "kept below an upper bound of, px", "softest_px": "retaken above, px",
    "bad_db": "restored tiles are bad if they lose more than, dB",
    "least_db": "retaken where the lower bound is below, dB",
    "relative_mae_db": "loss in restored quality, mean error, dB", "relative_rank": "loss, rank correlation",
    "budget_rules": "set by the budget, not by the costs", "overrides": "operators' verdicts used",
    "expected_for": "tiles to come", "bad_share": "expected share restored and bad", "keep": "expected share kept",
    "restore": "expected share restored", "retake": "expected share retaken",
}  # fmt: skip


def _nm(px: float, pixel_nm: float | None) -> float | None:
    return None if pixel_nm is None else px * pixel_nm


@contextmanager
def _bar(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a callback for a bar with the time left on standard error."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=quiet or not sys.stderr.isatty()) as bar:
        tasks: dict[str, Any] = {}

        def step(what: str, done: int, of: int) -> None:
            if what not in tasks:
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done)

        yield step
