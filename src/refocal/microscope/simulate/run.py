"""Run a replay: prepare the images, then write."""

import importlib
import pkgutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from refocal.core.errors import UnknownPartError, UsageError, nearest
from refocal.microscope.simulate import microscopes
from refocal.microscope.simulate.image_pool import Pool
from refocal.microscope.simulate.plan import Plan
from refocal.microscope.simulate.writer import Recorder, check_empty


@dataclass(frozen=True, slots=True)
class Replayed:
    """What was written."""

    tiles: int
    bytes: int
    seconds: float
    """From the first tile to the end."""
    late_s: float
    """By how much a tile was later than the speed asked for, at worst: then the disk or the CPU is too slow."""
    truth: Path

    @property
    def tiles_per_second(self) -> float:
        """Speed reached."""
        return self.tiles / self.seconds if self.seconds else float("inf")


def kinds() -> tuple[str, ...]:
    """Return the kinds of acquisitions that can be replayed."""
    return tuple(sorted({*(module.name for module in pkgutil.iter_modules(microscopes.__path__)), *_plugins()}))


def replay(
    kind: str,
    out: Path,
    plan: Plan | None = None,
    *,
    truth: Path | None = None,
    ready: Callable[[], Any] = lambda: None,
) -> Replayed:
    """Write an acquisition as its microscope does.

    Parameters
    ----------
    kind
        One of `kinds()`.
    out
        A new or empty folder.
    plan
        How much, how fast, and what goes wrong.
    truth
        JSON-lines file that tells the quality of each tile and when it was complete; by default `OUT.truth.jsonl`
        beside the folder. It must not lie inside.
    ready
        Called when the images are prepared and the first byte is about to be written.

    Raises
    ------
    UsageError
        If there is no such kind, the folder is not empty, or the truth would lie inside of it.
    """
    if kind not in kinds():
        raise UnknownPartError(f"no acquisition named {kind!r}.{nearest(kind, kinds())}")
    plan, out = plan or Plan(), Path(out)
    truth = Path(truth) if truth else out.with_name(f"{out.name}.truth.jsonl")
    check_empty(out)
    if truth.resolve().is_relative_to(out.resolve()):
        raise UsageError(f"{truth}: lies in the acquisition, where a watcher would see it; choose another place")
    microscope = _microscope(kind)
    pool = Pool(plan, partial(microscope.encode, plan=plan))
    out.mkdir(parents=True, exist_ok=True)
    ready()
    with open(truth, "w", encoding="utf-8") as lines:
        recorder = Recorder(out, lines, plan.tiles_per_second, plan.shares)
        began = time.perf_counter()
        microscope.acquire(plan, pool, recorder)
        seconds = time.perf_counter() - began
    return Replayed(recorder.tiles, recorder.bytes, seconds, recorder.late_s, truth)


def _microscope(kind: str) -> Any:
    """Return the module, or what an entry point names, that has `encode` and `acquire`."""
    if kind in _plugins():
        return _plugins()[kind].load()
    return importlib.import_module(f"{microscopes.__name__}.{kind}")


@cache
def _plugins() -> dict[str, EntryPoint]:
    return {e.name: e for e in entry_points(group="refocal.microscopes")}
