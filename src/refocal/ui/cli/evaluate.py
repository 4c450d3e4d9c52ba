"""The command evaluate."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.engine import backends
from refocal.engine.job import Part
from refocal.learn.evaluate.scores import (
    ORACLES,
    Make,
    Scored,
    evaluate,
    read_truths,
    table_csv,
    table_markdown,
)
from refocal.models import header
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson, Truths
from refocal.ui.cli._show import print_rows

_Restorer = Annotated[
    list[str] | None,
    typer.Option("--restorer", "-r", help="[NAME=]MODEL, kind:option=value,... or an oracle; repeat for more."),
]
_Convention = Annotated[
    list[str] | None, typer.Option(help="Convention of cell scores, e.g. border_px=2; repeat for more.")
]
_Degradation = Annotated[str, typer.Option(help="kind:option=value,... ; see `refocal list degradations`.")]
_Metric = Annotated[list[str] | None, typer.Option("--metric", "-m", help="Metric; repeat for more.")]
_Crop = Annotated[int | None, typer.Option(help="Score only the centre of each tile, this many px wide.", min=1)]
_Limit = Annotated[int | None, typer.Option(help="Most tiles of each input.", min=1)]


@app.command("evaluate", rich_help_panel=Panel.MODELS)
def evaluate_command(
    inputs: Truths,
    degradation: _Degradation = "gran_protocol",
    restorer: _Restorer = None,
    metric: _Metric = None,
    crop: _Crop = None,
    limit: _Limit = None,
    frames: Annotated[int, typer.Option(help="Frames of each tile, as a burst.", min=1, max=64)] = 1,
    seed: Annotated[int, typer.Option(help="The same seed degrades in the same way.", min=0)] = 0,
    pairs: Annotated[bool, typer.Option("--pairs", help="The inputs are measured pairs; degrade nothing.")] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for tables and pictures.")] = None,
    segment: Annotated[str | None, typer.Option(help="Score by cells: kind:option=value,... of a segmenter.")] = None,
    labels: Annotated[list[str] | None, typer.Option(help="For --segment: label image of each input.")] = None,
    convention: _Convention = None,
    as_json: AsJson = False,
) -> None:
    """Degrade sharp tiles, restore them, compare with the truth.

    Prints mean, s.d. and count for each group. Scores are taken on the raw grey range, borders included. Oracles know
    what is unknown in practice: `oracle_wiener` the kernel, the noise and the power spectrum,
    `oracle_richardson_lucy` the kernel and when to stop.

    For example:

        refocal evaluate epfl=eval/sem temca=eval/tem/temca*.png -o scores

        refocal evaluate sharp -r gran-em -r mine=runs/a/mine.safetensors --json

        refocal evaluate sharp --degradation defocus:sigma_px=2 -r oracle_wiener

        refocal evaluate raw.tif --segment contour_watershed --labels ids.tif

        refocal evaluate sharp --degradation stream --frames 5 -r merge:by=mean
    """
    from refocal.learn.examples.measured import read_pairs

    makers = {} if segment else {"nothing": _maker("identity")}
    for text in restorer or ["gran-em"]:
        name, sign, what = text.partition("=")
        named = sign and ":" not in name
        makers[name if named else text] = _maker(what if named else text)
    degrade = Part.parse(degradation).make("degradations")
    measures = metric or ["psnr", "ssim"]
    if segment is not None and pairs:
        raise BadOptionError("--segment degrades sharp tiles whose cells are known; it takes no --pairs")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    if segment is not None:
        from refocal.ui.cli._evaluate_cells import evaluate_segments

        told = labels or [], segment, convention or []
        evaluate_segments(inputs, *told, degrade, makers, measures, crop, limit, seed, out, as_json)
        return
    pictures = _Pictures(out / "pictures") if out is not None else None
    truths = (read_pairs if pairs else read_truths)(inputs, crop, limit)
    rows = evaluate(truths, degrade, makers, measures, seed=seed, show=pictures, frames=frames)
    if out is not None:
        _write_tables(out, rows, measures)
    print_rows(rows, as_json)


def _write_tables(out: Path, rows: Sequence[Mapping[str, Any]], measures: Sequence[str]) -> None:
    (out / "table.csv").write_text(table_csv(rows))
    (out / "table.md").write_text("\n".join(table_markdown(rows, m, 2 if m == "psnr" else 4) for m in measures))


def _maker(text: str) -> Make:
    if text in ORACLES:
        return ORACLES[text]
    part = Part.parse(text) if ":" in text or text in registry.names("restorers") else None
    if part is None and header.read(header.find(text)).frames != 1:
        part = Part(kind="burst", options={"model": text})  # else it would be shown the first frame alone
    made = part.make("restorers") if part else backends.learned(text)
    return lambda _: made


class _Pictures:
    """Writes pictures of before, after and truth, side by side, for the first tile of each group."""

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
