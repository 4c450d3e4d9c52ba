"""Differentiable augmentation of what a critic sees, so that few real images suffice (DiffAugment, Zhao et al. 2020).

Every image of a batch draws its own change; real and restored images go through the same kinds of changes, and in the
net's step gradients flow through them. Pixels lie in [-1, 1], so zero is middle grey. Saturation, the fifth change of
the original, is the identity on grey images. Draws come from torch's global generator, which training seeds each step.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

EVERYTHING = ("brightness", "contrast", "translation", "cutout")


def augment(images: Tensor, changes: Sequence[str] = EVERYTHING) -> Tensor:
    """Apply changes to (batch, channels, y, x) images in [-1, 1], one after the other."""
    for change in changes:
        images = _CHANGES[change](images)
    return images


def known(changes: Sequence[str]) -> tuple[str, ...]:
    """Return the changes.

    Raises
    ------
    ValueError
        If there is no such change.
    """
    for change in changes:
        if change not in _CHANGES:
            raise ValueError(f"augment takes {', '.join(EVERYTHING)}, got {change!r}")
    return tuple(changes)


def _brightness(images: Tensor) -> Tensor:
    return images + _draw(images) - 0.5


def _contrast(images: Tensor) -> Tensor:
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * (_draw(images) + 0.5) + mean


def _translation(images: Tensor) -> Tensor:
    """Shift by up to an eighth of the size along each axis; zeros move in."""
    rows, row_inside = _shifted(images, images.shape[2])
    columns, column_inside = _shifted(images, images.shape[3])
    each = torch.arange(len(images), device=images.device)[:, None, None]
    moved = images.permute(0, 2, 3, 1)[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
    return moved * (row_inside[:, None, :, None] & column_inside[:, None, None, :])


def _shifted(images: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Return which index each pixel of an axis takes after a random shift per image, and where that lies inside."""
    most = round(length / 8)
    shift = torch.randint(-most, most + 1, (len(images), 1), device=images.device)
    index = torch.arange(length, device=images.device) - shift
    return index.clamp(0, length - 1), (index >= 0) & (index < length)


def _cutout(images: Tensor) -> Tensor:
    """Blank a window of half the height and half the width around a random pixel."""
    y, x = (_near(images, length) for length in images.shape[2:])
    return images * ~(y[:, None, :, None] & x[:, None, None, :])


def _near(images: Tensor, length: int) -> Tensor:
    centre = torch.randint(0, length, (len(images), 1), device=images.device)
    index = torch.arange(length, device=images.device)
    return (index >= centre - length // 4) & (index < centre + length // 4)


def _draw(images: Tensor) -> Tensor:
    return torch.rand(len(images), 1, 1, 1, device=images.device, dtype=images.dtype)


_CHANGES: dict[str, Callable[[Tensor], Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "translation": _translation,
    "cutout": _cutout,
}
