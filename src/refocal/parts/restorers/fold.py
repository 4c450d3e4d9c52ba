"""Fold: a folded section between its neighbours, restored: find, regularise, interpolate, unfold, fuse.

Only a band around each fold is touched; everything else keeps its counts to the bit. `Restored.origin` tells for each
pixel whether it is as recorded, was moved, or was made from the neighbours, and `Restored.flow` from where it came.
Without trained nets the fold is pulled apart by the geometry that makes it most like a neighbour, and what it hid is
taken from there.

With more than three frames the nearest neighbour on each side serves that is whole where it is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from refocal.core.errors import UnsupportedError
from refocal.core.values import INVENTED, MOVED, Frames, Pixels, Reach, Restored
from refocal.imaging import fold_geometry
from refocal.imaging.fold_detection import DarkLine, Search
from refocal.imaging.fold_fit import pulled, sampled
from refocal.imaging.fold_geometry import Mask, Reals
from refocal.models.runtimes import Graph
from refocal.parts.restorers import _multiplane
from refocal.parts.restorers._learned import open_as

__all__ = ["Fold"]

Method = Literal["full", "substitution", "interpolation", "inpainting", "unfolded_inpainting", "stitch", "not_unfolded"]
METHODS = ("full", "substitution", "interpolation", "inpainting", "unfolded_inpainting", "stitch", "not_unfolded")
_FADE_PX = 24


@dataclass(frozen=True, slots=True)
class _Page:
    """A section on its way."""

    image: Pixels
    origin: NDArray[np.uint8]
    flow: Pixels | None = None


class Fold:
    """Restore frames (previous, folded, next).

    Parameters
    ----------
    interpolation, unfolding, fusion, inpaint
        Trained models of the nets `sepconv`, `unfold`, `fuse` and `pconv`; without one, its classical stand-in:
        a neighbour, the geometry that fits best, direct stitching, and the diffusion of OpenCV.
    runtime
        The restorer that runs them: `openvino_model`, `onnx_model` or `torch_model`.
    method
        `full`; the baselines `substitution` and `interpolation` (all within `around_px` from the neighbours),
        `inpainting` (of the band) and `unfolded_inpainting`; the ablations `stitch` (no fusion) and `not_unfolded`.
    around_px
        How far from a fold pixels may be touched.
    darkness
        What counts as dark, as a share of the median of the section.
    """

    def __init__(
        self,
        interpolation: str | None = None,
        unfolding: str | None = None,
        fusion: str | None = None,
        inpaint: str | None = None,
        runtime: str = "openvino_model",
        method: Method = "full",
        around_px: float = 256.0,
        darkness: float = 0.42,
    ) -> None:
        if method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}, got {method!r}")
        if not around_px >= 32:
            raise ValueError(f"around_px must be at least 32, got {around_px}")
        self.method, self.around_px = method, around_px
        self.find = Search(darkness=darkness)
        self.reach = Reach()
        named = {"interpolation": interpolation, "unfolding": unfolding, "fusion": fusion, "inpaint": inpaint}
        self._nets: dict[str, Graph] = {
            role: open_as(runtime, model) for role, model in named.items() if model is not None
        }

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore the target of each of the frames.

        Raises
        ------
        UnsupportedError
            If a fold, or a missing section, has no neighbour that is whole there.
        """
        return [self._one(frames) for frames in batch]

    def _one(self, frames: Frames) -> Restored:
        planes = frames.contrast.unit(frames.counts)
        target = frames.target
        page = _Page(planes[target], np.zeros(planes.shape[1:], np.uint8))
        if _missing(frames, target):
            everywhere = np.ones(planes.shape[1:], np.bool_)
            between = self._between(*self._neighbours(frames, planes, everywhere), everywhere)
            page = _Page(between, np.full(planes.shape[1:], INVENTED, np.uint8))
        else:
            for line in self.find(page.image):
                page = self._restored(frames, planes, page, line)
        counts = frames.counts[target].copy()
        if (changed := page.origin > 0).any():
            counts[changed] = frames.contrast.counts(page.image, counts.dtype)[changed]
        return Restored(counts, contrast=frames.contrast, origin=page.origin, flow=page.flow)

    def _restored(self, frames: Frames, planes: Pixels, page: _Page, line: DarkLine) -> _Page:
        """Restore one fold."""
        image, origin = page.image, page.origin
        # Where another fold crosses, the hole is filled already.
        cover = line.cover(image.shape) & (origin != INVENTED)
        s = np.abs(fold_geometry.distance(line.points, *fold_geometry.pixels(image.shape))[0])
        near = s < self.around_px
        if self.method == "inpainting":
            filled = self._filled(image, cover, near)
            return replace(page, image=np.where(cover, filled, image), origin=np.where(cover, INVENTED, origin))
        first, second = self._neighbours(frames, planes, cover)
        if self.method in ("substitution", "interpolation"):
            other = first if self.method == "substitution" else self._between(first, second, near)
            return replace(page, image=np.where(near, other, image), origin=np.where(near, INVENTED, origin))
        # No jump where the touched band ends.
        weight = np.clip((self.around_px - s) / _FADE_PX, 0, 1).astype(np.float32)
        black, between = np.where(cover, np.float32(0), image), self._between(first, second, near)
        flow = self._flow(line, black, (first, second), between, near) * weight
        if self.method == "not_unfolded":
            flow = np.zeros_like(flow)
        unfolded = sampled(black, flow, cubic=True)
        hidden = sampled(cover.astype(np.float32), flow) > 0.02
        fused = self._fused(unfolded, between, hidden, near, weight)
        moved = (np.hypot(*flow) > 1e-3) | (np.abs(fused - image) > 0)
        before = cv2.remap(origin, *_where(flow), cv2.INTER_NEAREST, borderMode=cv2.BORDER_REPLICATE)
        after = np.where(hidden, INVENTED, np.where(moved & near, np.maximum(before, MOVED), before)).astype(np.uint8)
        return _Page(np.where(near, fused, image), np.where(near, after, origin), _onto(page.flow, flow))

    def _neighbours(self, frames: Frames, planes: Pixels, needed: Mask) -> tuple[Pixels, Pixels]:
        """Return the nearest whole neighbour on each side; the same one twice where only one side has any."""
        count, target = len(planes), frames.target
        reasons: list[str] = []
        chosen = []
        for side in (range(target - 1, -1, -1), range(target + 1, count)):
            for index in side:
                why = self._fault(frames, planes, index, needed)
                if not why:
                    chosen.append(planes[index])
                    break
                reasons.append(f"frame {index} {why}")
        if not chosen:
            raise UnsupportedError(
                f"no neighbour to restore from: {'; '.join(reasons) or 'there is only this section'}; "
                "give more sections around it"
            )
        return chosen[0], chosen[-1]

    def _fault(self, frames: Frames, planes: Pixels, index: int, needed: Mask) -> str:
        if _missing(frames, index):
            return "is missing or blank"
        for line in self.find(planes[index]):
            if (line.cover(needed.shape) & needed).any():
                return "has a fold at the same place"
        return ""

    def _between(self, first: Pixels, second: Pixels, near: Mask) -> Pixels:
        net = self._nets.get("interpolation")
        if net is None:
            return first
        made: Pixels = _multiplane.through(net, np.stack((first, second)), near, 1)[0]
        return made

    def _flow(
        self, line: DarkLine, black: Pixels, neighbours: tuple[Pixels, Pixels], between: Pixels, near: Mask
    ) -> Reals:
        net = self._nets.get("unfolding")
        if net is None:
            first, second = neighbours
            fold = pulled(line, black, (first,) if first is second else neighbours)
            return fold_geometry.unfolding([fold], *fold_geometry.pixels(black.shape))
        flow: Reals = _multiplane.through(net, np.stack((black, between)), near, 2).astype(np.float64)
        return flow

    def _fused(self, unfolded: Pixels, between: Pixels, hidden: Mask, near: Mask, weight: Pixels) -> Pixels:
        if self.method == "unfolded_inpainting":
            return np.where(hidden, self._filled(unfolded, hidden, near), unfolded)
        net = self._nets.get("fusion")
        if net is not None and self.method != "stitch":
            fused = _multiplane.through(net, np.stack((unfolded, between)), near, 1)[0]
            blended: Pixels = unfolded + weight * (fused - unfolded)
            return blended
        soft = cv2.GaussianBlur(cv2.dilate(hidden.astype(np.float32), np.ones((5, 5), np.uint8)), (0, 0), 1.5)
        mix = np.maximum(soft, hidden)
        mixed: Pixels = unfolded + mix * (_matched(between, unfolded, near & ~hidden) - unfolded)
        return mixed

    def _filled(self, image: Pixels, hole: Mask, near: Mask) -> Pixels:
        """Fill a hole from its borders, without looking at neighbours."""
        net = self._nets.get("inpaint")
        if net is not None:
            given = np.stack((np.where(hole, 0, image), (~hole).astype(np.float32)))
            drawn: Pixels = _multiplane.through(net, given, near, 1)[0]
            return drawn
        eight_bit = np.clip(image * 255, 0, 255).astype(np.uint8)
        filled: Pixels = cv2.inpaint(eight_bit, hole.astype(np.uint8), 5, cv2.INPAINT_TELEA).astype(np.float32) / 255
        return filled


def _missing(frames: Frames, index: int) -> bool:
    """Say whether a frame was never recorded: declared invalid, or one grey level all over."""
    plane = frames.counts[index]
    if frames.valid is not None and not frames.valid[index].any():
        return True
    return len(frames.counts) > 1 and bool(plane.min() == plane.max())


def _matched(source: Pixels, like: Pixels, where: Mask) -> Pixels:
    """Return an image with the mean and spread that another one has in a region."""
    if where.sum() < 64:
        return source
    a, b = source[where], like[where]
    gain = np.clip(b.std() / max(float(a.std()), 1e-6), 0.5, 2.0)
    matched: Pixels = ((source - a.mean()) * gain + b.mean()).astype(np.float32)
    return matched


def _onto(before: Pixels | None, flow: Reals) -> Pixels:
    """Return the flow of two unfoldings, one after the other."""
    first = np.zeros(flow.shape, np.float32) if before is None else before
    both: Pixels = np.stack([sampled(part, flow) for part in first]) + flow.astype(np.float32)
    return both


def _where(flow: Reals) -> tuple[Pixels, Pixels]:
    y, x = fold_geometry.pixels(flow.shape[1:])
    return (x + flow[1]).astype(np.float32), (y + flow[0]).astype(np.float32)
