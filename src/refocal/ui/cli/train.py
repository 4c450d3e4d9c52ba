"""Commands about models: train, evaluate, bench."""

import logging
import platform
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.engine import backends
from refocal.engine.job import Part
from refocal.learn.evaluate.scores import (
    ORACLES,
    Make,
    Scored,
    Truth,
    evaluate,
    read_truths,
    table_csv,
    table_markdown,
)
from refocal.models import header
from refocal.ui.cli import app
from refocal.ui.cli._show import each_step, print_json, print_rows

if TYPE_CHECKING:
    from torch import nn

    from refocal.learn.examples.tiles import Tiles
    from refocal.learn.recipe import Recipe
    from refocal.learn.train import Validate

AsJson = Annotated[bool, typer.Option("--json", help="one JSON object a line on standard output")]
TRUTHS = "sharp tiles: files, folders or patterns, each optionally as GROUP=PATH"


@app.command()
def train(
    recipe: Annotated[Path, typer.Argument(help="YAML recipe, e.g. recipes/tile/gran_blind.yaml")],
    overrides: Annotated[list[str] | None, typer.Argument(help="key=value overrides, e.g. steps=2000 seed=3")] = None,
    data: Annotated[list[Path] | None, typer.Option("--data", "-d", help="folders and files of sharp tiles")] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="folder for checkpoints and the model")] = Path("runs"),
    valid: Annotated[list[str] | None, typer.Option("--valid", help=f"held-out {TRUTHS}")] = None,
    labels: Annotated[list[str] | None, typer.Option("--labels", help="label image of each --data, in order")] = None,
    valid_labels: Annotated[list[str] | None, typer.Option(help="label image of each --valid, in order")] = None,
    unlabelled: Annotated[list[Path] | None, typer.Option(help="blurry tiles without truth, to learn from too")] = None,
    pairs: Annotated[list[Path] | None, typer.Option(help="measured pairs in place of --data and --valid")] = None,
    devices: Annotated[int | None, typer.Option(help="processes; default all GPUs, or one on a CPU", min=1)] = None,
) -> None:
    """Train a model; the same command again resumes where the last checkpoint stands.

    Leaves NAME.safetensors, NAME.onnx and NAME.md in the output folder. Needs the `train` extra.

    For example:

        refocal train recipes/tile/gran_blind.yaml -d sharp -o runs/a --valid more

        refocal train recipes/tile/gran.yaml steps=2000 lr=1e-3 -d sharp -o runs/b

        refocal train recipes/segment/contour.yaml -d raw.tif#0:120 --labels ids.tif
    """
    from refocal.learn.recipe import load_recipe

    made = load_recipe(recipe, overrides or ())
    if not (data or pairs) or (pairs and (data or labels)):
        raise BadOptionError("give sharp tiles to learn from with --data FOLDER, or measured pairs with --pairs FOLDER")
    for family, kind in (("nets", made.net), ("objectives", made.objective), ("degradations", made.degradation)):
        registry.load(family, kind)
    from refocal.learn.export.model_card import publish_run
    from refocal.learn.train import train as run_training

    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    tiles = _tiles(made, data or [], labels or [], unlabelled or [], pairs or [])
    validate = _validator(made, valid or [], valid_labels or [], measured=bool(pairs)) if valid else None
    trained = run_training(made, tiles, out, validate=validate, report=each_step(made.steps), devices=devices)
    if trained.leads:
        machine = f"{platform.processor() or platform.machine()}, {platform.system()}"
        print(publish_run(trained, made, tiles.hashes(), out / f"{made.name}.safetensors", machine))


def _tiles(recipe: "Recipe", data: list[Path], labels: list[str], unlabelled: list[Path], pairs: list[Path]) -> "Tiles":
    from refocal.learn.examples.labelled import LabelledTiles, read_labelled
    from refocal.learn.examples.measured import MeasuredPairs, check_recipe, find_pairs
    from refocal.learn.examples.tiles import SharpTiles
    from refocal.learn.examples.unlabelled import WithUnlabelled

    if pairs:
        check_recipe(recipe)
        found = [pair for folder in pairs for pair in find_pairs(folder)]
        learned = MeasuredPairs(found, recipe.scales, recipe.patch)
        return WithUnlabelled(learned, unlabelled) if unlabelled else learned
    if labels:
        stacks = read_labelled([str(path) for path in data], labels)
        return LabelledTiles(stacks, recipe.scales, recipe.patch, recipe.sections)
    if recipe.frames:
        from refocal.learn.examples.bursts import burst_tiles

        return burst_tiles(recipe, data)
    if recipe.sections > 1:
        from refocal.learn.examples.triplets import Triplets

        return Triplets(data, recipe.scales, recipe.patch, recipe.sections)
    tiles = SharpTiles(data, recipe.scales, recipe.patch, recipe.softest_px)
    return WithUnlabelled(tiles, unlabelled) if unlabelled else tiles


