"""How fast a trained model restores on this machine, compared with plain PyTorch and with its matrix products.

Every variant runs in a separate process (with its own allocator, threads and peak memory), and the processes alternate:
one run of each, round after round, so that a busy machine slows all of them alike. Medians are reported; trust ratios.
"""

import contextlib
import importlib.util
import multiprocessing
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from refocal.core.values import UNIT, Frames, Pixels
from refocal.engine import backends
from refocal.models import header

EAGER = "torch f32 eager"
"""The variant that ratios refer to: contiguous tensors, default allocator."""


@dataclass(frozen=True, slots=True)
class Variant:
    """One way to run a model: a backend with options; `peak` names the matrix product that bounds it.

    `model` is another model than the one that is measured.
    """

    name: str
    backend: str
    options: Mapping[str, Any]
    peak: str = "f32"
    model: str | None = None


VARIANTS = (
    Variant(EAGER, "eager", {}),
    Variant("torch f32 channels-last, tuned malloc", "torch", {"device": "cpu", "precision": "f32"}),
    Variant("torch bf16 channels-last, tuned malloc", "torch", {"device": "cpu", "precision": "bf16"}, "bf16"),
    Variant("onnx f32", "onnx", {}),
    Variant("openvino f32", "openvino", {"precision": "f32"}),
    Variant("openvino bf16", "openvino", {"precision": "bf16"}, "bf16"),
)


def restore_rows(
    model: str | Path,
    size: tuple[int, int] = (1024, 1024),
    rounds: int = 3,
    threads: int | None = None,
    truth: Pixels | None = None,
    seen: Pixels | None = None,
    variants: tuple[Variant, ...] = VARIANTS,
    also: Sequence[str | Path] = (),
) -> Iterator[dict[str, Any]]:
    """Measure every variant whose packages are installed on one image.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    size
        (y, x) of the image, pixels.
    rounds
        Timed runs of each variant, after one untimed.
    threads
        Threads; None for all cores.
    truth, seen
        A sharp (y, x) image in contrast units and what the microscope saw of it; None uses a degraded drawing.
    variants
        What to compare.
    also
        More models, as OpenVINO runs them by default: a student, or the model in integers.

    Yields
    ------
    dict
        `variant`, `size`, `mpx_per_s`, `ratio_fp32_eager`, `db_lost` (PSNR to the truth, float32 eager minus this),
        `gflops`, `peak_gflops` (measured matrix product in the same arithmetic), `peak_share`, `peak_mib` (of the
        whole process), `threads`, `cpu`. None where torch is missing or a number has no meaning.
    """
    path = header.find(model)
    threads = threads or len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else threads or os.cpu_count()
    if truth is None or seen is None:
        truth, seen = _drawing(size)
    there = [v for v in (*variants, *map(_other, also)) if _installed(v.backend)]
    needed = {f"peak {v.peak}": Variant(f"peak {v.peak}", "peak", {"precision": v.peak}) for v in there}
    with contextlib.ExitStack() as stack:
        every = (*there, *needed.values())
        workers = {v.name: stack.enter_context(_Worker(v, v.model or str(path), seen, threads or 1)) for v in every}
        median = _medians(workers, rounds)
        flops = {m: _flop(Path(m), truth.shape) for m in {v.model or str(path) for v in there}}
        results = {v.name: workers[v.name].ask("result") for v in there}
        memory = {v.name: workers[v.name].ask("memory") for v in there}
    exact = _psnr(results[EAGER], truth) if EAGER in results else None
    for v in there:
        yield {
            **_speed(v, truth, median, flops[v.model or str(path)]),
            "db_lost": None if exact is None else exact - _psnr(results[v.name], truth),
            "peak_mib": memory[v.name],
            "threads": threads,
            "cpu": cpu(),
        }


def _other(model: str | Path) -> Variant:
    return Variant(f"openvino auto: {Path(model).stem}", "openvino", {}, "bf16", str(header.find(model)))


def _speed(variant: Variant, truth: Pixels, seconds: Mapping[str, float], flop: float) -> dict[str, Any]:
    """Return the part of a row that follows from the seconds of a variant, of float32 eager and of matrix products."""
    own, peak = seconds[variant.name], PEAK_FLOP / seconds[f"peak {variant.peak}"]
    return {
        "variant": variant.name,
        "size": f"{truth.shape[0]}x{truth.shape[1]}",
        "mpx_per_s": truth.size / 1e6 / own,
        "ratio_fp32_eager": seconds[EAGER] / own if EAGER in seconds else None,
        "peak_share": flop / own / peak,
        "gflops": flop / own / 1e9,
        "peak_gflops": peak / 1e9,
    }


def _medians(workers: Mapping[str, "_Worker"], rounds: int) -> dict[str, float]:
    """Return the median seconds of each worker; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in workers}
    for _ in range(rounds):
        for name, worker in workers.items():
            seconds[name].append(worker.ask("run"))
    return {name: statistics.median(times) for name, times in seconds.items()}


def cpu() -> str:
    """Return the name of the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


