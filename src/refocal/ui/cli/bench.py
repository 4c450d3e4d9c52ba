"""The command bench."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson, Model
from refocal.ui.cli._show import print_json, print_rows


@app.command("bench", rich_help_panel=Panel.MODELS)
def bench(
    what: Annotated[str, typer.Argument(help="restore, or zoo: what every net costs.")] = "restore",
    model: Model = "gran-em",
    size: Annotated[
        str | None, typer.Option(metavar="HEIGHTxWIDTH", help="By default 1024x1024, for the zoo 256x256.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Timed rounds; medians are printed.", min=1)] = 3,
    also: Annotated[
        list[str] | None, typer.Option(help="restore: another model, measured in turn with the first; repeatable.")
    ] = None,
    net: Annotated[list[str] | None, typer.Option(help="zoo: only this net; repeat for more.")] = None,
    batch: Annotated[int, typer.Option(help="zoo: images in one batch.", min=1)] = 1,
    scores: Annotated[Path | None, typer.Option(help="zoo: folder with the tables of `refocal evaluate`.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="zoo: Markdown file to write.")] = None,
    as_json: AsJson = False,
) -> None:
    """Measure the speed of runtimes and nets on this machine.

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
