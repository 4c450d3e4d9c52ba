"""The command grade."""

import math
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

import typer

from refocal.core.blocks import Block
from refocal.core.errors import BadOptionError
from refocal.core.values import Contrast, Frames, Reach
from refocal.engine.job import Part, Progress
from refocal.engine.loop import run
from refocal.engine.memory import ArraySink
from refocal.engine.tiles.contrasts import Contrasts
from refocal.engine.tiles.listing import are_plain
from refocal.engine.tiles.tiles import TileSource, estimate_contrast
from refocal.eventlog.log import Event
from refocal.ui.cli import Panel, app
from refocal.ui.cli._options import AsJson, Gate, Given, Limits, contrast_of, limits_of
from refocal.ui.cli._show import say_warnings, watching


@app.command("grade", rich_help_panel=Panel.DAILY)
def grade(
    inputs: Given,
    gate: Gate = "sharpness",
    contrast: Limits = None,
    as_json: AsJson = False,
) -> None:
    """Measure blur and noise of tiles; write nothing.

    Says what `refocal restore` would do with each tile, and how directional its blur looks.

    For example:

        refocal grade section_0001

        refocal grade section_0001 --json > grades.jsonl

        refocal grade volume.zarr
    """
    judge = Part.parse(gate).make("gates")
    source = _source(inputs, contrast_of(limits_of(contrast)))
    with watching(lines=not as_json, as_json=as_json, quiet=False) as progress:
        looking = _Looking(source, progress)
        summary = run(looking, None, ArraySink(keep=False), gate=judge, progress=looking.settle)
    if isinstance(source, TileSource) and isinstance(source.contrast, Contrasts):
        summary.warnings.say(source.contrast.said, "")
    say_warnings(summary.warnings)
    raise typer.Exit(1 if summary.failed else 0)


class _Counted(Protocol):
    """A source that knows its length."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Block]: ...

    def read(self, block: Block, /) -> Frames: ...


def _source(inputs: Sequence[str], contrast: Contrast | None) -> _Counted:
    if are_plain(inputs) or not _any_volume(inputs):
        tiles = TileSource(inputs, contrast=contrast)
        tiles.contrast = tiles.contrast or estimate_contrast(tiles)
        return tiles
    if len(inputs) > 1:
        raise BadOptionError(f"one volume at a time is graded, got {len(inputs)} inputs; run once for each")
    return _Volume(inputs[0], contrast)


def _any_volume(inputs: Sequence[str]) -> bool:
    from refocal.parts.volume_formats import is_volume

    return any(map(is_volume, inputs))


class _Volume:
    """The sections of a volume, named as the pages of a stack are: NAME#SECTION, or NAME@Y,X#SECTION for its parts."""

    def __init__(self, given: str, contrast: Contrast | None) -> None:
        from refocal.engine.volumes import block_grid
        from refocal.engine.volumes.endpoints import open_input
        from refocal.engine.volumes.section_contrast import SectionContrast
        from refocal.engine.volumes.source import Pieces

        volume = open_input(given)
        size = block_grid.block_size(volume.info, Reach())
        self._pieces = Pieces(volume, block_grid.blocks(volume.info, size, Reach()), SectionContrast(volume, contrast))
        self._parts = math.prod(-(-n // s) for n, s in zip(volume.info.shape[1:], size[1:], strict=True))
        self._sections = volume.info.shape[0]
        self._name = Path(given).name

    def __len__(self) -> int:
        return self._sections * self._parts

    def __iter__(self) -> Iterator[Block]:
        for page in self._pieces:
            z, y, x = page.write.start
            yield replace(page, key=f"{self._name}{f'@{y},{x}' if self._parts > 1 else ''}#{z}")

    def read(self, block: Block, /) -> Frames:
        return self._pieces.read(block)


class _Looking:
    """Passes blocks on, and shows the events in the order of the blocks: readers overtake each other."""

    def __init__(self, source: _Counted, show: Progress) -> None:
        self._source, self._show = source, show
        self._keys: deque[str] = deque()
        self._events: dict[str, Event] = {}

    def __iter__(self) -> Iterator[Block]:
        for block in self._source:
            self._keys.append(block.key)
            yield block

    def read(self, block: Block, /) -> Frames:
        return self._source.read(block)

    def settle(self, event: Event) -> None:
        # Without a restorer, what would be restored is queued.
        would = {**event, "decision": "restore"} if event["decision"] == "queued" else event
        self._events[event["key"]] = would
        while self._keys and self._keys[0] in self._events:
            self._show(self._events.pop(self._keys.popleft()), len(self._source))
