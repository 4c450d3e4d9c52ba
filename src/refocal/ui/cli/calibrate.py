"""The command calibrate: fit the gate to one microscope and one specimen."""

import datetime
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refocal.core.errors import BadOptionError, UsageError
from refocal.core.values import Contrast, Restorer
from refocal.engine.job import LOG, Job, Part, learned
from refocal.eventlog.log import read_log
from refocal.ui.cli import app
from refocal.ui.cli._show import print_json, print_rows

if TYPE_CHECKING:
    from refocal.microscope.calibrate import Calibrated
    from refocal.microscope.calibrate.blur_series import BlurSeries
    from refocal.microscope.calibrate.costs import BlurDistribution, Prices

_SAMPLES = 480


@app.command()
def calibrate(
    tiles: Annotated[list[Path], typer.Argument(help="5 to 50 known-good tiles: files and folders")],
    out: Annotated[Path, typer.Option("--out", "-o", help="the file to write")] = Path("calibration.json"),
    sharpest: Annotated[
        float | None, typer.Option(help="take this share of each folder, the sharpest, e.g. 0.1", min=0, max=1)
    ] = None,
    model: Annotated[str, typer.Option(help="shipped model or path of a model file")] = "gran-em",
    restorer: Annotated[str | None, typer.Option(help="another restorer, e.g. wiener:sigma_px=1.6")] = None,
    backend: Annotated[str, typer.Option(help="auto, openvino, onnx or torch")] = "auto",
    contrast: Annotated[str | None, typer.Option(help="LOW,HIGH: counts that mean black and white")] = None,
    crop: Annotated[int, typer.Option(help="edge of the crops that are restored, px", min=64)] = 512,
    each: Annotated[int | None, typer.Option(help="samples of each tile; 24 or more by default", min=8)] = None,
    softest: Annotated[float, typer.Option(help="largest blur to calibrate, px", min=1, max=16)] = 4.0,
    cost_retake: Annotated[float, typer.Option(help="cost of taking a tile again", min=1e-6)] = 1.0,
    cost_bad: Annotated[float, typer.Option(help="cost of a restored tile that is bad", min=1e-6)] = 10.0,
    bad_db: Annotated[float, typer.Option(help="bad is so much worse than a restored good tile, dB", min=0.1)] = 3.0,
    budget: Annotated[float, typer.Option(help="largest share of a section to take again", min=1e-6, max=1)] = 1.0,
    expect_from: Annotated[
        Path | None, typer.Option(help="log.jsonl of a run, or a folder of tiles: the blurs to expect")
    ] = None,
    overrides: Annotated[Path | None, typer.Option(help="log.jsonl with the verdicts of persons")] = None,
    seed: Annotated[int, typer.Option(help="the same seed and tiles give the same calibration", min=0)] = 0,
    date: Annotated[str | None, typer.Option(help="the date to write; today unless given")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object on standard output")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="no progress")] = False,
) -> None:
    """Learn from known-good tiles what blur costs on this microscope and specimen; writes calibration.json.

    The tiles are blurred and made noisy in many ways, restored by the real restorer, and compared. `restore`, `grade`
    and `watch` use the result with `--gate calibrated:path=calibration.json`.

    For example:

        refocal calibrate good_tiles -o calibration.json

        refocal calibrate wafer --sharpest 0.1 --expect-from out/log.jsonl
    """
    from refocal.microscope.calibrate import write
    from refocal.microscope.calibrate.blur_series import BlurSeries
    from refocal.microscope.calibrate.costs import Prices

    part = Part.parse(restorer) if restorer else None
    made = learned(Job(model=model, backend=backend, restorer=part))
    series = BlurSeries(softest, crop, each or 0, seed=seed)
    prices = Prices(retake=cost_retake, bad=cost_bad, budget=budget, bad_db=bad_db)
    facts = {"name": restorer or model, "date": date or datetime.datetime.now(datetime.UTC).date().isoformat()}
    with _bar(quiet) as step:
        result = _calibrated(
            tiles, sharpest, _pair(contrast), made, series, prices, facts, expect_from, overrides, step
        )
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
        series=replace(series, each=series.each or max(24, -(-_SAMPLES // len(goods)))),
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
    print(f"expected retakes {rate:.1%}: {sign} the {RETAKES_BEARABLE:.0%} that a running microscope bears")


_WORDS = {
    "native_px": "blur of the good tiles, px", "native_noise": "noise of the good tiles, of the contrast",
    "blur_mae_px": "blur, mean error on unseen tiles, px", "blur_rank": "blur, rank correlation",
    "noise_error": "noise, mean relative error", "quality_mae_db": "restored quality, mean error, dB",
    "quality_rank": "restored quality, rank correlation", "ssim_mae": "restored SSIM, mean error",
    "keep_px": "kept below an upper bound of, px", "softest_px": "taken again above, px",
    "bad_db": "restored tiles are bad that lose more than, dB",
    "least_db": "taken again where the lower bound is below, dB",
    "relative_mae_db": "loss in restored quality, mean error, dB", "relative_rank": "loss, rank correlation",
    "budget_rules": "the budget set that, not the costs", "overrides": "verdicts of persons used",
    "expected_for": "tiles to come", "bad_share": "expected share restored and bad", "keep": "expected share kept",
    "restore": "expected share restored", "retake": "expected share taken again",
}  # fmt: skip


def _nm(px: float, pixel_nm: float | None) -> float | None:
    return None if pixel_nm is None else px * pixel_nm


def _pair(text: str | None) -> Contrast | None:
    try:
        return None if text is None else Contrast(*(float(part) for part in text.split(",")))
    except (ValueError, TypeError) as error:
        raise BadOptionError(f"--contrast is LOW,HIGH with LOW below HIGH, got {text!r}") from error


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
