"""Denoising by medians."""

from collections.abc import Sequence

from scipy import ndimage

from refocal.core.values import Frames, Reach, Restored


class Median:
    """Replaces every pixel by the median around it."""

    def __init__(self, size: int = 3) -> None:
        self._size = size
        self.reach = Reach(halo=size // 2)

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        return [Restored(ndimage.median_filter(f.image, self._size), contrast=f.contrast) for f in batch]
