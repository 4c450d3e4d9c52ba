"""Clusters: random kills of workers against a bit-identical volume, and scaling from one worker to two.

python benchmarks/cluster.py kills --kills 100
python benchmarks/cluster.py scaling
"""

import argparse
import hashlib
import os
import random
import shutil
import signal
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from refocal.blocks import Box
from refocal.cluster import Pool, spread, workers
from refocal.job import Job, Part
from refocal.store import store
from refocal.volume_formats import format_of
from refocal.volumes import Storage, begin, restore_volume, verify_volume
from refocal.voxels import VolumeInfo


def drawn(folder, shape, chunk):
    """Write a volume of smooth noise and return where."""
    rng = np.random.default_rng(0)
    counts = np.kron(rng.integers(1, 200, (shape[0], shape[1] // 8, shape[2] // 8), np.uint8), np.ones((1, 8, 8), "u1"))
    counts += rng.integers(0, 50, shape, np.uint8)
    place, form = store(folder / "in.zarr"), format_of("ome_zarr")
    form.create(place, [VolumeInfo(shape, counts.dtype, chunk, chunk, (30.0, 4.0, 4.0))], {})
    form.open(place, write=True).write(Box((0, 0, 0), shape), counts)
    return place.path


def digest(volume):
    """Return the hash of all files of a volume, names included; the attributes name the job's time of nothing."""
    found = hashlib.sha256()
    for path in sorted(p for p in volume.rglob("*") if p.is_file() and p.suffix != ".partial"):
        found.update(path.relative_to(volume).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def kills(folder, count, seconds):
    """Kill a random worker every few seconds until `count` are dead, and finish."""
    given = drawn(folder, (16, 1024, 1024), (2, 64, 64))
    job, storage = Job(restorer=Part(kind="wiener"), gate=Part(kind="always")), Storage(block=(2, 64, 64))
    restore_volume(given, folder / "alone.zarr", job, storage)
    rng, pool, dead, runs = random.Random(0), Pool(workers=2, memory="1GiB"), 0, 0
    begun = time.perf_counter()
    while dead < count:
        # Each run of the command meets kills until it is through; a fresh output then gives the rest something to do.
        runs += 1
        out = folder / f"out{runs}.zarr"
        work, over = begin(given, out, job, storage), threading.Event()
        with workers(pool) as client:

            def killer(client=client, over=over):
                nonlocal dead
                while dead < count and not over.wait(rng.uniform(0.2, seconds)):
                    pids = [n.pid for n in list(client.cluster.workers.values()) if n.pid]
                    if pids:
                        os.kill(rng.choice(pids), signal.SIGKILL)
                        dead += 1

            thread = threading.Thread(target=killer, daemon=True)
            thread.start()
            summary = spread(work, client, pool)
            over.set()
            thread.join()
        wrong = len(verify_volume(out).failed)
        same = digest(out) == digest(folder / "alone.zarr")
        print(
            f"run {runs}: {dead} kills so far, failed {len(summary.failed)}, verify names {wrong}, identical: {same}",
            flush=True,
        )
    print(f"{dead} kills in {time.perf_counter() - begun:.0f} s")


def scaling(folder, model):
    """Time the same volume on one worker and on two, started before the clock."""
    given = drawn(folder, (8, 1024, 1024), (1, 512, 512))
    job = Job(model=model, gate=Part(kind="always"))
    for number in (1, 2, 1, 2):
        pool, out = Pool(workers=number, threads=1), folder / f"out{number}.zarr"
        work = begin(given, out, job, Storage(block=(1, 512, 512), levels=1), overwrite=out.exists())
        with workers(pool) as client:
            client.run(_warm, str(out))
            start = time.perf_counter()
            summary = spread(work, client, pool)
            seconds = time.perf_counter() - start
        print(f"{number} worker(s): {seconds:.1f} s, {summary.pixels / 1e6 / seconds:.2f} Mpx/s", flush=True)
        shutil.rmtree(out)
        shutil.rmtree(f"{out}.refocal")


def _warm(out):
    from refocal import cluster
    from refocal.volumes import join

    cluster.joined(out, join(out).ledger.sha256)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("kills", "scaling"))
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0, help="at most so long between two kills")
    parser.add_argument("--model", default="gran-em")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="refocal-cluster-"))
    try:
        kills(folder, args.kills, args.seconds) if args.what == "kills" else scaling(folder, args.model)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
