"""Images whose cells are known: stacks with the label images that belong to them.

Images and labels are named in pairs, in the order in which they are given. `stack.tif#0:120` means the pages 0 to 119
of the image and of its labels. A label image with two values, one of them 0, is a mask of cells (0 is membrane): the
cells of each page are its connected components, 4 neighbours.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import ndimage

from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Contrast, Counts, Example, Frames, Labels
from refocal.imaging.binning import binned
from refocal.learn.examples.tiles import MARGIN, hashes
from refocal.parts.formats import open_image

_PAGES = re.compile(r"^(?P<path>.+)#(?P<first>\d*):(?P<last>\d*)$")


@dataclass(frozen=True, slots=True)
class Labelled:
    """A stack and its cells."""

    group: str
    path: Path
    truth: Path
    first: int
    """Page of the file that is the first here."""
    counts: Counts
    """(page, y, x)."""
    labels: Labels
    """(page, y, x), 0 is no cell."""
    mask: bool = False
    """True where the labels are the components of a mask."""
    pixel_nm: float | None = None


def read_labelled(images: Sequence[str], labels: Sequence[str]) -> list[Labelled]:
    """Read pairs of `[group=]image[#first:last]` and label files; without a group it is the name of the image's folder.

    Raises
    ------
    BadOptionError
        If the numbers of images and labels, or their shapes, differ; if labels are no integers; if there is no such
        file or page.
    """
    if len(images) != len(labels):
        raise BadOptionError(
            f"every image needs its label image, in the same order: got {len(images)} images and {len(labels)} labels"
        )
    return [_read(image, Path(truth)) for image, truth in zip(images, labels, strict=True)]


def components(labels: Labels) -> Labels:
    """Renumber the connected parts of equal labels, page by page (4 neighbours); 0 stays 0."""
    found = np.zeros(labels.shape, np.int32)
    for page, into in zip(labels, found, strict=True):
        # Neighbours of different labels must not touch: draw them apart at twice the size.
        wide = np.zeros([2 * n - 1 for n in page.shape], bool)
        wide[::2, ::2] = page != 0
        wide[1::2, ::2] = (page[1:] == page[:-1]) & (page[1:] != 0)
        wide[::2, 1::2] = (page[:, 1:] == page[:, :-1]) & (page[:, 1:] != 0)
        into[:] = ndimage.label(wide)[0][::2, ::2]
    return found


class LabelledTiles:
    """Random crops of labelled stacks, with the labels as the hint `labels`: sharp examples to learn cells from.

    Parameters
    ----------
    stacks
        Of `read_labelled`.
    scales
        Binning of y and x; labels are those of the middle pixel.
    patch
        Edge of the crops in pixels, without the margin.
    sections
        Consecutive pages of a crop.

    Raises
    ------
    BadOptionError
        If no stack is large enough.
    """

    def __init__(self, stacks: Sequence[Labelled], scales: Sequence[int], patch: int, sections: int = 1) -> None:
        self.files = sorted({file for stack in stacks for file in (stack.path, stack.truth)})
        self.patch, self.size, self.sections = patch, patch + 2 * MARGIN, sections
        pairs = [(stack, scale) for stack in stacks for scale in scales]
        self._stacks = [(stack, scale) for stack, scale in pairs if self._fits(stack, scale)]
        if not self._stacks:
            raise BadOptionError(f"no labelled stack of at least {sections} pages of {self.size}x{self.size} px")
        areas = np.array([stack.counts.size / scale**2 for stack, scale in self._stacks]) ** 0.5
        self._weights = areas / areas.sum()

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of images and labels."""
        return hashes(self.files)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return a random crop of `sections` pages; its truth is the middle one."""
        stack, scale = self._stacks[int(rng.choice(len(self._stacks), p=self._weights))]
        edge = self.size * scale
        extent = (self.sections, edge, edge)
        z, y, x = (int(rng.integers(0, n - e + 1)) for n, e in zip(stack.counts.shape, extent, strict=True))
        box = (slice(z, z + self.sections), slice(y, y + edge), slice(x, x + edge))
        unit = Contrast.of(stack.counts.dtype).unit(stack.counts[box])
        pixels = np.stack([binned(page, scale) for page in unit])
        labels = stack.labels[box][:, scale // 2 :: scale, scale // 2 :: scale]
        flips = rng.integers(0, 2, 3)
        turn = (slice(None), slice(None, None, 1 - 2 * int(flips[0])), slice(None, None, 1 - 2 * int(flips[1])))
        pixels, labels = pixels[turn], labels[turn]
        if flips[2]:
            pixels, labels = pixels.swapaxes(1, 2), labels.swapaxes(1, 2)
        pixels = np.ascontiguousarray(pixels)
        middle = self.sections // 2
        hints = {"labels": np.ascontiguousarray(labels, np.int64)}
        return Example(Frames(pixels, middle, UNIT), pixels[middle], hints)

    def _fits(self, stack: Labelled, scale: int) -> bool:
        pages, *sides = stack.counts.shape
        return bool(pages >= self.sections and min(sides) >= scale * self.size)


def _read(text: str, truth: Path) -> Labelled:
    group, sign, where = text.rpartition("=")
    where = where if sign else text
    found = None if Path(where).exists() else _PAGES.match(where)
    path = Path(found["path"]) if found else Path(where)
    counts, pixel_nm = _pages(path, found)
    labels, _ = _pages(truth, found)
    if labels.shape != counts.shape:
        raise BadOptionError(f"{truth} has the shape {labels.shape}, its image {path.name} {counts.shape}")
    if labels.dtype.kind not in "iu":
        raise BadOptionError(f"{truth} holds {labels.dtype}; labels are integers")
    names, numbers = np.unique(labels, return_inverse=True)
    mask = len(names) == 2 and names[0] == 0
    # Ids may be as large as 2**64 - 1: only which are equal matters.
    dense = (numbers.reshape(labels.shape) + (names[0] != 0)).astype(np.int32)
    first = int(found["first"] or 0) if found else 0
    return Labelled(
        group or path.parent.name, path, truth, first, counts, components(dense) if mask else dense, mask, pixel_nm
    )


def _pages(path: Path, pages: "re.Match[str] | None") -> tuple[Counts, float | None]:
    if not path.is_file():
        raise BadOptionError(f"no such file: {path}")
    with open_image(path) as image:
        count = image.info.shape[0]
        first = int(pages["first"] or 0) if pages else 0
        last = int(pages["last"] or count) if pages else count
        if not 0 <= first < last <= count:
            raise BadOptionError(f"{path.name} has the pages 0 to {count - 1}; {first}:{last} is no range of them")
        return np.stack([image.read(page) for page in range(first, last)]), image.info.pixel_nm