class _Worker:
    """A process that runs one variant when asked."""

    def __init__(self, variant: Variant, path: str, seen: Pixels, threads: int) -> None:
        # A fresh interpreter: a fork would inherit the memory and the thread pools of this one.
        context = multiprocessing.get_context("spawn")
        self._here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, variant, path, seen, threads), daemon=True)

    def __enter__(self) -> "_Worker":
        self._process.start()
        self.ask("run")  # the first run compiles and allocates
        return self

    def ask(self, question: str) -> Any:
        self._here.send(question)
        return self._here.recv()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.join()


def _serve(pipe: Connection, variant: Variant, path: str, seen: Pixels, threads: int) -> None:
    run = _runner(variant, path, seen, threads)
    result: Pixels | None = None
    while True:
        question = pipe.recv()
        if question == "run":
            start = time.perf_counter()
            result = run()
            pipe.send(time.perf_counter() - start)
        elif question == "memory":
            pipe.send(_peak_mib())
        else:
            pipe.send(result)


def _peak_mib() -> float | None:
    try:
        import resource  # not on Windows
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _runner(variant: Variant, path: str, seen: Pixels, threads: int) -> Callable[[], Pixels]:
    options = dict(variant.options)
    if variant.backend == "peak":
        return _matrix_product(options["precision"], threads)
    if variant.backend in ("torch", "eager"):
        import torch

        torch.set_num_threads(threads)
        if variant.backend == "eager":
            return _eager(path, seen)
        _tune_malloc()
    else:
        options["threads"] = threads
    restorer = backends.learned(path, variant.backend, **options)
    frames = [Frames(seen[None], contrast=UNIT)]
    return lambda: restorer(frames)[0].counts


def _eager(path: str, seen: Pixels) -> Callable[[], Pixels]:
    import torch

    from refocal.models import torch_weights

    net = torch_weights.load(path)
    image = torch.from_numpy(seen)[None, None]

    def run() -> Pixels:
        with torch.inference_mode():
            restored: Pixels = net(image)[0, 0].numpy()
        return restored

    return run


def _tune_malloc() -> None:
    """Let glibc keep freed memory; without it eager PyTorch spends most of its time on page faults."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL("libc.so.6").mallopt
        for name, value in ((-4, 0), (-1, 2**31 - 1), (-2, 256 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            mallopt(name, value)


_PEAK_EDGE = 4096
PEAK_FLOP = 2 * _PEAK_EDGE**3
"""Arithmetic of one run of the matrix product that stands for the machine's peak."""


def _matrix_product(precision: str, threads: int) -> Callable[[], Pixels]:
    import openvino
    from openvino import opset13 as op

    shape = [_PEAK_EDGE, _PEAK_EDGE]
    rng = np.random.default_rng(0)
    left = op.parameter(shape, np.float32)
    product = op.matmul(left, op.constant(rng.random(shape, np.float32)), False, False)
    settings = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
    compiled = openvino.Core().compile_model(openvino.Model([product], [left]), "CPU", settings)
    given = rng.random(shape, np.float32)
    return lambda: np.asarray(compiled([given])[0])


def _flop(path: Path, shape: tuple[int, ...]) -> float:
    """Return the floating-point operations of the graph's convolutions on an image, two per multiplication."""
    import openvino

    about = header.read(path)
    model = openvino.Core().read_model(header.onnx_bytes(path, about))
    m = about.reach.multiple
    cells = [-(-n // m) for n in shape]
    shapes = {"image": [1, about.channels, cells[0] * m, cells[1] * m], "share": [1, 1, *cells]}
    model.reshape({i.any_name: shapes[i.any_name] for i in model.inputs if i.any_name in shapes})
    total = 0.0
    for node in model.get_ops():
        kind = node.get_type_name()
        if kind in ("Convolution", "ConvolutionBackpropData"):
            at = node.output(0) if kind == "Convolution" else node.input(0)
            places = np.prod(list(at.get_shape())[2:], dtype=float)
            total += 2 * places * np.prod(list(node.input(1).get_shape()), dtype=float)
    return total


def _drawing(size: tuple[int, int]) -> tuple[Pixels, Pixels]:
    """Return a sharp drawing with edges at all angles, and the same softened by 1.5 px and noisy."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(0)
    field = gaussian_filter(rng.standard_normal(size), 6)
    grain = gaussian_filter(rng.standard_normal(size), 1)
    sharp = 0.6 - 0.35 * np.exp(-((field / (0.15 * field.std())) ** 2)) + 0.05 * grain / grain.std()
    seen = gaussian_filter(sharp, 1.5) + 0.02 * rng.standard_normal(size)
    return sharp.astype(np.float32), seen.astype(np.float32)


def _psnr(got: Pixels, truth: Pixels) -> float:
    return float(-10 * np.log10(np.mean((got.astype(np.float64) - truth) ** 2)))


def _installed(backend: str) -> bool:
    package = {"eager": "torch"}.get(backend) or backends.BACKENDS[backend]
    return importlib.util.find_spec(package) is not None
