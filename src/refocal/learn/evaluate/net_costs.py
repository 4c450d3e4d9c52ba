"""The model zoo: the cost of every net of the family, and its quality where scores are given.

The nets are read from the family; a net with presets or backbones has one row for each. Costs are those of
the net alone, on random weights, which take the same time: float32, one grey channel, a batch of images in memory.
"""

import csv
import inspect
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from refocal.core import registry
from refocal.core.errors import BadOptionError, nearest
from refocal.learn.evaluate.speed import cpu
from refocal.models import torch_weights

SCORES = ("psnr", "ssim", "arand_gap_closed")
"""Columns of the tables of `refocal evaluate` that are taken over."""
_FORMS = ("preset", "backbone")


@dataclass(frozen=True, slots=True)
class Entry:
    """One form of a net."""

    name: str
    kind: str
    options: Mapping[str, Any]


def entries(only: Sequence[str] = ()) -> list[Entry]:
    """Return every net of the family in each of its forms, with one grey channel.

    Parameters
    ----------
    only
        Names of nets or forms to keep; none keeps all.

    Raises
    ------
    BadOptionError
        If there is no such net.
    """
    found = [entry for kind in registry.names("nets") for entry in _forms(kind)]
    known = {name for entry in found for name in (entry.name, entry.kind)}
    for name in only:
        if name not in known:
            raise BadOptionError(f"no net named {name!r}.{nearest(name, known)}")
    return [entry for entry in found if not only or {entry.name, entry.kind} & set(only)]


def measure(entry: Entry, size: tuple[int, int], batch: int, rounds: int) -> dict[str, Any]:
    """Return the costs of a net on `batch` images of (y, x) pixels.

    Parameters
    ----------
    entry
        Of `entries`.
    size
        Rounded up to what the net can take.
    batch
        Images that go through at once.
    rounds
        Timed runs after one untimed; the median counts.

    Returns
    -------
    dict
        `net`, `options`, `parameters`, `macs_per_px` (multiply-accumulates of convolutions and matrix products for a
        pixel of the image), `size`, `batch`, and for each device (`cpu`, and `cuda` where there is one)
        `DEVICE_mpx_per_s` and `DEVICE_seconds` an image.
    """
    torch.manual_seed(0)
    net: nn.Module = registry.make("nets", entry.kind, **entry.options).eval()
    about = torch_weights.declared(net)
    reach, planes = about.reach, about.inputs
    height, width = (-(-n // reach.multiple) * reach.multiple for n in size)
    row: dict[str, Any] = {
        "net": entry.name,
        "options": dict(entry.options),
        "parameters": sum(p.numel() for p in net.parameters()),
        "macs_per_px": _macs(net, (1, planes, height, width)) / (height * width),
        "size": f"{height}x{width}",
        "batch": batch,
    }
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        seconds = _seconds(net, (batch, planes, height, width), device, rounds) / batch
        row |= {f"{device}_mpx_per_s": height * width / seconds / 1e6, f"{device}_seconds": seconds}
    return row


def scores(folder: Path) -> dict[str, dict[str, float]]:
    """Return {name of the restorer: {score: mean}} of every table.csv under a folder, averaged over groups.

    Raises
    ------
    BadOptionError
        If there is none.
    """
    tables = sorted(folder.rglob("table.csv"))
    if not tables:
        raise BadOptionError(
            f"no table.csv under {folder}; make one with: refocal evaluate ... -r NET=MODEL -o {folder}"
        )
    found: dict[str, dict[str, list[float]]] = {}
    for table in tables:
        with table.open(newline="") as file:
            for row in csv.DictReader(file):
                for name in SCORES:
                    if row.get(name):
                        found.setdefault(row["restorer"], {}).setdefault(name, []).append(float(row[name]))
    return {name: {k: statistics.fmean(v) for k, v in values.items()} for name, values in found.items()}


def markdown(rows: Sequence[Mapping[str, Any]], brought: Mapping[str, Mapping[str, float]] | None = None) -> str:
    """Return rows of `measure` as a Markdown table, cheapest first, with the scores of the nets that have some."""
    devices = [d for d in ("cpu", "cuda") if rows and f"{d}_seconds" in rows[0]]
    names = [n for n in SCORES if any(n in values for values in (brought or {}).values())]
    titles = ["net", "parameters", "MAC per pixel"]
    titles += [t for d in devices for t in (f"{d.upper()}: Mpx/s", f"{d.upper()}: s per image")]
    lines = ["| " + " | ".join([*titles, *names]) + " |", "|---" * (len(titles) + len(names)) + "|"]
    for row in sorted(rows, key=lambda row: row["macs_per_px"]):
        cells = [f"`{row['net']}`", f"{row['parameters']:,}", f"{row['macs_per_px']:,.0f}"]
        for d in devices:
            cells += [f"{row[f'{d}_mpx_per_s']:.3g}", f"{row[f'{d}_seconds']:.3g}"]
        own = (brought or {}).get(row["net"], {})
        cells += [f"{own[n]:.2f}" if n == "psnr" and n in own else f"{own[n]:.3f}" if n in own else "-" for n in names]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def setting(rows: Sequence[Mapping[str, Any]]) -> str:
    """Say in one line on what was measured."""
    gpu = f"; {torch.cuda.get_device_name()}" if torch.cuda.is_available() else ""
    sizes = ", ".join(dict.fromkeys(row["size"] for row in rows))
    batch = rows[0]["batch"] if rows else 0
    return f"Batches of {batch} of {sizes}, float32, {torch.get_num_threads()} threads of {cpu()}{gpu}."


def _forms(kind: str) -> Iterator[Entry]:
    parameters = inspect.signature(registry.load("nets", kind)).parameters
    options = {"channels": 1} if "channels" in parameters else {}
    form = next((name for name in _FORMS if name in parameters), None)
    if form is None:
        yield Entry(kind, kind, options)
        return
    for value in get_args(parameters[form].annotation):
        own = "" if value == parameters[form].default else f"-{value}"
        yield Entry(kind + own, kind, {**options, form: value})


def _macs(net: nn.Module, shape: tuple[int, ...]) -> float:
    # An image without content: nothing is computed.
    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad(), FlopCounterMode(display=False) as counter:
        net(torch.empty(shape))
    return float(counter.get_total_flops()) / 2


def _seconds(net: nn.Module, shape: tuple[int, ...], device: str, rounds: int) -> float:
    net = torch_weights.channels_last(net.to(device))
    image = torch.rand(shape).to(device)
    taken = []
    with torch.inference_mode():
        for _ in range(rounds + 1):
            _wait(device)
            began = time.perf_counter()
            net(image)
            _wait(device)
            taken.append(time.perf_counter() - began)
    return statistics.median(taken[1:])


def _wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
