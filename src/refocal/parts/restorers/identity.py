"""Nothing done: the baseline of every comparison."""

from collections.abc import Sequence

from refocal.core.values import Frames, Reach, Restored

__all__ = ["Identity"]


class Identity:
    """Return a copy of the target image."""

    reach = Reach()

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Copy the target image of each of the frames."""
        return [Restored(frames.image.copy(), contrast=frames.contrast) for frames in batch]
