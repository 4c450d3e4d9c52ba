"""What every segmenter promises: input untouched, size kept, deterministic, clear cells found, bad models refused."""

from collections.abc import Mapping
from functools import cache
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from refocal.core import registry
from refocal.core.errors import BadModelError, UnknownPartError
from refocal.core.values import UNIT, Contrast, Frames, Reach
from refocal.testing._part import PartContract


class Bright(nn.Module):
    """Stands in for a net of contours: cells are bright, contours dark."""

    inputs, outputs, frames = 1, 2, 1
    reach = Reach(halo=0, multiple=4)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Return logits of cell and contour."""
        return torch.cat(((image - 0.5) * self.gain, (0.5 - image) * self.gain), 1)


class Links(nn.Module):
    """Stands in for a net of affinities: bright voxels are linked."""

    inputs, outputs, frames = 1, 3, 1
    reach = Reach(halo=1, multiple=2)

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(40.0))

    def forward(self, sections: torch.Tensor) -> torch.Tensor:
        """Return logits of a link to the voxel before, along z, y and x."""

        def before(axis: int) -> torch.Tensor:
            return torch.cat((sections.narrow(axis, 0, 1), sections.narrow(axis, 0, sections.shape[axis] - 1)), axis)

        return torch.stack([(torch.minimum(sections, before(a)) - 0.5) * self.gain for a in (1, 2, 3)], 1)


STUBS: Mapping[str, type[nn.Module]] = {"contour": Bright, "affinity": Links}
"""What stands in for a trained net of a kind."""


class SegmenterContract(PartContract):
    """Override `options` where the segmenter's net is of a kind of its own: bright is cell, dark is membrane."""

    family: ClassVar[str] = "segmenters"

    def options(self, kind: str) -> Mapping[str, Any]:
        """Return a net that knows the toy, if the segmenter takes one."""
        nets = registry.load(self.family, kind).nets
        return {"model": STUBS[nets[0]]()} if nets else {}

    def test_it_finds_the_cells_and_keeps_size_and_input(self, kind: str) -> None:
        frames, truth = columns()
        before = frames.counts.copy()
        segment = self.make(kind)
        found = segment(frames)
        assert found.shape == truth.shape
        assert found.dtype.kind in "iu"
        assert (found == segment(frames)).all()
        assert (frames.counts == before).all()
        arand = registry.load("metrics", "arand")
        scored = (found, truth) if segment.volume else (found[0], truth[0])
        assert arand(*scored, border_px=2) < 0.01
        assert len(set(np.unique(scored[0])) - {0}) == len(np.unique(truth))

    def test_blank_and_noise_are_labelled_somehow(self, kind: str) -> None:
        rng = np.random.default_rng(0)
        segment = self.make(kind)
        for counts in (np.zeros((2, 20, 24)), np.ones((2, 20, 24)), rng.random((1, 33, 17))):
            assert segment(Frames(counts.astype(np.float32), contrast=UNIT)).shape == counts.shape

    def test_models_that_are_absent_or_of_another_kind_are_refused(self, kind: str) -> None:
        if not registry.load(self.family, kind).nets:
            pytest.skip(f"{kind} takes no net")
        with pytest.raises(UnknownPartError, match="no shipped model"):
            registry.make(self.family, kind, model="absent")
        with pytest.raises(BadModelError, match="gran"):
            registry.make(self.family, kind, model="gran-em")


@cache
def columns() -> tuple[Frames, NDArray[np.int64]]:
    """Return four sections of straight columns with dark membranes, and their labels."""
    rng = np.random.default_rng(2)
    grid = np.stack(np.meshgrid(np.arange(70), np.arange(90), indexing="ij"), -1)
    spots = np.stack(np.meshgrid([12, 36, 60], [12, 34, 56, 80], indexing="ij"), -1).reshape(-1, 2)
    centres = spots + rng.uniform(-3, 3, spots.shape)
    truth: NDArray[np.int64] = np.square(grid[:, :, None] - centres).sum(-1).argmin(-1) + 1
    edge = ndimage.maximum_filter(truth, 3) != ndimage.minimum_filter(truth, 3)
    counts = np.where(edge, 40, 200).astype(np.uint8)
    return Frames(np.repeat(counts[None], 4, 0), contrast=Contrast(0, 255)), np.repeat(truth[None], 4, 0)
