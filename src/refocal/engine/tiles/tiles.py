"""Files as a source, and as a sink: images, folders of images and stacks; each page of a file is one block.

A block's key is the file's name relative to its input, in posix form, and for stacks "#" and the page. The output has
the same names, folders, dtypes, pixel sizes and metadata. Restored tiles are encoded again; all others are copied byte
for byte, or linked, so that the output is a whole tree for stitching. A stack is written when its last page is there.

Nothing stands half-written under its final name, and no input is ever opened for writing.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from refocal.core.atomic import copy, link, write_errors
from refocal.core.blocks import Block, Box
from refocal.core.errors import TileError, UsageError, WriteError
from refocal.core.values import Contrast, Counts, Frames, Grade, ImageInfo, Restored
from refocal.engine.tiles.contrasts import Contrasts, sampled
from refocal.engine.tiles.links import refusal
from refocal.engine.tiles.listing import find_images
from refocal.engine.tiles.open_files import OpenFiles
from refocal.engine.tiles.outputs import is_there, output_facts
from refocal.engine.tiles.reading import DTYPES, EIGHT_BIT, SMALLEST_PX, read_page
from refocal.engine.tiles.stack_pages import Pages
from refocal.eventlog.log import Event, split_key
from refocal.imaging.no_data import no_data_values, valid
from refocal.parts.formats import create_image, open_image

SCRATCH = ".refocal"
"""Hidden folder of an output that holds the pages of unfinished stacks."""

Carry = Literal["copy", "skip", "link", "symlink"]
"""What is done with tiles that are not restored: copied, left out, hard linked, or linked by name."""


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a block comes from."""

    path: Path
    name: str
    """Relative posix path, the same in the output."""
    page: int = 0
    stacked: bool = False
    """Whether the file has more pages than this one."""
    version: str = ""
    """Tells apart the states of a file that changes; pages of two versions are never gathered in one stack."""
    info: ImageInfo | None = None
    """What the file said of itself when it was opened; None if it was not yet."""


@dataclass(frozen=True, slots=True)
class Listed(Block):
    """A block that knows what its file says of itself."""

    info: ImageInfo | None = field(default=None, compare=False)


class Tiles(Protocol):
    """Knows where a block comes from."""

    def tile(self, block: Block, /) -> Tile:
        """Return the file and page of a block."""
        ...


class TileSource:
    """The pages of image files, in natural order ("t2" before "t10").

    Folders are searched with their subfolders for image names; hidden files and folders are passed over, and each
    folder is listed once, so links that lead back do no harm. A file that cannot be opened is a block that cannot be
    read.

    Parameters
    ----------
    inputs
        Files and folders.
    contrast
        For all tiles that are not uint8, which always have the contrast 0 to 255: one for the whole run, or one for
        each number format and scale.
    shard
        (i, n): only each n-th file, beginning with the i-th. The pages of a stack stay together.

    Raises
    ------
    UsageError
        If an input is missing or holds no images, two files have the same relative name, or there is no such shard.
    """

    def __init__(
        self,
        inputs: Iterable[Path | str],
        *,
        contrast: Contrast | Contrasts | None = None,
        shard: tuple[int, int] = (0, 1),
    ) -> None:
        index, count = shard
        if not 0 <= index < count:
            raise UsageError(f"there is no shard {index} of {count}; expected 0 to {count - 1}")
        self.files: Mapping[str, Path] = find_images([Path(given) for given in inputs])
        """Path by relative name, of all shards."""
        self.contrast = contrast
        self._names = list(self.files)[index::count]
        self._pages = dict.fromkeys(self._names, 1)
        self.opened = OpenFiles()
        """Files that were looked into and are not read yet."""

    def __len__(self) -> int:
        """Count the blocks; a stack counts as one until the iteration has come to it."""
        return sum(self._pages.values())

    def __iter__(self) -> Iterator[Listed]:
        """Yield the blocks; only the heads of the files are read, and files of one page left open for `read`."""
        for name in self._names:
            info = self._look_into(self.files[name])
            pages, height, width = info.shape if info else (1, 0, 0)
            self._pages[name] = pages
            box = Box((0, 0), (height, width))
            for page in range(pages):
                yield Listed(f"{name}#{page}" if pages > 1 else name, box, box, info)

    def _look_into(self, path: Path) -> ImageInfo | None:
        try:
            image = self.opened.take(path)
        except TileError:
            return None  # reading it will tell
        # Of a stack that cannot be done no page is listed: there may be a million of one pixel.
        hopeless = image.info.missing or min(image.info.shape[1:]) < SMALLEST_PX
        if image.info.shape[0] == 1 or hopeless:
            self.opened.leave(path, image)
        else:
            image.close()
        return None if hopeless else image.info

    def tile(self, block: Block) -> Tile:
        """Return the file and page of a block."""
        info = block.info if isinstance(block, Listed) else None
        if block.key in self.files:
            return Tile(self.files[block.key], block.key, info=info)
        name, page = split_key(block.key)
        return Tile(self.files[name], name, page, stacked=True, info=info)

    def read(self, block: Block, /) -> Frames:
        """Read a block as (1, y, x) counts.

        Raises
        ------
        UnreadableError
            If the file is damaged.
        UnsupportedError
            If it is whole but cannot be restored: colour, smaller than 8 x 8 pixels, of an unknown number format, with
            values that are not finite, or without a contrast where it needs one.
        """
        tile = self.tile(block)
        with self.opened.take(tile.path) as image:
            return read_page(image, tile.path, tile.page, self._contrast)

    def _contrast(self, _: Path, counts: Counts) -> Contrast | None:
        return self.contrast.of(counts) if isinstance(self.contrast, Contrasts) else self.contrast


