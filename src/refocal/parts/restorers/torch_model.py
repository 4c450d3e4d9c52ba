"""A trained model on PyTorch: the choice on a CUDA GPU, and the reference that the other runtimes are held to."""

from torch import nn

from refocal.models.runtimes.torch import Precision, open_graph
from refocal.parts.restorers import _tiling
from refocal.parts.restorers._learned import Learned
from refocal.parts.restorers._torch_cuda_pipeline import BATCH_PX, Pipeline

__all__ = ["TorchModel"]


class TorchModel(Learned):
    """Restore with a model's weights on PyTorch.

    Parameters
    ----------
    model
        Name of a shipped model, path of a model file, or a net in memory (moved to the device).
    device
        `auto` (a CUDA GPU if there is one), or any torch device.
    precision
        Arithmetic: `f32`, `bf16`, or `auto`: bf16 on a GPU, float32 on a CPU.
    whole_px, tile_px
        Images above `whole_px` pixels are cut into tiles with cores of `tile_px` squared pixels.
    batch_px, compiled
        On a GPU 8-bit images of one size go through together, up to `batch_px` pixels at once; `compiled` by
        torch.compile first.

    Raises
    ------
    UnknownPartError, BadModelError
        If there is no such model, or it cannot be used.
    """

    def __init__(
        self,
        model: str | nn.Module,
        device: str = "auto",
        precision: Precision = "auto",
        whole_px: int = _tiling.WHOLE_PX,
        tile_px: int = _tiling.TILE_PX,
        batch_px: int = BATCH_PX,
        compiled: bool = False,
    ) -> None:
        tiling = _tiling.Tiling(whole_px, tile_px)
        graph = open_graph(model, device, precision)
        pipeline: Pipeline | None = None
        if graph.device.type == "cuda" and graph.channels == 1:
            pipeline = Pipeline(graph.net, graph.device, graph.half, batch_px, compiled=compiled)
        super().__init__(graph, tiling, pipeline)
