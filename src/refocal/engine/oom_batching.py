"""Batches that fit into memory: where one does not, it is halved, and never made as large again."""

from collections.abc import Sequence

from refocal.core.values import Frames, Restored, Restorer

_SIGNS = ("out of memory", "bad_alloc", "failed to allocate", "can't allocate memory")


class OomBatching:
    """A restorer that calls another one with as many frames as its memory has been seen to hold.

    A single frame that does not fit is an error of that frame.
    """

    def __init__(self, restorer: Restorer, most: int = 1 << 30) -> None:
        self.restorer, self.reach = restorer, restorer.reach
        self.most = most
        """Frames at a time; only ever becomes smaller."""

    def __call__(self, batch: Sequence[Frames], /) -> list[Restored]:
        """Restore each of the frames."""
        done: list[Restored] = []
        while len(done) < len(batch):
            part = batch[len(done) : len(done) + self.most]
            try:
                done += self.restorer(part)
            except (MemoryError, RuntimeError) as error:
                if len(part) == 1 or not short_of_memory(error):
                    raise
                self.most = len(part) // 2
        return done


def short_of_memory(error: BaseException) -> bool:
    """Say whether an error is how Python, torch, OpenVINO or ONNX Runtime say that memory ran out."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or any(sign in text for sign in _SIGNS)
