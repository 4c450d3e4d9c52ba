"""Pictures of segmentations: where cells are merged (red) and where they are split (blue)."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Labels, Pixels

MERGE, SPLIT, BORDER = (235, 60, 40), (40, 120, 255), (255, 210, 60)
"""Red, green, blue of what is drawn."""
Mask = NDArray[np.bool_]


def mistakes(got: Labels, truth: Labels, smallest_px: int = 40, share: float = 0.1) -> tuple[Mask, Mask]:
    """Return where two (y, x) label images differ in kind: missing borders, and superfluous ones.

    A segment and a cell belong together where they share at least `smallest_px` pixels and `share` of the smaller of
    the two; a border that is drawn a little beside its place is thus no mistake. Missing are the borders between two
    cells that belong to one segment, too many those between two segments that belong to one cell.
    """
    cell = np.unique(truth, return_inverse=True)[1].reshape(truth.shape)
    segment = np.unique(got, return_inverse=True)[1].reshape(truth.shape)
    code = cell.astype(np.int64) * (int(segment.max()) + 1) + segment
    names, where, shared = np.unique(code, return_inverse=True, return_counts=True)
    sizes = [np.bincount(labels.ravel()) for labels in (cell, segment)]
    smaller = np.minimum(sizes[0][names // len(sizes[1])], sizes[1][names % len(sizes[1])])
    together = ((shared >= smallest_px) & (shared >= share * smaller))[where].reshape(truth.shape)
    merged, split = np.zeros(truth.shape, bool), np.zeros(truth.shape, bool)
    for here, there in (
        ((slice(1, None), slice(None)), (slice(None, -1), slice(None))),
        ((slice(None), slice(1, None)), (slice(None), slice(None, -1))),
    ):
        both = together[here] & together[there] & (truth[here] != 0) & (truth[there] != 0)
        other_cell, other_segment = cell[here] != cell[there], segment[here] != segment[there]
        for mask, found in ((merged, other_cell & ~other_segment), (split, other_segment & ~other_cell)):
            mask[here] |= found & both
            mask[there] |= found & both
    return merged, split


def picture(views: Sequence[tuple[str, Pixels, Labels]], truth: Labels, enlarge: int = 2) -> NDArray[np.uint8]:
    """Draw (title, (y, x) image in contrast units, its labels) side by side: above as they are, below with mistakes.

    Returns (y, x, 3) red, green, blue. Yellow are the borders of the segments, red missing and blue superfluous ones.
    """
    columns = []
    for title, image, got in views:
        grey = np.repeat((np.clip(image, 0, 1) * 255).astype(np.uint8)[..., None], 3, 2)
        wide = cv2.resize(grey, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_NEAREST)
        drawn = wide.copy()
        drawn[_thin(_wide(got, enlarge))] = BORDER
        for mask, colour in zip(mistakes(got, truth), (MERGE, SPLIT), strict=True):
            drawn[_wide(mask, enlarge)] = colour
        columns.append(np.concatenate([_titled(title, wide), drawn]))
    gap = np.full((columns[0].shape[0], 4, 3), 255, np.uint8)
    spaced = [part for column in columns for part in (column, gap)]
    return np.concatenate(spaced[:-1], 1)


def png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode (y, x, 3) red, green, blue."""
    content: bytes = cv2.imencode(".png", np.ascontiguousarray(rgb[..., ::-1]))[1].tobytes()
    return content


def _wide(labels: NDArray[np.generic], enlarge: int) -> NDArray[np.generic]:
    return np.repeat(np.repeat(labels, enlarge, 0), enlarge, 1)


def _thin(labels: NDArray[np.generic]) -> Mask:
    edge = np.zeros(labels.shape, bool)
    edge[1:] |= labels[1:] != labels[:-1]
    edge[:, 1:] |= labels[:, 1:] != labels[:, :-1]
    return edge


def _titled(title: str, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    head = np.full((22, *image.shape[1:]), 255, np.uint8)
    cv2.putText(head, title, (4, 16), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return np.concatenate([head, image])
