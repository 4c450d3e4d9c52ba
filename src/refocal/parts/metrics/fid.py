"""Fréchet distance between the textures of two images; lower is better.

The distance between two normal distributions fitted to the features of the tiles of either image (Heusel et al. 2017):

    |m1 - m2|^2 + tr(C1 + C2 - 2 (C1 C2)^(1/2))

It compares how things look, not where they are, and has no unit. "FID" in papers means Inception-v3 features, trained
on photographs; these are different, so the number is only comparable with itself. Quote features, tile and stride.
"""

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import BadOptionError
from refocal.core.values import Pixels
from refocal.parts.metrics._pair import pair

__all__ = ["fid"]

Features = Callable[[Pixels], NDArray[np.floating]]
"""(tile, y, x) in contrast units to (tile, feature)."""

_SCALES = (0.7, 1.4, 2.8, 5.6)


def textures(tiles: Pixels) -> NDArray[np.float64]:
    """Return 18 features a tile: mean, log variance, log energies of bands and of their slopes in three directions.

    The four bands are differences of Gaussians at 0.7, 1.4, 2.8, 5.6 and 11.2 px. Nothing is learned.
    """
    return np.array([_texture(tile) for tile in tiles])


def fid(got: Pixels, truth: Pixels, *, features: Features = textures, tile: int = 64, stride: int = 32) -> float:
    """Return the Fréchet distance between the features of the tiles of two (y, x) images in contrast units.

    Parameters
    ----------
    got, truth
        Images of one shape.
    features
        What is compared; by default `textures`. `refocal.models.torch_weights.features_of` makes them from a torch
        module, such as the `encoder` of a net of contours.
    tile, stride
        Edge of the square tiles, and their distance, in pixels. There should be several times more tiles than features.

    Raises
    ------
    BadOptionError
        If the shapes differ, or there are not two tiles.
    """
    pair(got, truth, smallest=tile)
    if tile < 8 or stride < 1:
        raise BadOptionError(f"fid needs tiles of at least 8 px and a stride of at least 1 px, got {tile} and {stride}")
    found = [np.asarray(features(_tiles(image, tile, stride)), np.float64) for image in (got, truth)]
    if len(found[0]) < 2:
        raise BadOptionError(f"fid needs at least two tiles, an image of {got.shape} has {len(found[0])} of {tile} px")
    return frechet(*found)


def frechet(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the Fréchet distance of two (sample, feature) tables, each taken as normally distributed."""
    shift = first.mean(0) - second.mean(0)
    one, two = (np.atleast_2d(np.cov(table, rowvar=False)) for table in (first, second))
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ two @ root), 0)).sum()
    return max(0.0, float(shift @ shift + np.trace(one) + np.trace(two) - 2 * overlap))


def _tiles(image: Pixels, tile: int, stride: int) -> Pixels:
    windows = np.lib.stride_tricks.sliding_window_view(image, (tile, tile))[::stride, ::stride]
    return np.ascontiguousarray(windows.reshape(-1, tile, tile), np.float32)


def _texture(tile: Pixels) -> list[float]:
    blurs = [cv2.GaussianBlur(tile, (0, 0), sigma) for sigma in (*_SCALES, 2 * _SCALES[-1])]
    row = [float(tile.mean()), _log(float(tile.var()))]
    for fine, coarse in itertools.pairwise(blurs):
        band = fine - coarse
        down, along = np.gradient(band)
        row += [_log(float(np.mean(f * f))) for f in (band, down, along, (down + along) * np.float32(0.5**0.5))]
    return row


def _log(energy: float) -> float:
    # The floor is the rounding of 8 bits; below it there is no texture to compare.
    return float(np.log(energy + 1e-6))
