"""Fragments to cells: the pair of fragments with the highest mean affinity over its contact is merged first."""

import heapq

import numpy as np
from numpy.typing import NDArray

from refocal.core.values import Labels, Pixels

Pairs = NDArray[np.int64]


def contacts(affinities: Pixels, fragments: Labels) -> tuple[Pairs, NDArray[np.float64], NDArray[np.float64]]:
    """Return which fragments touch, (n, 2) with the smaller number first; the sum of their affinities; the number.

    `affinities` are (3, section, y, x): channel c links a voxel with the one before it along axis c. 0 is no fragment.
    """
    codes: list[Pairs] = []
    values: list[Pixels] = []
    width = int(fragments.max()) + 1
    for axis, channel in enumerate(affinities):
        length = fragments.shape[axis] - 1
        here = np.take(fragments, range(1, length + 1), axis).astype(np.int64)
        before = np.take(fragments, range(length), axis).astype(np.int64)
        touch = (here != before) & (here > 0) & (before > 0)
        low, high = np.minimum(here[touch], before[touch]), np.maximum(here[touch], before[touch])
        codes.append(low * width + high)
        values.append(np.take(channel, range(1, length + 1), axis)[touch])
    code, where = np.unique(np.concatenate(codes), return_inverse=True)
    sums = np.bincount(where, np.concatenate(values), len(code))
    sizes = np.bincount(where, minlength=len(code)).astype(np.float64)
    pairs: Pairs = np.stack([code // width, code % width], 1)
    return pairs, sums.astype(np.float64), sizes


def agglomerate(
    count: int, pairs: Pairs, sums: NDArray[np.float64], sizes: NDArray[np.float64], threshold: float
) -> NDArray[np.int64]:
    """Merge fragments 0 .. count - 1 until no contact has a mean affinity of `threshold`; return the cell of each.

    After a merge, contacts with a common neighbour are one contact. Equal means go in the order of their numbers.
    """
    parent = np.arange(count)
    around: list[dict[int, tuple[float, float]]] = [{} for _ in range(count)]
    queue: list[tuple[float, int, int]] = []
    for (a, b), total, size in zip(pairs.tolist(), sums.tolist(), sizes.tolist(), strict=True):
        around[a][b] = around[b][a] = (total, size)
        if total / size >= threshold:
            queue.append((-total / size, a, b))
    heapq.heapify(queue)
    while queue:
        score, a, b = heapq.heappop(queue)
        total, size = around[a].get(b, (0.0, 0.0))
        if parent[a] != a or parent[b] != b or not size or -total / size != score:
            continue  # changed since it was queued
        if len(around[a]) < len(around[b]):
            a, b = b, a
        parent[b] = a
        del around[a][b]
        for neighbour, (more, larger) in around[b].items():
            if neighbour == a:
                continue
            had, before = around[a].get(neighbour, (0.0, 0.0))
            around[a][neighbour] = around[neighbour][a] = (had + more, before + larger)
            del around[neighbour][b]
            mean = (had + more) / (before + larger)
            if mean >= threshold:
                heapq.heappush(queue, (-mean, min(a, neighbour), max(a, neighbour)))
        around[b] = {}
    return _roots(parent)


def _roots(parent: NDArray[np.int64]) -> NDArray[np.int64]:
    while (parent[parent] != parent).any():
        parent = parent[parent]
    return parent
