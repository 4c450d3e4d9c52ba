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
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from refocal.core.blocks import Box
from refocal.core.storage import store
from refocal.core.volume import VolumeInfo
from refocal.engine.job import Job, Part
from refocal.engine.volumes import Storage, begin, restore_volume, verify_volume
from refocal.engine.volumes.cluster import DesertedError, Pool, spread, workers
from refocal.parts.volume_formats import format_of


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
    """Return the hash of all files of a volume, names and attributes included; those hold the volume's own name."""
    found = hashlib.sha256()
    for path in sorted(p for p in volume.rglob("*") if p.is_file() and p.suffix != ".partial"):
        found.update(path.relative_to(volume).as_posix().encode() + b"\0" + path.read_bytes())
    return found.hexdigest()


def kills(folder, count, seconds):
    """Kill a random worker every few seconds until `count` are dead, and finish."""
    given = drawn(folder, (16, 1024, 1024), (2, 128, 128))
    job, storage = Job(restorer=Part(kind="wiener"), gate=Part(kind="always")), Storage(block=(2, 128, 128))
    alone = folder / "alone" / "out.zarr"
    restore_volume(given, alone, job, storage)
    pool, reaper, runs = Pool(workers=2, memory="1GiB"), Reaper(count, seconds), 0
    begun = time.perf_counter()
    while reaper.left:
        # Each run of the command meets kills until it is through; a fresh output then gives the rest something to do.
        runs, pools, before = runs + 1, 0, reaper.left
        out, summary = folder / f"run{runs}" / "out.zarr", None
        while summary is None:
            work, pools = begin(given, out, job, storage), pools + 1
            # As the command does: where Dask gave all local workers up, others are started.
            with suppress(DesertedError), workers(pool) as client, reaper.at(client):
                summary = spread(work, client, pool)
        wrong, same = len(verify_volume(out).failed), digest(out) == digest(alone)
        print(
            f"run {runs}: {before - reaper.left} kills, {pools} pools, failed {len(summary.failed)}, "
            f"verify names {wrong}, identical: {same}",
            flush=True,
        )
    print(f"{count} kills in {time.perf_counter() - begun:.0f} s")


class Reaper:
    """Kills workers that work, at random times."""

    def __init__(self, count, seconds):
        self.left, self._seconds, self._random = count, seconds, random.Random(0)

    @contextmanager
    def at(self, client):
        over = threading.Event()
        thread = threading.Thread(target=self._kill, args=(client, over), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _kill(self, client, over):
        while self.left and not over.wait(self._random.uniform(0.1, self._seconds)):
            known = set(client.scheduler_info()["workers"])
            pids = [n.pid for n in list(client.cluster.workers.values()) if n.pid and n.worker_address in known]
            if pids:
                os.kill(self._random.choice(pids), signal.SIGKILL)
                self.left -= 1


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
    from refocal.engine.volumes import cluster, join

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
