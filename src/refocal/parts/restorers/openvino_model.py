"""A trained model on OpenVINO: the default on a CPU. Needs no torch."""

from refocal.models.runtimes.openvino import Precision, open_graph
from refocal.parts.restorers import _tiling
from refocal.parts.restorers._learned import Learned

__all__ = ["OpenVINOModel"]


class OpenVINOModel(Learned):
    """Restore with a model's ONNX file on OpenVINO's CPU plug-in.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    precision
        Arithmetic: `f32`, `bf16` (about twice as fast, less than 0.02 dB lost), or `auto`: bf16 where the CPU has it.
    threads
        Threads to compute with; None leaves it to OpenVINO (all cores).
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
        precision: Precision = "auto",
        threads: int | None = None,
        whole_px: int = _tiling.WHOLE_PX,
        tile_px: int = _tiling.TILE_PX,
    ) -> None:
        tiling = _tiling.Tiling(whole_px, tile_px)
        super().__init__(open_graph(model, precision, threads), tiling)
