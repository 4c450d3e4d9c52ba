"""How fast a GPU restores tiles, from counts in the host's memory to counts in the host's memory.

    python benchmarks/gpu.py [--models gran-em student-em] [--size 1344x1560] [--tiles 64]

Every way in turn, round after round, medians: eager, CUDA graphs, torch.compile with CUDA graphs. Beside the rate
end to end stand that of the eager net alone (batches of four that stay on the device), the roofline (what the matrix
rate measured in the same run, and the bus, allow), the share of it that is reached end to end, and peak memory. A model
that does not ship is taken untrained: its speed is the same. Without a CUDA GPU: one line, exit code 2.
"""

import argparse
import statistics
import sys
import time

import numpy as np

BATCH = 4


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["gran-em", "student-em"])
    parser.add_argument("--size", default="1344x1560")
    parser.add_argument("--tiles", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true", help="leave torch.compile out")
    given = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print("no CUDA GPU: torch sees none here, so nothing was measured", file=sys.stderr)
        return 2
    height, width = (int(n) for n in given.size.split("x"))
    tiles = np.random.default_rng(0).integers(0, 256, (given.tiles, height, width), np.uint8)
    device = torch.device("cuda")
    flops, bus = matrix_rate(device, given.rounds), bus_rate(device, tiles, given.rounds)
    print(
        f"{torch.cuda.get_device_name()}, torch {torch.__version__}, {given.tiles} tiles of {height} x {width}, 8 bit"
    )
    print(
        f"bfloat16 matrix product of 8192^3: {flops / 1e12:.0f} TFLOP/s; pinned copies: {bus / 1e9:.1f} GB/s one way\n"
    )
    print("| model | way | Mpx/s end to end | Mpx/s net alone, eager | roofline Mpx/s | share | peak GiB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    ways = {"eager": {"graphs": False}, "graphs": {}, "compiled, graphs": {"compiled": True}}
    if given.no_compile:
        del ways["compiled, graphs"]
    for model in given.models:
        # The copies of the next batch run beside the arithmetic, so the slower of the two decides.
        roof = min(flops / flop_per_px(model), bus)
        for way, rate, alone, peak in measured(model, ways, tiles, device, given.rounds):
            print(
                f"| {model} | {way} | {rate / 1e6:.1f} | {alone / 1e6:.1f} | {roof / 1e6:.0f} | {rate / roof:.2f} "
                f"| {peak / 2**30:.2f} |",
                flush=True,
            )
    return 0


def measured(model, ways, tiles, device, rounds):
    """Yield (way, px/s end to end, px/s of the net alone, peak bytes); the ways take turns."""
    import torch

    from refocal.core.values import Contrast
    from refocal.parts.restorers._torch_cuda_pipeline import Pipeline

    contrasts = [Contrast(0, 255)] * len(tiles)
    nets = {way: network(model).to(device, memory_format=torch.channels_last) for way in ways}
    lines = {way: Pipeline(nets[way], device, half=True, **options) for way, options in ways.items()}
    image = torch.rand(BATCH, 1, *tiles.shape[1:], device=device).contiguous(memory_format=torch.channels_last)

    def only(net):
        with torch.inference_mode(), torch.autocast("cuda", torch.bfloat16):
            net(image)

    peaks, seconds, alone = {}, {way: [] for way in ways}, {way: [] for way in ways}
    for way, line in lines.items():
        torch.cuda.empty_cache()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        line(tiles, contrasts)  # compiles, captures
        peaks[way] = torch.cuda.max_memory_allocated() - before
    for _ in range(rounds):
        for way, line in lines.items():
            seconds[way].append(timed(lambda line=line: line(tiles, contrasts)))
            alone[way].append(timed(lambda net=nets[way]: only(net)) / BATCH)
    for way in ways:
        size = tiles[0].size
        yield way, tiles.size / statistics.median(seconds[way]), size / statistics.median(alone[way]), peaks[way]


def network(model):
    from refocal.core import registry
    from refocal.models import header, torch_weights

    if model in header.shipped():
        return torch_weights.load(header.find(model))
    options = {"gran-em": {"channels": 1, "image_residual": True}}.get(model, {})
    return registry.make("nets", model.removesuffix("-em"), **options).eval()


def flop_per_px(model):
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(model)(torch.zeros(1, 1, 128, 128))
    return counter.get_total_flops() / 128**2


def matrix_rate(device, rounds):
    import torch

    left, right = (torch.randn(8192, 8192, device=device, dtype=torch.bfloat16) for _ in range(2))
    torch.matmul(left, right)
    return 2 * 8192**3 / statistics.median(timed(lambda: torch.matmul(left, right)) for _ in range(4 * rounds))


def bus_rate(device, tiles, rounds):
    import torch

    here = torch.from_numpy(tiles).pin_memory()
    there = torch.empty_like(here, device=device)
    return tiles.size / statistics.median(timed(lambda: there.copy_(here, non_blocking=True)) for _ in range(rounds))


def timed(work):
    import torch

    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