def _validator(recipe: "Recipe", valid: list[str], labels: list[str], measured: bool) -> "Validate":
    if labels:
        from refocal.learn.evaluate.cells import held_out

        return held_out(recipe.net, valid, labels)
    if recipe.sections > 1:
        raise BadOptionError("--valid scores single tiles; check models for folds with benchmarks/folds.py")
    truths = list(_reader(measured)(valid, 256, 8))
    degradation = registry.make("degradations", recipe.degradation, **recipe.degradation_options)

    frames = recipe.frames[1] if recipe.frames else 1

    def validate(net: "nn.Module") -> Mapping[str, float]:
        options = {} if recipe.frames else {"precision": "f32"}
        restorer = registry.make("restorers", "burst" if recipe.frames else "torch_model", model=net, **options)
        rows = evaluate(truths, degradation, {"net": lambda _: restorer}, frames=frames)
        return {m: sum(row[m] for row in rows) / len(rows) for m in ("psnr", "ssim")}

    return validate


@app.command("evaluate")
def evaluate_command(
    inputs: Annotated[list[str], typer.Argument(help=TRUTHS)],
    degradation: Annotated[str, typer.Option(help="kind:option=value,...")] = "gran_protocol",
    restorer: Annotated[
        list[str] | None,
        typer.Option("--restorer", "-r", help="[NAME=]MODEL, kind:option=value,... or an oracle; repeat for more"),
    ] = None,
    metric: Annotated[list[str] | None, typer.Option("--metric", "-m", help="repeat for more")] = None,
    crop: Annotated[int | None, typer.Option(help="score the centre of so many pixels squared", min=1)] = None,
    limit: Annotated[int | None, typer.Option(help="at most so many tiles of each input", min=1)] = None,
    frames: Annotated[int, typer.Option(help="see each tile so many times, as a burst", min=1, max=64)] = 1,
    seed: Annotated[int, typer.Option(help="the same seed degrades in the same way", min=0)] = 0,
    pairs: Annotated[bool, typer.Option("--pairs", help="the inputs are measured pairs; degrade nothing")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="folder for table.csv, table.md and pictures")] = None,
    segment: Annotated[str | None, typer.Option(help="score by cells: kind:option=value,... of a segmenter")] = None,
    labels: Annotated[list[str] | None, typer.Option(help="for --segment: label image of each input")] = None,
    convention: Annotated[list[str] | None, typer.Option(help="of cell scores, e.g. border_px=2; repeatable")] = None,
    as_json: AsJson = False,
) -> None:
    """Degrade sharp tiles, restore them, and compare with the truth: mean, s.d. and count for each group.

    Scores are taken on the raw grey range, borders included. Oracles know what nobody knows in practice:
    `oracle_wiener` the kernel, the noise and the power spectrum, `oracle_richardson_lucy` the kernel and when to stop.

    For example:

        refocal evaluate epfl=eval/sem temca=eval/tem/temca*.png -o scores

        refocal evaluate sharp -r gran-em -r mine=runs/a/mine.safetensors --json

        refocal evaluate sharp --degradation defocus:sigma_px=2 -r oracle_wiener

        refocal evaluate raw.tif --segment contour_watershed --labels ids.tif

        refocal evaluate sharp --degradation stream --frames 5 -r merge:by=mean
    """
    makers = {} if segment else {"nothing": _maker("identity")}
    for text in restorer or ["gran-em"]:
        name, sign, what = text.partition("=")
        named = sign and ":" not in name
        makers[name if named else text] = _maker(what if named else text)
    spoil = Part.parse(degradation).make("degradations")
    measures = metric or ["psnr", "ssim"]
    if segment is not None and pairs:
        raise BadOptionError("--segment degrades sharp tiles whose cells are known; it takes no --pairs")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    if segment is not None:
        from refocal.ui.cli._evaluate_cells import evaluate_segments

        told = labels or [], segment, convention or []
        evaluate_segments(inputs, *told, spoil, makers, measures, crop, limit, seed, out, as_json)
        return
    pictures = _Pictures(out / "pictures") if out is not None else None
    truths = _reader(pairs)(inputs, crop, limit)
    rows = evaluate(truths, spoil, makers, measures, seed=seed, show=pictures, frames=frames)
    if out is not None:
        _write_tables(out, rows, measures)
    print_rows(rows, as_json)


