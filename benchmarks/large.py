"""Measure time per pixel and peak memory against image size, each size in a process of its own.

    python benchmarks/large.py [--model gran-em] [--sizes 1024 2048 4096 8192 16384]

Above 4 Mi pixels images go through in two passes over tiles with an exact common context. The image is a small drawing
repeated, 8 bit; its counts and the result, 2 bytes a pixel, are part of the peak.
"""

import argparse
import multiprocessing
import resource
import sys
import time

import numpy as np


def measure(model: str, size: int) -> tuple[float, float, float]:
    """Return Mpx/s, seconds of processor time a Mpx, and the peak memory of this process in MiB."""
    from refocal.core.values import Contrast, Frames
    from refocal.engine.backends import learned
    from refocal.imaging.phantom import draw_section

    drawn = Contrast(0, 255).counts(draw_section((512, 512), 0), np.uint8)
    image = np.tile(drawn, (-(-size // 512), -(-size // 512)))[:size, :size]
    restorer = learned(model)
    restorer([Frames(drawn[None], contrast=Contrast(0, 255))])  # compiles
    start, busy = time.perf_counter(), time.process_time()
    restorer([Frames(image[None], contrast=Contrast(0, 255))])
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    mpx = image.size / 1e6
    # ru_maxrss is in KiB on Linux and in bytes on macOS.
    scale = 1 << 20 if sys.platform == "darwin" else 1 << 10
    return mpx / seconds, busy / mpx, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / scale


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="gran-em")
    parser.add_argument("--sizes", type=int, nargs="+", default=[1024, 2048, 4096, 8192, 16384])
    given = parser.parse_args()
    print("| size | Mpx/s | processor s/Mpx | peak MiB |\n|---|---|---|---|", flush=True)
    for size in given.sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            rate, busy, peak = pool.apply(measure, (given.model, size))
        print(f"| {size} x {size} | {rate:.3f} | {busy:.2f} | {peak:.0f} |", flush=True)
