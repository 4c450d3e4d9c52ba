"""Volumes: memory and time per block of a 64-GiB volume, 2 GiB end to end, GRAN on a part, and its seams.

python benchmarks/volumes.py large              64 GiB, sparse, voxels made when they are read
python benchmarks/volumes.py dense              2 GiB on the disk, restored and verified
python benchmarks/volumes.py gran IMAGE ...     real images as sections: blocks against whole sections
"""

import argparse
import resource
import shutil
import tempfile
import time
from pathlib import Path

import fsspec
import numpy as np
from fsspec.spec import AbstractFileSystem

from refocal.core.blocks import Box
from refocal.core.storage import store
from refocal.core.values import Contrast, Frames
from refocal.core.volume import VolumeInfo
from refocal.engine.job import Job, Part
from refocal.engine.volumes import Storage, restore_volume, verify_volume
from refocal.parts.formats import open_image
from refocal.parts.metrics.seam import seam
from refocal.parts.volume_formats import format_of, open_volume

CHUNK = (16, 512, 512)
EVERY = 32


class Drawn(AbstractFileSystem):
    """Precomputed volumes whose chunks are made when they are read; all but one block in `EVERY` are not there."""

    protocol = "drawn"
    noise = np.random.default_rng(0).integers(1, 255, 1 << 24, np.uint8)

    def cat_file(self, path, **_):
        shape, _, name = self._strip_protocol(path).strip("/").partition("/")
        depth, height, width = (int(n) for n in shape.split("x"))
        if name == "info":
            scale = (
                f'{{"key":"a","size":[{width},{height},{depth}],"resolution":[4,4,30],"encoding":"raw",'
                f'"chunk_sizes":[[{CHUNK[2]},{CHUNK[1]},{CHUNK[0]}]]}}'
            )
            return f'{{"type":"image","data_type":"uint8","num_channels":1,"scales":[{scale}]}}'.encode()
        if not name.startswith("a/") or name.endswith(".gz"):
            raise FileNotFoundError(path)
        spans = [tuple(map(int, span.split("-"))) for span in name[2:].split("_")]
        (x, _), (y, _), (z, _) = spans
        if (z // 16 + y // 2048 + x // 2048) % EVERY:
            raise FileNotFoundError(path)
        size = int(np.prod([b - a for a, b in spans]))
        start = (x * 7 + y * 13 + z * 1009) % (self.noise.size - size)
        return self.noise[start : start + size].tobytes()

    def info(self, path, **_):
        return {"name": path, "size": len(self.cat_file(path)), "type": "file"}


fsspec.register_implementation("drawn", Drawn, clobber=True)


def large(folder, gib):
    """Restore a sparse volume and print memory and time per block, early and late."""
    depth = 16 * gib
    times = []
    begun = time.perf_counter()
    job = Job(restorer=Part(kind="unsharp"), gate=Part(kind="always"))
    storage = Storage(block=(16, 2048, 2048), levels=1)

    def note(event, _):
        if event["key"].endswith("#15"):
            times.append((time.perf_counter(), event["decision"]))

    summary = restore_volume(f"drawn://{depth}x8192x8192", folder / "out.zarr", job, storage, progress=note)
    seconds = np.diff([begun, *(t for t, _ in times)])
    restored = np.array([d == "restored" for _, d in times])
    size = depth * 8192**2 / 2**30
    print(f"{size:.0f} GiB in {len(times)} blocks, {restored.sum()} with voxels: {time.perf_counter() - begun:.0f} s")
    print(f"sections of blocks: { {k: n for k, n in summary.counts.items() if n} }")
    tenth = max(1, len(seconds) // 10)
    for name, some in (("first tenth", slice(None, tenth)), ("last tenth", slice(-tenth, None))):
        empty, full = seconds[some][~restored[some]], seconds[some][restored[some]]
        print(f"{name}: median {np.median(empty):.3f} s an empty block, {np.median(full):.2f} s a block with voxels")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def dense(folder, gib):
    """Write a dense volume, restore it, verify it."""
    shape = (64 * gib, 4096, 4096)
    place, form = store(folder / "in.zarr"), format_of("ome_zarr")
    form.create(place, [VolumeInfo(shape, np.dtype("u1"), CHUNK, (16, 2048, 2048), (30.0, 4.0, 4.0))], {})
    volume = form.open(place, write=True)
    smooth = np.kron(np.random.default_rng(1).integers(40, 200, (256, 256), np.uint8), np.ones((16, 16), np.uint8))
    for z in range(0, shape[0], 16):
        slab = np.stack([np.roll(smooth, z + n, 0) for n in range(16)]) ^ (Drawn.noise.reshape(4096, 4096) >> 5)
        volume.write(Box((z, 0, 0), (z + 16, *shape[1:])), slab)
    begun = time.perf_counter()
    job = Job(restorer=Part(kind="unsharp"), gate=Part(kind="always"))
    summary = restore_volume(folder / "in.zarr", folder / "out.zarr", job)
    middle = time.perf_counter()
    checked = verify_volume(folder / "out.zarr")
    size = np.prod(shape) / 2**30
    seconds = middle - begun
    print(f"{size:.1f} GiB in and out, unsharp: {seconds:.0f} s ({summary.pixels / 1e6 / seconds:.0f} Mpx/s)")
    print(f"verified in {time.perf_counter() - middle:.0f} s, {len(checked.failed)} blocks differ")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.2f} GiB")


def gran(folder, images, side, model):
    """Restore real sections in blocks and as a whole, and compare."""
    planes = []
    for path in images:
        with open_image(Path(path)) as image:
            planes.append(image.read()[:side, :side])
    counts = np.stack(planes)
    place, form = store(folder / "in.zarr"), format_of("ome_zarr")
    form.create(place, [VolumeInfo(counts.shape, counts.dtype, (1, 256, 256), (1, 256, 256))], {})
    form.open(place, write=True).write(Box((0, 0, 0), counts.shape), counts)
    job = Job(model=model, gate=Part(kind="always"))
    begun = time.perf_counter()
    summary = restore_volume(folder / "in.zarr", folder / "out.zarr", job, Storage(block=(1, 512, 512), levels=1))
    blocks = time.perf_counter() - begun
    got = open_volume(store(folder / "out.zarr")).read(Box((0, 0, 0), counts.shape))
    from refocal.engine.backends import learned

    whole = learned(model, whole_px=1 << 30)
    begun = time.perf_counter()
    contrast = Contrast.of(np.uint8)
    expected = [whole([Frames(plane[None], contrast=contrast)])[0].counts for plane in counts]
    alone = time.perf_counter() - begun
    unit = contrast.unit
    print(f"{model}: {counts.shape[0]} sections of {counts.shape[1]} x {counts.shape[2]}, blocks of 512 px")
    print(f"blocks {blocks:.1f} s ({summary.pixels / 1e6 / blocks:.2f} Mpx/s), whole sections {alone:.1f} s")
    for path, plane, a, b in zip(images, counts, got, expected, strict=True):
        away = np.abs(a.astype(int) - b)
        ratio = seam(unit(a), unit(plane), 512) / seam(unit(b), unit(plane), 512)
        print(
            f"{Path(path).name}: seam {seam(unit(a), unit(plane), 512):.4f}, of the whole section "
            f"{seam(unit(b), unit(plane), 512):.4f}, ratio {ratio:.4f}; differs at most {away.max()} counts, "
            f"in {100 * (away > 0).mean():.2f} % of pixels"
        )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("large", "dense", "gran"))
    parser.add_argument("images", nargs="*")
    parser.add_argument("--gib", type=int, help="size of the volume")
    parser.add_argument("--side", type=int, default=1536)
    parser.add_argument("--model", default="gran-em")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="refocal-volumes-"))
    try:
        if args.what == "large":
            large(folder, args.gib or 64)
        elif args.what == "dense":
            dense(folder, args.gib or 2)
        else:
            gran(folder, args.images, args.side, args.model)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
