"""Images through a net on a GPU, host to host: batches, channels last, bfloat16, copies during the arithmetic.

    counts -> pinned memory -> device: scaled, restored in one captured graph, scaled back -> pinned memory -> counts

8-bit counts travel as they are, a quarter of the bytes of float32. There are two lanes, each a stream with buffers and
a graph of its own: while one batch is restored, the other is copied. On a CPU the same steps run one after the other.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from refocal.core.values import Contrast

BATCH_PX = 8 << 20
"""Pixels that go through the net at once; what does not fit is halved, and stays halved."""
_LANES = 2
_WARM_UP = 3


class Pipeline:
    """Restore stacks of 8-bit images of one size, (n, y, x), by a net of one channel.

    Parameters
    ----------
    net
        Already on the device, in evaluation mode.
    device, half
        Where it runs, and whether in bfloat16.
    batch_px
        Largest number of pixels processed at once, but at least one image.
    graphs
        Capture the arithmetic of each shape as a CUDA graph.
    compiled
        Run the net through torch.compile first: slow to start, and needs a compiler.
    """

    def __init__(
        self,
        net: nn.Module,
        device: torch.device,
        half: bool,
        batch_px: int = BATCH_PX,
        graphs: bool = True,
        compiled: bool = False,
    ) -> None:
        if batch_px < 1:
            raise ValueError(f"batch_px must be at least 1, got {batch_px}")
        self._net: Callable[[Tensor], Tensor] = torch.compile(net) if compiled else net
        self._device, self._half = device, half
        self._most, self._graphs = batch_px, graphs and device.type == "cuda"
        self._lanes: dict[tuple[int, ...], list[_Lane]] = {}

    def __call__(self, counts: NDArray[np.uint8], contrasts: Sequence[Contrast]) -> NDArray[np.uint8]:
        """Restore (n, y, x) counts under one contrast each."""
        while True:
            try:
                return self._run(counts, contrasts)
            except torch.cuda.OutOfMemoryError:
                size = counts[0].size
                if self._most < 2 * size or len(counts) == 1:
                    raise
                # Never again as large a batch: the memory is not there.
                self._lanes.clear()
                torch.cuda.empty_cache()
                self._most = max(size, min(self._most, len(counts) * size) // 2)

    def _run(self, counts: NDArray[np.uint8], contrasts: Sequence[Contrast]) -> NDArray[np.uint8]:
        size = max(1, min(len(counts), self._most // counts[0].size))
        lanes = self._for((size, 1, *counts.shape[1:]))
        scales = np.array([(c.low, c.high) for c in contrasts], np.float32)
        result = np.empty_like(counts)
        for number, start in enumerate(range(0, len(counts), size)):
            lane = lanes[number % _LANES]
            lane.collect(result)
            place = slice(start, min(start + size, len(counts)))
            lane.send(counts[place], scales[place], place)
        for lane in lanes:
            lane.collect(result)
        return result

    def _for(self, shape: tuple[int, ...]) -> list["_Lane"]:
        if shape not in self._lanes:
            # Graphs and buffers of a shape that is gone would hold its memory.
            self._lanes.clear()
            self._lanes[shape] = [_Lane(self._restore, shape, self._device, self._graphs) for _ in range(_LANES)]
        return self._lanes[shape]

    def _restore(self, counts: Tensor, scales: Tensor) -> Tensor:
        """Map 8-bit (n, 1, y, x) counts and (n, 2) contrasts on the device to 8-bit counts."""
        low, span = scales[:, :1, None, None], (scales[:, 1:] - scales[:, :1])[:, :, None, None]
        image = ((counts.float() - low) / span).contiguous(memory_format=torch.channels_last)
        # Weights that autocast keeps would be tied to the graph that is captured first.
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half, cache_enabled=False):
            restored = self._net(image)
        return (restored.float() * span + low).round().clamp(0, 255).to(torch.uint8)


class _Lane:
    """A stream with the buffers and the captured arithmetic of one batch under way."""

    def __init__(
        self, restore: Callable[[Tensor, Tensor], Tensor], shape: tuple[int, ...], device: torch.device, graph: bool
    ) -> None:
        cuda = device.type == "cuda"
        self._given = torch.zeros(shape, dtype=torch.uint8, pin_memory=cuda)
        self._scales = torch.tensor([[0.0, 255.0]] * shape[0], pin_memory=cuda)
        self._got = torch.zeros(shape, dtype=torch.uint8, pin_memory=cuda)
        self._stream = torch.cuda.Stream(device) if cuda else None  # type: ignore[no-untyped-call]
        self._there = self._given.to(device), self._scales.to(device)
        self._compute: Callable[[], Tensor] = partial(restore, *self._there)
        self._waiting: slice | None = None
        if graph:
            self._capture()

    def send(self, counts: NDArray[np.uint8], scales: NDArray[np.float32], place: slice) -> None:
        """Begin a batch whose results belong to `place`."""
        self._given.numpy()[: len(counts), 0] = counts
        self._scales.numpy()[: len(counts)] = scales
        with torch.inference_mode(), torch.cuda.stream(self._stream):
            for there, here in zip(self._there, (self._given, self._scales), strict=True):
                there.copy_(here, non_blocking=True)
            self._got.copy_(self._compute(), non_blocking=True)
        self._waiting = place

    def collect(self, result: NDArray[np.uint8]) -> None:
        """Wait for the batch under way, if there is one, and put its results where they belong."""
        place, self._waiting = self._waiting, None
        if place is None:
            return
        if self._stream is not None:
            self._stream.synchronize()
        result[place] = self._got.numpy()[: place.stop - place.start, 0]

    def _capture(self) -> None:
        eager, graph = self._compute, torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.inference_mode():
            with torch.cuda.stream(self._stream):
                for _ in range(_WARM_UP):  # libraries choose their algorithms, and must not while it is captured
                    eager()
            torch.cuda.synchronize()
            with torch.cuda.graph(graph, stream=self._stream):
                answer = eager()

        def replay() -> Tensor:
            graph.replay()
            return answer

        self._compute = replay
