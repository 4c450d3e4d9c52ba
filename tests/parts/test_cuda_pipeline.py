"""The way of images through a GPU, walked on a CPU: the same pixels as image by image."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from refocal.core import registry
from refocal.core.values import Contrast, Frames
from refocal.parts.restorers._torch_cuda_pipeline import Pipeline

CPU = torch.device("cpu")


def net() -> torch.nn.Module:
    torch.manual_seed(0)
    made = registry.make("nets", "student", width=8, blocks=1)
    torch.nn.init.normal_(made.tail.weight, std=0.05)
    return made.eval()


@pytest.mark.parametrize("batch_px", [1, 48 * 64 * 2, 1 << 30])
def test_batches_give_the_pixels_of_single_images_in_order(batch_px: int, rng: np.random.Generator) -> None:
    made = net()
    counts = rng.integers(0, 256, (5, 48, 64), np.uint8)
    contrasts = [Contrast(n, 200 + n) for n in range(5)]
    pipeline = Pipeline(made, CPU, half=False, batch_px=batch_px)
    one_by_one = registry.make("restorers", "torch_model", model=made, device="cpu")
    expected = one_by_one([Frames(c[None], contrast=k) for c, k in zip(counts, contrasts, strict=True)])
    for _ in range(2):  # buffers of the first run are used again
        got = pipeline(counts, contrasts)
        away = np.abs(got.astype(int) - np.stack([e.counts for e in expected]))
        assert away.max() <= 1  # a half may round either way
        assert (away > 0).mean() < 0.01
    assert (got != counts).any()


def test_another_size_and_a_shorter_batch_follow(rng: np.random.Generator) -> None:
    pipeline = Pipeline(net(), CPU, half=False, batch_px=3 * 32 * 32)
    for shape in ((4, 32, 32), (2, 32, 32), (1, 16, 48)):
        counts = rng.integers(0, 256, shape, np.uint8)
        got = pipeline(counts, [Contrast(0, 255)] * shape[0])
        alone = [pipeline(c[None], [Contrast(0, 255)])[0] for c in counts]
        assert np.abs(got.astype(int) - np.stack(alone)).max() <= 1


def test_a_batch_that_does_not_fit_is_halved_for_good(rng: np.random.Generator) -> None:
    sizes: list[int] = []

    class Small(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            sizes.append(len(image))
            if len(image) > 2:
                raise torch.cuda.OutOfMemoryError("no memory")
            return image

    pipeline = Pipeline(Small(), CPU, half=False)
    counts = rng.integers(0, 256, (8, 16, 16), np.uint8)
    for _ in range(2):
        assert (pipeline(counts, [Contrast(0, 255)] * 8) == counts).all()
    assert sizes == [8, 4, *[2] * 8]


def test_one_image_that_does_not_fit_is_said() -> None:
    class Never(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            raise torch.cuda.OutOfMemoryError("no memory")

    with pytest.raises(torch.cuda.OutOfMemoryError):
        Pipeline(Never(), CPU, half=False)(np.zeros((2, 16, 16), np.uint8), [Contrast(0, 255)] * 2)


def test_the_benchmark_without_a_gpu_says_so_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = runpy.run_path(str(Path(__file__).parents[2] / "benchmarks" / "gpu.py"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])
    assert script["main"]() == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "no CUDA GPU" in printed.err
    assert 600e3 < script["flop_per_px"]("gran-em") / 2 < 900e3
