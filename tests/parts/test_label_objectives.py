"""Objectives that learn from labels: targets to the pixel, and a toy on which they fall."""

import numpy as np
import pytest
import torch

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.parts.objectives._batch import Batch
from refocal.parts.objectives._labels import edges
from refocal.parts.objectives.affinity import targets

NETS = {"contour": {"width": 4, "levels": 2}, "affinity": {"width": 4, "levels": 1}}


@pytest.fixture
def batch() -> Batch:
    """Bright cells with dark membranes: two examples of three sections."""
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(32), np.arange(32), indexing="ij"), -1)
    labels = np.stack([np.square(grid[:, :, None] - rng.uniform(0, 32, (6, 2))).sum(-1).argmin(-1) + 1 for _ in "ab"])
    labels = torch.from_numpy(np.repeat(labels[:, None], 3, 1))
    noise = torch.from_numpy(rng.normal(0, 0.05, labels.shape).astype(np.float32))
    return Batch(0.7 - 0.5 * edges(labels).float() + noise, torch.zeros(2, 1, 32, 32), {"labels": labels})


def for_net(kind: str, batch: Batch) -> Batch:
    if kind == "affinity":
        return batch
    return Batch(batch.frames[:, :1], batch.truth, {"labels": batch.hints["labels"][:, :1]})


@pytest.mark.parametrize("kind", NETS)
def test_losses_are_finite_fall_and_reach_every_parameter(kind: str, batch: Batch) -> None:
    torch.manual_seed(0)
    batch = for_net(kind, batch)
    net, objective = registry.make("nets", kind, **NETS[kind]), registry.make("objectives", kind)
    optimiser = torch.optim.Adam(net.parameters(), 1e-2)
    history = []
    for _ in range(30):
        optimiser.zero_grad()
        losses = objective(net, batch)
        assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
        sum(losses.values()).backward()
        history.append(float(sum(loss.detach() for loss in losses.values())))
        optimiser.step()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())
    assert history[-1] < 0.6 * history[0]


@pytest.mark.parametrize("kind", NETS)
def test_a_batch_without_labels_is_refused(kind: str, batch: Batch) -> None:
    net = registry.make("nets", kind, **NETS[kind])
    with pytest.raises(BadOptionError, match="--labels"):
        registry.make("objectives", kind)(net, Batch(batch.frames, batch.truth))


@pytest.mark.parametrize("kind", NETS)
def test_labels_of_one_cell_or_none_are_finite(kind: str, batch: Batch) -> None:
    batch = for_net(kind, batch)
    net = registry.make("nets", kind, **NETS[kind])
    for value in (0, 1):
        labels = torch.full_like(batch.hints["labels"], value)
        losses = registry.make("objectives", kind)(net, Batch(batch.frames, batch.truth, {"labels": labels}))
        assert all(torch.isfinite(loss) for loss in losses.values())


def test_edges_are_both_sides_of_a_change() -> None:
    labels = torch.tensor([[[[1, 1, 1, 2, 2, 2, 2]]]])
    assert edges(labels)[0, 0, 0].tolist() == [False, False, True, True, False, False, False]
    assert edges(labels, 1)[0, 0, 0].tolist() == [False, True, True, True, True, False, False]


def test_links_join_a_voxel_and_the_one_before_it() -> None:
    labels = torch.tensor([[[[1, 1, 2], [1, 0, 0]], [[1, 3, 2], [1, 0, 2]]]])
    links, known = targets(labels)
    assert links[0, 0, 1].tolist() == [[1, 0, 1], [1, 0, 0]]
    assert links[0, 1, :, 1].tolist() == [[1, 0, 0], [1, 0, 1]]
    assert links[0, 2].tolist() == [[[0, 1, 0], [0, 0, 0]], [[0, 0, 0], [0, 0, 0]]]
    assert not known[0, 0, 0].any()
    assert not known[0, 1, :, 0].any()
    assert known[0, 2, :, :, 1:].all()


def test_valid_nets_learn_from_the_middle_of_the_labels() -> None:
    net = registry.make("nets", "affinity", width=2, growth=1, levels=1, pad=False)
    frames = torch.rand(1, 14, 28, 28)
    labels = torch.ones(1, 14, 28, 28, dtype=torch.int64)
    losses = registry.make("objectives", "affinity")(net, Batch(frames, frames[:, :1], {"labels": labels}))
    assert torch.isfinite(losses["affinity"])
