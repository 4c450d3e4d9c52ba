"""Where restored frames of a stream go: one file each, in `frames`, with its place in the log."""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from refocal.core.atomic import make_parents
from refocal.core.blocks import Block
from refocal.core.values import Frames, Grade, ImageInfo, Restored
from refocal.engine.streams.source import BurstSource
from refocal.engine.tiles.outputs import is_there, output_facts
from refocal.eventlog.log import Event, split_key
from refocal.parts.formats import create_image

FOLDER = "frames"


class BurstSink:
    """Writes `frames/NAME.tif` for each reference; its event tells its frames, crop and position.

    Parameters
    ----------
    out
        The output folder.
    source
        Where the bursts come from.
    done
        `refocal.eventlog.log.done(...)`: what an earlier run of the same job settled.
    """

    def __init__(self, out: Path, source: BurstSource, done: Mapping[str, Event]) -> None:
        self.out, self._source, self._done = out, source, done

    def has(self, block: Block, /) -> bool:
        """Say whether the log has the reference and its output is there, with the size that was logged."""
        event = self._done.get(block.key)
        return event is not None and (event.get("output") is None or is_there(self.out, event))

    def write(self, block: Block, restored: Restored, /) -> Mapping[str, Any]:
        """Write a restored frame.

        Raises
        ------
        WriteError
            If it cannot be written.
        """
        facts = self._source.facts(block)
        name = frame_name(block.key)
        target = self.out / name
        make_parents(target)
        counts = restored.counts
        metadata = {"window_low": facts["window"][0], "window_high": facts["window"][1]}
        info = ImageInfo((1, *counts.shape), np.dtype(counts.dtype), facts["pixel_nm"], metadata)
        create_image(target, [counts], like=info)
        return {**facts, **output_facts(self.out, name)}

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Write nothing for a reference that is beyond help."""
        return self._source.facts(block)


def frame_name(key: str) -> str:
    """Return where a restored frame goes: "a/stream.mrc#3" gives "frames/a/stream_0003.tif"."""
    name, page = split_key(key)
    stem = PurePosixPath(name).with_suffix("").as_posix()
    return f"{FOLDER}/{stem}_{page:04d}.tif" if key != name else f"{FOLDER}/{stem}.tif"
