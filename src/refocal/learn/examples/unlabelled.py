"""Tiles of unknown truth, drawn together with tiles of known truth.

Semi-supervised learning sees both in every step. A tile without truth travels as a hint of an example, `unlabelled`,
as it was recorded: it is neither degraded nor changed in contrast, because it represents what the microscope writes.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from refocal.core.values import Example
from refocal.learn.examples.tiles import SharpTiles, Tiles


class WithUnlabelled:
    """Examples of known truth, each with a crop of a tile without truth as its hint `unlabelled`, (1, y, x).

    Parameters
    ----------
    known
        Where the examples come from.
    paths
        Folders or files of blurry tiles.

    Raises
    ------
    BadOptionError
        If there is no image among them that is as large as a crop.
    """

    def __init__(self, known: Tiles, paths: list[Path]) -> None:
        self.patch = known.patch
        self._known = known
        self._others = SharpTiles(paths, [1], known.patch)

    def draw(self, rng: np.random.Generator) -> Example:
        """Return an example of (patch + 2 margin) px."""
        example = self._known.draw(rng)
        return replace(example, hints={**example.hints, "unlabelled": self._others.crop(rng)[None]})

    def hashes(self) -> dict[str, str]:
        """Return {file name: SHA-256} of the files of both kinds."""
        return {**self._others.hashes(), **self._known.hashes()}
