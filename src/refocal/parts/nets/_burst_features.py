"""Tracks: what a burst net knows of each frame, and what it knows of the burst.

Features of all frames are `own` (batch * frame, channel, y, x), folded into the batch axis, so that every frame passes
the same weights. Global max pooling concatenates the maximum over the frames with each frame's own features. As
all frames get the same maximum, it is kept once, `shared` (batch, channel, y, x), and a convolution of the two side by
side is the sum of a convolution of each: the same algebra, most of it done once a burst instead of once a frame.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional


class Tracks(NamedTuple):
    """Features of a burst of `frames` frames."""

    own: Tensor
    shared: Tensor | None
    frames: int


def maximum(tracks: Tracks) -> Tensor:
    """Return the maximum of each frame's own features over the frames, (batch, channel, y, x)."""
    return _by_frame(tracks).amax(1)


def collapsed(tracks: Tracks) -> Tracks:
    """Return tracks of one frame: the maximum over the frames."""
    return Tracks(maximum(tracks), tracks.shared, 1)


def spread(shared: Tensor, count: int) -> Tensor:
    """Return (batch, ...) once for each of `count` frames, (batch * frame, ...)."""
    return shared.unsqueeze(1).expand(-1, count, -1, -1, -1).flatten(0, 1)


def joined(tracks: Tracks) -> Tensor:
    """Return own and shared features side by side, (batch * frame, channel, y, x)."""
    if tracks.shared is None:
        return tracks.own
    return torch.cat((tracks.own, spread(tracks.shared, tracks.frames)), 1)


def convolved(conv: nn.Conv2d, tracks: Tracks) -> Tensor:
    """Return conv(own and shared features side by side), with the shared part done once for all frames."""
    if tracks.shared is None:
        answer: Tensor = conv(tracks.own)
        return answer
    inputs, weight = tracks.own.shape[1], conv.weight
    own = functional.conv2d(tracks.own, weight[:, :inputs], conv.bias, conv.stride, conv.padding)
    shared = functional.conv2d(tracks.shared, weight[:, inputs:], None, conv.stride, conv.padding)
    return own + spread(shared, tracks.frames)


def each(part: Callable[[Tracks], Tensor], tracks: Tracks) -> Tensor:
    """Apply a part to all frames; one after the other where nothing learns, so that only one of them fills memory."""
    if torch.is_grad_enabled() or torch.compiler.is_exporting() or tracks.frames == 1:
        return part(tracks)
    own = _by_frame(tracks)
    first = part(Tracks(own[:, 0], tracks.shared, 1))
    answers = first.new_empty((first.shape[0], tracks.frames, *first.shape[1:]))
    answers[:, 0] = first
    del first
    for index in range(1, tracks.frames):
        answers[:, index] = part(Tracks(own[:, index], tracks.shared, 1))
    return answers.flatten(0, 1)


def _by_frame(tracks: Tracks) -> Tensor:
    return tracks.own.reshape(-1, tracks.frames, *tracks.own.shape[1:])


def halo(steps: Sequence[str], multiple: int) -> int:
    """Return how far an output pixel looks, px, through steps given from the input to the output.

    `conv3`; `conv4` of stride 2; `halve` (pooling, or folding squares into channels) and `double` (nearest, or the
    reverse); `up3` and `up4`, transposed convolutions of stride 2. Sizes are multiples of `multiple`.
    """
    farthest = 0
    for pixel in range(multiple):
        low = high = pixel
        for step in reversed(steps):
            low, high = _SEEN[step](low, high)
        farthest = max(farthest, pixel - low, high - pixel)
    return farthest


_SEEN: dict[str, Callable[[int, int], tuple[int, int]]] = {
    "conv3": lambda low, high: (low - 1, high + 1),
    "conv4": lambda low, high: (2 * low - 1, 2 * high + 2),
    "halve": lambda low, high: (2 * low, 2 * high + 1),
    "double": lambda low, high: (low // 2, high // 2),
    "up3": lambda low, high: (low // 2, (high + 1) // 2),
    "up4": lambda low, high: ((low - 1) // 2, (high + 1) // 2),
}