def estimate_contrast(source: TileSource, samples: int = 16) -> Contrast | Contrasts | None:
    """Return one contrast for the tiles of a source that are not uint8, from evenly spread samples of all shards.

    The 0.1 and 99.9 percentiles of the pooled pixels, those that mean no data left out; the same files give the same
    contrast. Several where number formats or scales differ. None if every sampled tile is uint8 or cannot be read.
    """
    paths = list(source.files.values())
    chosen = {paths[round(i)] for i in np.linspace(0, len(paths) - 1, min(samples, len(paths)))}
    pooled = [pixels for path in paths if path in chosen for pixels in _sample(path, source.opened)]
    found = Contrasts.pooled(pooled)
    return found if len(found.known) > 1 else next((contrast for _, contrast in found.known), None)


def _sample(path: Path, opened: OpenFiles) -> list[Counts]:
    try:
        image = opened.take(path)
    except TileError:
        return []
    try:
        if image.info.dtype == EIGHT_BIT or image.info.dtype.name not in DTYPES:
            return []
        counts = image.read(image.info.shape[0] // 2)
    except TileError:
        return []
    finally:
        opened.leave(path, image)
    codes = no_data_values(counts, image.info.no_data)
    return [sampled(counts[valid(counts, codes)] if codes else counts)]


class TileSink:
    """Writes the blocks of a `TileSource` below a folder.

    Parameters
    ----------
    out
        The folder; see `check_output`.
    source
        Where the blocks come from: its files lend their metadata.
    carry
        Whether tiles that are not restored are copied, left out, or linked to the input. A stack with a restored page
        is always written whole.
    done
        `refocal.eventlog.log.done(...)`: tiles that an earlier run of the same job settled.
    job_sha256
        Keeps the pages of this job's stacks apart from those of others.
    """

    def __init__(
        self,
        out: Path,
        source: Tiles,
        *,
        carry: Carry = "copy",
        done: Mapping[str, Event] | None = None,
        job_sha256: str = "",
    ) -> None:
        self.out = Path(out)
        self._source = source
        self._carry: Carry = carry
        self._done = {} if done is None else done
        self._scratch = self.out / SCRATCH / (job_sha256[:16] or "pages")

    def has(self, block: Block, /) -> bool:
        """Say whether the log has the block and its output is there, with the size that was logged."""
        event = self._done.get(block.key)
        if event is None:
            return False
        tile = self._source.tile(block)
        target = self.out / tile.name
        if tile.stacked:
            return self._gathered(tile).has(tile.page, target)
        if event.get("output") is None:
            return self._carry == "skip"
        return is_there(self.out, event)

    def write(self, block: Block, restored: Restored, /) -> Mapping[str, Any]:
        """Write a restored tile, or keep a restored page until its stack is complete.

        Returns
        -------
        Mapping
            `output` (relative name), `output_bytes`, `output_sha256`; empty for pages of an unfinished stack.

        Raises
        ------
        WriteError
            If the output cannot be written.
        """
        tile = self._source.tile(block)
        if tile.stacked:
            return self._collect(tile, restored.counts)
        target = self._target(tile)
        self._create(tile, target, [restored.counts], _info(tile))
        return self._facts(tile, target)

    def carry(self, block: Block, frames: Frames, grade: Grade, /) -> Mapping[str, Any]:
        """Carry a tile over that is not restored, or leave it out, as the sink was told to; returns as `write` does."""
        tile = self._source.tile(block)
        if tile.stacked:
            return self._collect(tile, None)
        if self._carry == "skip" and not (self.out / tile.name).exists():
            return {}
        target = self._target(tile)
        with write_errors(target):
            self._take_over(tile.path, target)
        return self._facts(tile, target)

    def _create(self, tile: Tile, target: Path, pages: Iterable[Counts], info: ImageInfo) -> None:
        if target.exists() and target.samefile(tile.path):  # a link that an earlier decision left
            fresh = target.with_name(f".{target.name}.fresh.part")
            create_image(fresh, pages, like=info, source=tile.path, kind=info.kind)
            with write_errors(target):
                os.replace(fresh, target)
        else:
            create_image(target, pages, like=info, source=tile.path, kind=info.kind)

    def _take_over(self, path: Path, target: Path) -> None:
        if self._carry == "skip":
            target.unlink(missing_ok=True)  # an earlier decision may have put something there
        elif self._carry == "copy":
            copy(path, target)
        else:
            link(path, target, hard=self._carry == "link")

    def _collect(self, tile: Tile, counts: Counts | None) -> Mapping[str, Any]:
        info, gathered = _info(tile), self._gathered(tile)
        target = self._target(tile)
        with write_errors(target):
            if not gathered.finished(target):
                gathered.add(tile.page, counts)
                if gathered.count() < info.shape[0]:
                    return {}
                if gathered.restored():
                    self._create(tile, target, gathered.pages(tile.path, info.shape[0]), info)
                else:
                    self._take_over(tile.path, target)
                gathered.finish(target)
        return self._facts(tile, target)

    def _gathered(self, tile: Tile) -> Pages:
        return Pages(self._scratch / tile.name / tile.version)

    def _facts(self, tile: Tile, target: Path) -> Mapping[str, Any]:
        if not target.is_file():
            return {}
        # Hashing a link would read the raw file once more, over the network.
        linked = target.is_symlink() or target.samefile(tile.path)
        return output_facts(self.out, tile.name, hashed=not linked)

    def _target(self, tile: Tile) -> Path:
        """Return where a tile goes, after making its folder."""
        target = self.out / tile.name
        with write_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            # A folder of the output may be a link to the raw data.
            if target.parent.resolve() == tile.path.parent.resolve() and target.name == tile.path.name:
                raise WriteError(f"{target}: is the input itself; choose another output")
        return target


def check_output(inputs: Iterable[Path | str], out: Path | str, carry: Carry = "copy") -> None:
    """Refuse an output folder that would mix with the inputs or cannot be written; make it otherwise.

    Raises
    ------
    UsageError
        If the output is an input, lies in an input folder, holds an input, is a file, or cannot be written, or cannot
        hold links of the kind that tiles are to be carried by.
    """
    inputs, out = list(inputs), Path(out)
    target = out.resolve()
    for given in map(Path, inputs):
        source = given.resolve()
        if target == source:
            raise UsageError(f"the output {out} is the input itself; choose another folder")
        if target.is_relative_to(source):
            raise UsageError(f"the output {out} is inside the input {given}; choose a folder outside it")
        if source.is_relative_to(target):
            raise UsageError(f"the input {given} is inside the output {out}; choose another folder")
    probe = out / ".refocal.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe.write_bytes(b"")
        probe.unlink()
    except FileExistsError as error:
        raise UsageError(f"the output {out} is a file; expected a folder") from error
    except OSError as error:
        raise UsageError(f"the output {out} cannot be written: {error.strerror}; choose another folder") from error
    for given in map(Path, inputs):
        if carry == "link" and given.stat().st_dev != out.stat().st_dev:
            raise UsageError(f"{out} cannot hold hard links to {given}: another file system; carry by symlink or copy")
    if carry in ("link", "symlink") and (why := refusal(out, hard=carry == "link")):
        kind, other = ("hard", "symlink") if carry == "link" else ("symbolic", "link")
        raise UsageError(f"{out} cannot hold {kind} links: {why}; carry by {other} or copy")


def _info(tile: Tile) -> ImageInfo:
    if tile.info:
        return tile.info
    with open_image(tile.path) as image:
        return image.info
