"""A trained model on ONNX Runtime, float32: where OpenVINO is not to be had. Needs no torch."""

from refocal.models.runtimes.onnx import open_graph
from refocal.parts.restorers import _tiling
from refocal.parts.restorers._learned import Learned

__all__ = ["ONNXModel"]


class ONNXModel(Learned):
    """Restore with a model's ONNX file on ONNX Runtime's CPU provider.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    threads
        Threads to compute with; None leaves it to ONNX Runtime (all cores).
    whole_px, tile_px
        Images above `whole_px` pixels are cut into tiles with cores of `tile_px` squared pixels.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    """

    def __init__(
        self,
        model: str,
        threads: int | None = None,
        whole_px: int = _tiling.WHOLE_PX,
        tile_px: int = _tiling.TILE_PX,
    ) -> None:
        tiling = _tiling.Tiling(whole_px, tile_px)
        super().__init__(open_graph(model, threads), tiling)
