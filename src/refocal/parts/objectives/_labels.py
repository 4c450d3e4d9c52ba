"""Targets that follow from labels: pixels next to a change, and the labels that a batch carries."""

import torch
from torch import Tensor
from torch.nn import functional

from refocal.core.errors import BadOptionError
from refocal.parts.objectives._batch import Batch


def labels_of(batch: Batch, objective: str) -> Tensor:
    """Return the labels of a batch, (batch, section, y, x).

    Raises
    ------
    BadOptionError
        If it has none.
    """
    if "labels" not in batch.hints:
        raise BadOptionError(f"objective {objective!r} learns from labels: give label images with --labels")
    return batch.hints["labels"]


def edges(labels: Tensor, grow: int = 0) -> Tensor:
    """Return where a (batch, section, y, x) pixel differs from one of its 4 neighbours, grown by `grow` pixels."""
    edge = torch.zeros(labels.shape, dtype=torch.bool, device=labels.device)
    down, along = labels[..., 1:, :] != labels[..., :-1, :], labels[..., 1:] != labels[..., :-1]
    edge[..., 1:, :] |= down
    edge[..., :-1, :] |= down
    edge[..., 1:] |= along
    edge[..., :-1] |= along
    if grow:
        edge = functional.max_pool2d(edge.float(), 2 * grow + 1, 1, grow) > 0
    return edge


def middle(labels: Tensor, size: tuple[int, ...]) -> Tensor:
    """Cut the middle of the last axes to `size`, for nets whose answer is smaller than their input."""
    for axis, length in enumerate(size, start=labels.ndim - len(size)):
        labels = labels.narrow(axis, (labels.shape[axis] - length) // 2, length)
    return labels
