"""Batch-norm adaptation: a net is adapted to a new specimen by forward passes only (Wieslander et al. 2021).

Weights stay as they are; the running means and variances of batch norm become those of the new frames. With the usual
momentum of 0.1 the old statistics keep 0.9^20 = 12 % of their weight after 20 passes, as in the paper; the cumulative
form discards them and takes the plain average of all passes.
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import nn

from refocal.core.errors import BadModelError, BadOptionError
from refocal.core.values import Pixels
from refocal.models.header import ModelHeader

PASSES, MOMENTUM = 20, 0.1
_Norms = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)


def adapt(net: nn.Module, bursts: Iterable[Pixels], momentum: float | None = MOMENTUM) -> int:
    """Adapt a net in place, one forward pass for each burst; return the number of passes. Dropout stays off.

    Parameters
    ----------
    net
        Any net with batch norm; left in evaluation mode.
    bursts
        (frame, y, x) pixels in contrast units, of sizes that the net takes.
    momentum
        Weight of each new pass; None is the cumulative form.

    Raises
    ------
    BadModelError
        If the net has no batch norm.
    BadOptionError
        If the momentum is not within 0..1, or there is no burst.
    """
    norms = [module for module in net.modules() if isinstance(module, _Norms) and module.track_running_stats]
    if not norms:
        raise BadModelError(f"{type(net).__name__} has no batch norm to adapt: train it on the new specimen instead")
    if momentum is not None and not 0 < momentum <= 1:
        raise BadOptionError(f"momentum must be above 0 and at most 1, got {momentum}")
    net.eval()
    learned = [parameter for parameter in net.parameters() if parameter.requires_grad]
    usual = [norm.momentum for norm in norms]
    net.requires_grad_(False)  # with nothing to learn no graph is kept, and all frames go in at once
    passes = 0
    for norm in norms:
        norm.train()
        norm.momentum = momentum
        if momentum is None:
            norm.reset_running_stats()
    try:
        for burst in bursts:
            net(torch.from_numpy(np.ascontiguousarray(burst[None], np.float32)))
            passes += 1
    finally:
        net.eval()
        for parameter in learned:
            parameter.requires_grad_(True)
        for norm, before in zip(norms, usual, strict=True):
            norm.momentum = before
    if not passes:
        raise BadOptionError("there is no burst to adapt to: give a stream in which frames overlap")
    return passes


def crops(bursts: Iterable[Pixels], header: ModelHeader, count: int, patch: int, seed: int = 0) -> Iterable[Pixels]:
    """Yield `count` random crops of bursts for a model, squared, of about `patch` pixels.

    Bursts are taken in turn and again from the start. A model of single images gets single frames, one of a fixed
    number of frames that many. A burst that is smaller than the crop is passed over.

    Raises
    ------
    BadOptionError
        If all bursts are smaller.
    """
    reach = header.reach.value
    edge = reach.window or max(1, patch // reach.multiple) * reach.multiple
    rng = np.random.default_rng(seed)
    found = list(bursts)
    fitting = [burst for burst in found if min(burst.shape[1:]) >= edge]
    if found and not fitting:
        largest = max(min(burst.shape[1:]) for burst in found)
        raise BadOptionError(f"no burst has room for crops of {edge} px; --patch {largest} would fit into the largest")
    for number in range(count if fitting else 0):
        burst = fitting[number % len(fitting)]
        y, x = (int(rng.integers(0, n - edge + 1)) for n in burst.shape[1:])
        crop = burst[:, y : y + edge, x : x + edge]
        if header.frames:
            first = int(rng.integers(len(crop))) if header.frames == 1 else 0
            crop = crop[[(first + n) % len(crop) for n in range(header.channels)]]
        yield crop
