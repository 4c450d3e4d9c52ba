"""The dense U-Net under a burst net, with global max pooling in the encoder only (Wieslander et al. 2021).

A layer is batch norm - ReLU - convolution - dropout and sees everything before it in its block. The decoder's blocks
pass on their new features, the last one all of them (as in FC-DenseNet). Pooling concatenates the maximum over the
frames with all features of a level, whether own or already shared.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from refocal.parts.nets._burst_features import Tracks, collapsed, convolved, each, joined, maximum


class BurstDense(nn.Module):
    """Tracks to features at full resolution, one set a burst.

    Parameters
    ----------
    inputs
        Channels of the input, own and shared together.
    width
        Channels of the first convolution.
    growth
        Channels that each layer adds.
    layers
        Layers of a block.
    levels
        How often the images are halved.
    transposed
        Whether transposed convolutions double the size, or nearest neighbours and a convolution.
    early
        Whether the frames become one after the encoder, or after the decoder.
    dropout
        Share of values that a layer in training loses.
    """

    def __init__(
        self,
        inputs: int,
        width: int,
        growth: int,
        layers: int,
        levels: int,
        transposed: bool,
        early: bool,
        dropout: float,
    ) -> None:
        super().__init__()
        if min(width, growth, layers, levels) < 1 or not 0 <= dropout < 1:
            raise ValueError("width, growth, layers and levels must be at least 1, and dropout within 0..1")
        self.early = early
        new, own, shared = growth * layers, width, 0
        self.first = nn.Conv2d(inputs, width, 3, padding=1)
        self.down, skips = nn.ModuleList(), []
        for _ in range(levels):
            self.down.append(_Block(own, shared, growth, layers, dropout))
            own += new
            skips.append((own, shared))
            shared = own + 2 * shared
        self.bottom = _Block(own, shared, growth, layers, dropout)
        self.up = nn.ModuleList(_up(2 * new if level == 0 else new, new, transposed) for level in range(levels))
        self.merge = nn.ModuleList(_Block(new + a, b, growth, layers, dropout) for a, b in reversed(skips))
        self.outputs = 2 * new + skips[0][0]
        block, double = layers * ("conv3",), ("up3",) if transposed else ("double", "conv3")
        self.steps = ("conv3", *levels * (*block, "halve"), *block, *levels * (*double, *block))

    def forward(self, tracks: Tracks) -> Tensor:
        """Return (batch, outputs, y, x)."""
        count = tracks.frames
        tracks = Tracks(_each(self.first_of, tracks), None, count)
        levels: list[Tracks] = []
        for block in self.down:
            tracks = tracks._replace(own=_each(block, tracks))
            levels.append(collapsed(tracks) if self.early else tracks)
            tracks = _halved(_pooled(tracks))
        bottom = self.bottom.new(tracks)
        here = Tracks(bottom, None, count)
        tracks = here._replace(shared=maximum(here))
        if self.early:
            tracks = collapsed(tracks)
        own = joined(tracks)
        for number, (up, block) in enumerate(zip(self.up, self.merge, strict=True), 1):
            skip = levels.pop()
            beside = skip._replace(own=torch.cat((up(own), skip.own), 1))
            own = _each(block if number == len(self.up) else block.new, beside)
        return maximum(Tracks(own, None, tracks.frames))

    def first_of(self, tracks: Tracks) -> Tensor:
        """Return the first features of each frame."""
        return convolved(self.first, tracks)


class _Block(nn.Module):
    """Layers that each see all before them."""

    def __init__(self, own: int, shared: int, growth: int, layers: int, dropout: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(_Layer(own + n * growth, shared, growth, dropout) for n in range(layers))
        self.taken = own

    def forward(self, tracks: Tracks) -> Tensor:
        """Return each frame's own features, the given and the new ones."""
        own = tracks.own
        for layer in self.layers:
            own = torch.cat((own, layer(tracks._replace(own=own))), 1)
        return own

    def new(self, tracks: Tracks) -> Tensor:
        """Return the new features of each frame."""
        return self.forward(tracks)[:, self.taken :]


class _Layer(nn.Module):
    """Batch norm - ReLU - convolution - dropout."""

    def __init__(self, own: int, shared: int, growth: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(own)
        self.shared_norm = nn.BatchNorm2d(shared) if shared else None
        self.conv = nn.Conv2d(own + shared, growth, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, tracks: Tracks) -> Tensor:
        shared = tracks.shared
        if shared is not None and self.shared_norm is not None:
            shared = torch.relu(self.shared_norm(shared))
        own = torch.relu(self.norm(tracks.own))
        grown: Tensor = self.dropout(convolved(self.conv, Tracks(own, shared, tracks.frames)))
        return grown


def _each(part: Any, tracks: Tracks) -> Tensor:
    """Apply a part to all frames; at once where most of the work is shared, which is below full resolution."""
    if tracks.shared is None:
        return each(part, tracks)
    answer: Tensor = part(tracks)
    return answer


def _pooled(tracks: Tracks) -> Tracks:
    """Concatenate all features with their maximum over the frames; shared features are their own maximum."""
    old = () if tracks.shared is None else (tracks.shared, tracks.shared)
    return tracks._replace(shared=torch.cat((*old, maximum(tracks)), 1))


def _halved(tracks: Tracks) -> Tracks:
    shared = None if tracks.shared is None else functional.max_pool2d(tracks.shared, 2)
    return tracks._replace(own=functional.max_pool2d(tracks.own, 2), shared=shared)


def _up(inputs: int, outputs: int, transposed: bool) -> nn.Module:
    if transposed:
        return nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, 1)
    return nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(inputs, outputs, 3, padding=1))