def _write_tables(out: Path, rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> None:
    (out / "table.csv").write_text(table_csv(rows))
    (out / "table.md").write_text("\n".join(table_markdown(rows, m, 2 if m == "psnr" else 4) for m in measures))


def _reader(measured: bool) -> Callable[[Sequence[str], int | None, int | None], Iterator[Truth]]:
    from refocal.learn.examples.measured import read_pairs

    return read_pairs if measured else read_truths


def _maker(text: str) -> Make:
    if text in ORACLES:
        return ORACLES[text]
    part = Part.parse(text) if ":" in text or text in registry.names("restorers") else None
    if part is None and header.read(header.find(text)).frames != 1:
        part = Part(kind="burst", options={"model": text})  # else it would be shown the first frame alone
    made = part.make("restorers") if part else backends.learned(text)
    return lambda _: made


class _Pictures:
    """Writes before, after and truth of the first tile of each group side by side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._first: dict[str, str] = {}

    def __call__(self, scored: Scored) -> None:
        import numpy as np

        from refocal.core.values import Contrast, ImageInfo
        from refocal.parts.formats import create_image

        if self._first.setdefault(scored.group, scored.name) != scored.name:
            return
        top, left = ((n - min(n, 384)) // 2 for n in scored.truth.shape)
        crops = [image[top : top + 384, left : left + 384] for image in (scored.seen, scored.got, scored.truth)]
        row = Contrast(0, 255).counts(np.concatenate(crops, 1), np.uint8)
        name = "".join(c if c.isalnum() or c in "-_." else "_" for c in f"{scored.group}-{scored.restorer}")
        create_image(self.folder / f"{name}.png", [row], like=ImageInfo((1, *row.shape), row.dtype))


@app.command()
def bench(
    what: Annotated[str, typer.Argument(help="restore, or zoo: what every net costs")] = "restore",
    model: Annotated[str, typer.Option(help="shipped model or path of a model file")] = "gran-em",
    size: Annotated[str | None, typer.Option(help="HEIGHTxWIDTH; default 1024x1024, of the zoo 256x256")] = None,
    rounds: Annotated[int, typer.Option(help="timed rounds; medians are printed", min=1)] = 3,
    also: Annotated[
        list[str] | None, typer.Option(help="restore: another model, in the same turns; repeatable")
    ] = None,
    net: Annotated[list[str] | None, typer.Option(help="zoo: only this net; repeat for more")] = None,
    batch: Annotated[int, typer.Option(help="zoo: images that go through at once", min=1)] = 1,
    scores: Annotated[Path | None, typer.Option(help="zoo: folder with the tables of `refocal evaluate`")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="zoo: Markdown file to write")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure speed on this machine.

    restore: every runtime in turn, as ratios to plain float32 PyTorch in the same run. zoo: parameters, arithmetic and
    speed of every net, with the scores of those that have been evaluated under their name.

    For example:

        refocal bench restore --json

        refocal bench zoo --net gran --net srn --scores scores -o net_costs.md
    """
    if what not in ("restore", "zoo"):
        raise BadOptionError(f"there is a bench for 'restore' and for 'zoo', not for {what!r}")
    pixels = _size(size or ("1024x1024" if what == "restore" else "256x256"))
    if what == "zoo":
        _bench_zoo(pixels, rounds, net or [], batch, scores, out, as_json)
        return
    from refocal.learn.evaluate.speed import restore_rows

    rows = []
    for row in restore_rows(model, pixels, rounds=rounds, also=also or ()):
        rows.append(row)
        if as_json:
            print_json(row)
        else:
            print(f"measured {row['variant']}", file=sys.stderr)
    if not as_json:
        print_rows(rows, as_json=False)


def _bench_zoo(
    size: tuple[int, int],
    rounds: int,
    only: list[str],
    batch: int,
    scores: Path | None,
    out: Path | None,
    as_json: bool,
) -> None:
    registry.load("nets", registry.names("nets")[0])  # without PyTorch: one line
    from refocal.core.atomic import writing
    from refocal.learn.evaluate import net_costs

    brought = net_costs.scores(scores) if scores else {}
    rows = []
    for entry in net_costs.entries(only):
        rows.append(net_costs.measure(entry, size, batch, rounds))
        print(f"measured {entry.name}: {rows[-1]['cpu_seconds']:.3g} s an image", file=sys.stderr, flush=True)
        if as_json:
            print_json({**rows[-1], **brought.get(entry.name, {})})
    page = f"{net_costs.markdown(rows, brought)}\n{net_costs.setting(rows)}\n"
    if out is not None:
        with writing(out) as part:
            part.write_text(page)
    if not as_json:
        print(page, end="")


def _size(text: str) -> tuple[int, int]:
    try:
        height, width = (int(n) for n in text.lower().split("x"))
        if min(height, width) < 1:
            raise ValueError("no pixels")
    except ValueError as error:
        raise BadOptionError(f"--size is HEIGHTxWIDTH, e.g. 1344x1560; got {text!r}") from error
    return height, width
