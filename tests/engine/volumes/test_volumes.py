"""Volumes from end to end: formats, resuming, shards, kills, stores that fail, and contexts over whole sections."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from uuid import uuid4

import numpy as np
import pytest
from typer.testing import CliRunner

from refocal.core.blocks import Box
from refocal.core.errors import UsageError
from refocal.core.storage import store
from refocal.core.values import Contrast, Frames, Grade, Reach, Restored
from refocal.core.volume import VolumeInfo
from refocal.engine.job import Job, Part
from refocal.engine.oom_batching import OomBatching
from refocal.engine.volumes import Storage, begin, restore_volume, verify_volume
from refocal.engine.volumes.block_grid import blocks
from refocal.engine.volumes.endpoints import open_input
from refocal.engine.volumes.pyramid import Downsampled, levels
from refocal.engine.volumes.section_contrast import SectionContrast
from refocal.parts.metrics.seam import seam
from refocal.parts.volume_formats import format_of, open_volume
from refocal.ui import cli

pytest.importorskip("zarr")
fsspec = pytest.importorskip("fsspec")
memory = pytest.importorskip("fsspec.implementations.memory")

SHAPE = (5, 90, 130)
UNSHARP = Job(restorer=Part(kind="unsharp", options={"sigma_px": 1.0}), gate=Part(kind="always"))
COPY = Job(restorer=Part(kind="identity"), gate=Part(kind="always"))


def counts_of(rng, dtype="uint8", shape=SHAPE):
    smooth = np.kron(rng.random((shape[0], shape[1] // 10, shape[2] // 10)), np.ones((1, 10, 10)))
    return (1 + smooth * 200 + rng.random(shape) * 40).astype(dtype)


def volume_at(where, counts, *, chunk=(2, 32, 32), **more):
    place = store(where)
    info = VolumeInfo(counts.shape, counts.dtype, chunk, more.pop("unit", chunk), (40.0, 4.0, 4.0), **more)
    format_of("ome_zarr").create(place, [info], {})
    format_of("ome_zarr").open(place, write=True).write(Box((0, 0, 0), counts.shape), counts)
    return where


def voxels(where, level=0):
    volume = open_input(where) if not level else open_volume(store(where), level)
    return volume.read(Box((0, 0, 0), volume.info.shape))


def sections_alone(counts, restorer, contrast=None):
    contrast = contrast or Contrast(0, 255)
    return np.stack([restorer([Frames(plane[None], contrast=contrast)])[0].counts for plane in counts])


@pytest.fixture
def given(tmp_path, rng):
    return volume_at(tmp_path / "in.zarr", counts_of(rng))


@pytest.mark.parametrize("name", ["out.zarr", "out.precomputed", "out.h5", "out.mrc", "out.tif", "memory"])
def test_every_output_holds_what_sections_alone_would(name, given, tmp_path):
    out = f"memory://{uuid4().hex}/v.zarr" if name == "memory" else tmp_path / name
    summary = restore_volume(given, out, UNSHARP)
    assert summary.counts["restored"] == 5
    expected = sections_alone(voxels(given), UNSHARP.restorer.make("restorers"))
    np.testing.assert_array_equal(voxels(out), expected)
    info = open_input(out).info
    assert info.dtype == np.uint8
    assert info.voxel_nm[1:] == (4.0, 4.0)
    assert info.voxel_nm[0] == 40.0 or name == "out.tif"
    assert not verify_volume(out).failed
    grades = open_volume(store(f"{out}.refocal/grades.zarr"))
    assert grades.info.shape == (5, 1, 1)
    assert (voxels(f"{out}.refocal/grades.zarr") == 1).all()
    assert restore_volume(given, out, UNSHARP).counts["skipped"] == 5
    lines = (store(f"{out}.refocal").read("log.jsonl") or b"").splitlines()
    assert json.loads(lines[0])["job"]["restored_by"] == "Unsharp"
    assert all(len(json.loads(line)["output_sha256"]) == 64 for line in lines[1:])


def test_stacks_are_volumes_when_the_output_is_one(tmp_path, rng):
    from refocal.core.values import ImageInfo
    from refocal.parts.formats import create_image

    counts = counts_of(rng)
    create_image(tmp_path / "s.mrc", list(counts), ImageInfo(counts.shape, counts.dtype, 4.0))
    run = CliRunner()
    cli.load()
    args = ["restore", str(tmp_path / "s.mrc"), "-o", str(tmp_path / "v.zarr"), "--restorer", "identity", "--gate"]
    done = run.invoke(cli.app, [*args, "always", "--volume", "chunk=1x32x32,section_nm=30", "--quiet"])
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(voxels(tmp_path / "v.zarr"), counts)
    assert open_input(tmp_path / "v.zarr").info.voxel_nm == (30.0, 4.0, 4.0)
    assert run.invoke(cli.app, ["verify", str(tmp_path / "v.zarr")]).exit_code == 0


def test_an_output_with_the_name_of_an_image_is_one_file_and_an_old_folder_stays_a_folder(tmp_path, rng, inside):
    from refocal.core.values import ImageInfo
    from refocal.parts.formats import create_image, open_image

    counts = counts_of(rng)
    create_image(tmp_path / "s.tif", list(counts), ImageInfo(counts.shape, counts.dtype, 4.0))
    (tmp_path / "in").mkdir()
    options = ("--restorer", "identity", "--gate", "always")
    for name in ("one.mrc", "one file.tif"):
        inside("restore", tmp_path / "s.tif", "-o", tmp_path / name, *options)
        with open_image(tmp_path / name) as image:
            np.testing.assert_array_equal([image.read(page) for page in range(len(counts))], counts)
        inside("verify", tmp_path / name)
    (tmp_path / "folder.tif").mkdir()
    inside("restore", tmp_path / "s.tif", "-o", tmp_path / "folder.tif", *options)
    assert (tmp_path / "folder.tif" / "s.tif").is_file()
    said = inside("restore", tmp_path / "s.tif", "-o", tmp_path / "one.png", *options, code=1)
    assert f"{tmp_path}/one.png: this format holds one page" in said.err.splitlines()[-1]
    create_image(tmp_path / "in" / "t.tif", [counts[0]], ImageInfo(counts[:1].shape, counts.dtype, 4.0))
    for several in ((tmp_path / "in",), (tmp_path / "s.tif", tmp_path / "in" / "t.tif")):
        said = inside("restore", *several, "-o", tmp_path / "new.zarr", *options, code=2)
        assert "name of one volume" in said.line
        assert not (tmp_path / "new.zarr").exists()
    (tmp_path / "hollow.zarr").mkdir()
    said = inside("restore", tmp_path / "hollow.zarr", "-o", tmp_path / "new.zarr", *options, code=1)
    assert "hollow.zarr: there is no volume" in said.line


def test_version_axes_shards_and_display_of_the_input_are_kept(tmp_path, rng):
    shown = {"omero": {"channels": [{"window": {"start": 10, "end": 200, "min": 0, "max": 255}, "color": "FFFFFF"}]}}
    kept = {"axes": "yxz", "version": "0.5", "unit": (4, 64, 64), "metadata": shown}
    given = volume_at(tmp_path / "in.zarr", counts_of(rng), **kept)
    restore_volume(given, tmp_path / "out.zarr", COPY)
    before, after = open_input(given).info, open_input(tmp_path / "out.zarr").info
    assert (after.axes, after.version, after.unit, after.metadata) == ("yxz", "0.5", (4, 64, 64), shown)
    assert before.voxel_nm == after.voxel_nm
    np.testing.assert_array_equal(voxels(tmp_path / "out.zarr"), voxels(given))


def test_chunks_are_decoded_once_for_the_next_level(tmp_path, rng, monkeypatch):
    given = open_input(volume_at(tmp_path / "in.zarr", counts_of(rng, shape=(8, 300, 410)), chunk=(8, 64, 64)))
    finest, coarser = levels(given.info, 2)
    boxes, real = [], given.read
    monkeypatch.setattr(given, "read", lambda box: (boxes.append(box), real(box))[1])
    (block,) = blocks(coarser, (8, 256, 256), Reach())
    half = Downsampled(given, coarser, [block]).read(block).counts
    whole = real(Box((0, 0, 0), finest.shape)).reshape(8, 150, 2, 205, 2)
    np.testing.assert_array_equal(half, np.rint(whole.mean((2, 4), dtype=np.float32)))
    assert all(a % n == 0 for box in boxes for a, n in zip(box.start, finest.chunk, strict=True))
    assert sum(np.prod(box.shape) for box in boxes) == np.prod(finest.shape)


def test_coarser_levels_are_means(tmp_path, rng):
    counts = counts_of(rng, shape=(3, 300, 410))
    given = volume_at(tmp_path / "in.zarr", counts, chunk=(2, 64, 64))
    restore_volume(given, tmp_path / "out.zarr", COPY, Storage(block=(2, 128, 192), levels=3))
    half, quarter = voxels(tmp_path / "out.zarr", 1), voxels(tmp_path / "out.zarr", 2)
    assert half.shape == (3, 150, 205)
    assert quarter.shape == (3, 75, 103)
    mean = counts.reshape(3, 150, 2, 205, 2).mean((2, 4))
    np.testing.assert_array_equal(half, np.rint(mean).astype(np.uint8))
    info = open_volume(store(tmp_path / "out.zarr"), 1).info
    assert info.voxel_nm == (40.0, 8.0, 8.0)
    assert info.offset_nm == (0.0, 2.0, 2.0)


@pytest.mark.parametrize("name", ["in.zarr", "in.precomputed"])
def test_chunks_that_suit_no_output_are_not_taken_over(name, tmp_path, rng):
    form, place = format_of("ome_zarr" if name == "in.zarr" else "precomputed"), store(tmp_path / name)
    counts, chunk = counts_of(rng), (1, 15, 30)
    form.create(place, [VolumeInfo(SHAPE, counts.dtype, chunk, chunk, (40.0, 4.0, 4.0))], {})
    form.open(place, write=True).write(Box((0, 0, 0), SHAPE), counts)
    restore_volume(place.path, tmp_path / f"out-{name}", COPY)
    assert open_input(tmp_path / f"out-{name}").info.chunk == SHAPE
    np.testing.assert_array_equal(voxels(tmp_path / f"out-{name}"), counts)


# What is asked for is checked first.


@pytest.mark.parametrize(
    ("storage", "says"),
    [
        (Storage(block=(2, 50, 64)), "along y; there 32 or 64 fit"),
        (Storage(block=(3, 64, 64)), "along z; there 2 or 4 fit"),
        (Storage(chunk=(2, 32, 32), shard=(4, 48, 64)), "whole chunks .* along y; there 32 or 64 fit"),
        (Storage(shard=(4, 64, 64), block=(4, 32, 64)), "whole shards .* there 64 fit"),
        (Storage(shard=(4, 64, 64), version="0.4"), "no shards"),
    ],
)
def test_blocks_that_are_not_whole_chunks_are_refused_with_numbers_that_fit(storage, says, given, tmp_path):
    with pytest.raises(UsageError, match=says):
        restore_volume(given, tmp_path / "out.zarr", COPY, storage)
    assert not (tmp_path / "out.zarr" / "0").exists()


def test_another_recipe_a_stranger_and_the_input_itself_are_refused(given, tmp_path):
    out = tmp_path / "out.zarr"
    restore_volume(given, out, COPY)
    with pytest.raises(UsageError, match=r"another job .*Identity -> Unsharp"):
        restore_volume(given, out, UNSHARP)
    with pytest.raises(UsageError, match="block"):
        restore_volume(given, out, COPY, Storage(block=(2, 32, 32)))
    restore_volume(given, out, UNSHARP, overwrite=True)
    assert not verify_volume(out).failed
    stranger = volume_at(tmp_path / "theirs.zarr", voxels(given))
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="not made by refocal"):
            restore_volume(given, stranger, COPY, overwrite=overwrite)
    for place in (given, given / "inside.zarr", tmp_path):
        with pytest.raises(UsageError, match="input"):
            restore_volume(given, place, COPY)
    with pytest.raises(UsageError, match="shard 4 of 4"):
        restore_volume(given, tmp_path / "o.zarr", COPY, shard=(4, 4))
    with pytest.raises(UsageError, match="begun"):
        verify_volume(tmp_path / "absent.zarr")


def test_what_was_asked_for_wrongly_is_no_other_job(given, tmp_path):
    out, storage = tmp_path / "out.zarr", Storage(shard=(4, 64, 64))
    with pytest.raises(UsageError, match=r"no shards; ask for 0\.5"):
        restore_volume(given, out, COPY, storage)
    assert not restore_volume(given, out, COPY, Storage(shard=(4, 64, 64), version="0.5")).failed


def test_a_damaged_ledger_is_named_and_can_be_begun_anew(given, tmp_path, inside):
    out = tmp_path / "out.zarr"
    restore_volume(given, out, COPY)
    (tmp_path / "out.zarr.refocal" / "job.json").write_text("{")
    asked = ["restore", given, "-o", out, "--restorer", "identity", "--gate", "always"]
    assert "begin with --overwrite" in inside(*asked, code=1).line
    inside(*asked, "--overwrite")
    assert not verify_volume(out).failed


@pytest.mark.parametrize("name", ["out.zarr", "out.precomputed"])
def test_an_output_that_was_deleted_beside_its_ledger_is_named(name, given, tmp_path):
    out = tmp_path / name
    restore_volume(given, out, COPY)
    shutil.rmtree(out)
    for ask in (lambda: restore_volume(given, out, COPY), lambda: verify_volume(out)):
        with pytest.raises(UsageError, match=f"{name} is gone, but .*pass --overwrite"):
            ask()
    restore_volume(given, out, COPY, overwrite=True)
    assert not verify_volume(out).failed


def test_an_output_that_is_gone_on_with_is_not_listed(given):
    listed = []

    class Listed(memory.MemoryFileSystem):
        protocol = "listed"

        def ls(self, path, detail=True, **more):
            listed.append(path)
            return super().ls(path, detail, **more)

    fsspec.register_implementation("listed", Listed, clobber=True)
    out = f"listed://{uuid4().hex}/out.zarr"
    restore_volume(given, out, COPY, Storage(block=(2, 32, 32)))
    listed.clear()
    begin(given, out, COPY, Storage(block=(2, 32, 32)))
    assert not [path for path in listed if path.strip("/").count("/") > 1]
    assert next(store(out).names(), None)
    assert len(listed) < 10


def test_levels_of_precomputed_volumes_without_a_voxel_size_do_not_share_their_chunks(tmp_path, rng):
    from refocal.core.values import ImageInfo
    from refocal.parts.formats import create_image

    counts = counts_of(rng, shape=(3, 600, 610))
    create_image(tmp_path / "s.mrc", list(counts), ImageInfo(counts.shape, counts.dtype, None))
    for name in ("out.precomputed", "out.zarr"):
        out = tmp_path / name
        restore_volume(tmp_path / "s.mrc", out, COPY, Storage(chunk=(3, 64, 64)))
        np.testing.assert_array_equal(voxels(out), counts)
        assert not verify_volume(out).failed
    scales = json.loads((tmp_path / "out.precomputed" / "info").read_text())["scales"]
    assert [scale["resolution"] for scale in scales] == [[1, 1, 1], [2, 2, 1], [4, 4, 1]]
    made = json.loads((tmp_path / "out.zarr" / ".zattrs").read_text())["multiscales"][0]["datasets"]
    steps = [{next(iter(set(step) - {"type"})): step for step in d["coordinateTransformations"]} for d in made]
    assert [step["scale"]["scale"] for step in steps] == [[1, 1, 1], [1, 2, 2], [1, 4, 4]]
    assert steps[2]["translation"]["translation"] == [0, 1.5, 1.5]


# What is done stays done; what is wrong is found.


@pytest.mark.parametrize("name", ["out.zarr", "out.precomputed"])
def test_verify_names_what_differs_and_restoring_mends_it(name, given, tmp_path):
    out = tmp_path / name
    storage = Storage(block=(2, 32, 64), version="0.5" if name == "out.zarr" else None)
    restore_volume(given, out, UNSHARP, storage)
    before = voxels(out)
    first = out / ("0/c/0/0/0" if name == "out.zarr" else "4_4_40/0-32_0-32_0-2")
    first.unlink()
    volume = format_of("ome_zarr" if name == "out.zarr" else "precomputed").open(store(out), write=True)
    volume.write(Box((4, 64, 128), SHAPE), np.zeros((1, 26, 2), np.uint8))
    found = verify_volume(out, forget=True)
    assert {key.partition(":")[0] for key in found.failed} == {"0@0,0,0", "0@4,64,128"}
    again = restore_volume(given, out, UNSHARP, storage)
    assert again.counts["restored"] == 3
    assert not verify_volume(out).failed
    np.testing.assert_array_equal(voxels(out), before)


@pytest.mark.parametrize("name", ["out.h5", "out.mrc"])
def test_a_damaged_file_is_written_again(name, given, tmp_path):
    out = tmp_path / name
    restore_volume(given, out, COPY)
    if name == "out.h5":
        import h5py

        with h5py.File(out, "r+") as file:
            file["volumes/raw"][0, 0, 0] ^= 255
    else:
        out.write_bytes(out.read_bytes()[:-1] + bytes([out.read_bytes()[-1] ^ 255]))
    assert verify_volume(out, forget=True).failed
    restore_volume(given, out, COPY)
    assert not verify_volume(out).failed


def test_levels_that_were_made_of_a_damaged_block_are_made_again(tmp_path, rng):
    counts = counts_of(rng, shape=(2, 300, 410))
    given, out = volume_at(tmp_path / "in.zarr", counts, chunk=(2, 64, 64)), tmp_path / "out.zarr"
    storage = Storage(block=(2, 64, 64), levels=3)
    first, *_ = begin(given, out, COPY, storage).stages()
    first.run(first.blocks())
    lost = next((out / "0").rglob("3/5"))
    lost.unlink()
    restore_volume(given, out, COPY, storage)
    assert (voxels(out, 2)[:, 50:60, 82:92] == 0).all()
    assert verify_volume(out, forget=True).failed == ("0@0,192,320", "1@0,64,128", "2@0,0,64")
    restore_volume(given, out, COPY, storage)
    assert not verify_volume(out).failed
    restore_volume(given, tmp_path / "whole.zarr", COPY, storage)
    for level in range(3):
        np.testing.assert_array_equal(voxels(out, level), voxels(tmp_path / "whole.zarr", level))


@pytest.mark.parametrize("count", [2, 3])
def test_shards_together_make_the_whole_volume(count, given, tmp_path):
    storage = Storage(block=(2, 32, 64))
    restore_volume(given, tmp_path / "whole.zarr", UNSHARP, storage)
    for index in reversed(range(count)):
        restore_volume(given, tmp_path / "parts.zarr", UNSHARP, storage, shard=(index, count))
    assert not verify_volume(tmp_path / "parts.zarr").failed
    for path in (tmp_path / "whole.zarr").rglob("*"):
        if path.is_file() and path.name not in (".zattrs", "zarr.json"):
            assert (
                path.read_bytes() == (tmp_path / "parts.zarr" / path.relative_to(tmp_path / "whole.zarr")).read_bytes()
            )


@pytest.mark.parametrize("name", ["out.zarr", "out.precomputed"])
def test_voxels_are_on_the_disk_before_their_record(name, given, tmp_path, monkeypatch):
    synced, real = [], os.fsync

    def sync(file):
        synced.append(os.readlink(f"/proc/self/fd/{file}"))
        real(file)

    if not Path("/proc/self/fd").exists():
        pytest.skip("names of open files are only known on Linux")
    monkeypatch.setattr(os, "fsync", sync)
    restore_volume(given, tmp_path / name, COPY, Storage(block=(2, 32, 32)))
    kinds = [
        "record" if "/blocks/" in path else "voxels"
        for path in synced
        if re.search(r"/blocks/|/out\.\w+/[\d_]+/\.?\d", path)
    ]
    assert kinds == 45 * ["voxels", "record"]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
def test_tasks_of_an_array_job_may_all_begin_at_once(version, given, tmp_path):
    together = Barrier(6)

    def task(out):
        together.wait()
        return begin(given, out, COPY, Storage(version=version, levels=3))

    with ThreadPoolExecutor(6) as pool:
        for number in range(4):
            begun = list(pool.map(task, 6 * [tmp_path / f"{number}.zarr"]))
            assert len({work.ledger.sha256 for work in begun}) == 1
    assert open_volume(store(tmp_path / "0.zarr"), 2).info.version == version


def test_a_killed_process_leaves_nothing_wrong(given, tmp_path):
    storage, out = Storage(block=(2, 32, 32)), tmp_path / "out.zarr"
    code = (
        "import sys, time; from refocal.engine.job import *; from refocal.engine.volumes import *\n"
        "from refocal.core.storage import *\n"
        "restore_volume(sys.argv[1], sys.argv[2], Job(restorer=Part(kind='unsharp', options={'sigma_px': 1.0}),\n"
        " gate=Part(kind='always')), Storage(block=(2, 32, 32)), progress=lambda *_: time.sleep(0.01))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(given), str(out)])
    blocks, begun = tmp_path / "out.zarr.refocal" / "blocks", time.monotonic()
    while process.poll() is None and time.monotonic() - begun < 60 and len(list(blocks.rglob("*.json"))) < 3:
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    summary = restore_volume(given, out, UNSHARP, storage)
    assert summary.counts["skipped"] > 0
    assert not verify_volume(out).failed
    restore_volume(given, tmp_path / "whole.zarr", UNSHARP, storage)
    np.testing.assert_array_equal(voxels(out), voxels(tmp_path / "whole.zarr"))


def test_chunks_that_are_not_there_are_no_content_and_counted(given, tmp_path):
    (given / "0" / "0" / "0" / "0").unlink()
    (given / "0" / "2").rename(tmp_path / "lost")
    restore_volume(given, tmp_path / "out.zarr", UNSHARP, Storage(block=(2, 32, 32)))
    records = [json.loads(p.read_text()) for p in (tmp_path / "out.zarr.refocal" / "blocks").rglob("*.json")]
    slab = [r for r in records if r["key"] in {f"0@4,{y},{x}" for y in range(0, 90, 32) for x in range(0, 130, 32)}]
    assert len(slab) == 15
    assert all(r["sections"][0]["decision"] == "no_content" and r["missing_chunks"] == 1 for r in slab)
    assert sum(r["missing_chunks"] for r in records) == 16
    assert not list((tmp_path / "out.zarr" / "0").glob("2/*/*"))
    assert voxels(f"{tmp_path}/out.zarr.refocal/grades.zarr")[4].tolist() == [[4] * 5] * 3


def test_a_damaged_chunk_fails_its_block_alone(given, tmp_path):
    (given / "0" / "1" / "1" / "2").write_bytes(b"not a chunk")
    summary = restore_volume(given, tmp_path / "out.zarr", COPY, Storage(block=(2, 32, 32)))
    assert sorted(summary.failed) == ["0@2,32,64#0", "0@2,32,64#1"]
    assert summary.counts["restored"] == 5 * 15 - 2
    (failed,) = verify_volume(tmp_path / "out.zarr").failed[:1]
    assert failed == "0@2,32,64"


# Stores that fail.


class Flaky(memory.MemoryFileSystem):
    """Every tenth write fails, as object stores do; below `broken`, every one does."""

    protocol = "flaky"
    store, pseudo_dirs, writes = {}, [""], 0

    def pipe_file(self, path, value, mode="overwrite", **_):
        Flaky.writes += 1
        if "readonly" in path:
            raise PermissionError(13, "Permission denied")
        if Flaky.writes % 10 == 0 or ("broken" in path and "/0/0/" in path):
            raise OSError(5, "Input/output error")
        super().pipe_file(path, value, mode=mode)


fsspec.register_implementation("flaky", Flaky, clobber=True)


def test_a_store_that_fails_on_every_tenth_write(given, tmp_path):
    before, out = Flaky.writes, f"flaky://{uuid4().hex}/out.zarr"
    summary = restore_volume(given, out, UNSHARP, Storage(block=(2, 32, 32)))
    assert not summary.failed
    assert Flaky.writes - before > 100
    assert not verify_volume(out).failed
    restore_volume(given, tmp_path / "whole.zarr", UNSHARP)
    np.testing.assert_array_equal(voxels(out), voxels(tmp_path / "whole.zarr"))


def test_a_store_that_takes_some_blocks_never_and_one_that_is_read_only(given, monkeypatch):
    monkeypatch.setattr("refocal.core.storage._WAIT_SECONDS", 0.0)
    out = f"flaky://broken-{uuid4().hex}/out.precomputed"
    errors = []
    show = lambda event, _: errors.append(event["error"]) if event["error"] else None  # noqa: E731
    summary = restore_volume(
        given, f"flaky://broken-{uuid4().hex}/out.zarr", COPY, Storage(block=(2, 32, 32)), progress=show
    )
    assert summary.failed
    assert summary.counts["restored"] > 0
    assert all("Input/output error" in error and "\n" not in error for error in errors)
    with pytest.raises(UsageError, match="Permission denied; choose another place"):
        restore_volume(given, out.replace("broken", "readonly"), COPY)


class NotAnswering(memory.MemoryFileSystem):
    """A file system whose package has errors of its own, as those of S3 have."""

    protocol = "notanswering"

    class NoAnswerError(Exception):
        """Not an OSError."""

    def _info(self, *_, **__):
        raise self.NoAnswerError("Could not connect\nto the endpoint")

    exists = info = cat_file = pipe_file = find = _info


fsspec.register_implementation("notanswering", NotAnswering, clobber=True)


def test_a_store_that_does_not_answer_is_one_line(given, inside, monkeypatch):
    monkeypatch.setattr("refocal.core.storage._WAIT_SECONDS", 0.0)
    for arguments in (["info"], ["verify"], ["restore", given, "-o"]):
        result = inside(*arguments, "notanswering://bucket/v.zarr", code=1)
        assert result.line.startswith("refocal: notanswering://bucket/v.zarr"), result.err
        assert result.line.endswith(": Could not connect to the endpoint")


def test_a_worker_that_runs_out_of_memory_halves_its_batch_once_for_all(given, tmp_path):
    asked = []

    class Small:
        reach = Reach()

        def __call__(self, batch, /):
            asked.append(len(batch))
            if len(batch) > 2:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
            return [Restored(frames.image.copy(), contrast=frames.contrast) for frames in batch]

    frugal = OomBatching(Small())
    frames = Frames(np.zeros((1, 8, 8), np.uint8))
    assert len(frugal([frames] * 8)) == 8
    assert asked == [8, 4, 2, 2, 2, 2]
    assert len(frugal([frames] * 8)) == 8
    assert max(asked[6:]) == 2
    summary = restore_volume(given, tmp_path / "out.zarr", COPY.model_copy(update={"batch": 8}), restorer=Small())
    assert summary.counts["restored"] == 5
    with pytest.raises(ValueError, match="other"):
        OomBatching(lambda_of(ValueError("other")))([frames] * 2)


def lambda_of(error):
    class Raising:
        reach = Reach()

        def __call__(self, batch, /):
            raise error

    return Raising()


class OneFails:
    """Sees sections of 320 x 320 in two blocks' depth; the first time, the third section is too much for it."""

    reach = Reach()

    def __init__(self):
        self.left = 1

    def __call__(self, batch, /):
        if self.left and any(frames.image[0, 0] == 3 for frames in batch):
            self.left -= len(batch) == 1
            raise ValueError("the third section")
        return [Restored(frames.image, contrast=frames.contrast) for frames in batch]


def test_a_large_batch_of_blocks_that_are_half_kept_is_done_whole(tmp_path, rng, monkeypatch):
    class OddRows:
        def __call__(self, frames, /):
            return Grade("keep" if frames.image[0, 0] % 2 else "restore", "")

    counts = counts_of(rng, shape=(2, 320, 320))
    counts[0, ::16, ::16], counts[1, ::16, ::16] = 1, 2
    given = volume_at(tmp_path / "in.zarr", counts, chunk=(2, 16, 16))
    monkeypatch.setattr("refocal.parts.gates.always.Always.__call__", lambda _, frames: OddRows()(frames))
    job = COPY.model_copy(update={"batch": 64})
    summary = restore_volume(given, tmp_path / "out.zarr", job, Storage(block=(2, 16, 16), levels=1))
    assert (summary.counts["restored"], summary.counts["kept"]) == (400, 400)
    assert not verify_volume(tmp_path / "out.zarr").failed


def test_a_block_that_failed_is_recorded_once_when_it_is_done_again(tmp_path, rng):
    counts = counts_of(rng, shape=(6, 40, 40))
    counts[:, 0, 0] = np.arange(1, 7)
    given = volume_at(tmp_path / "in.zarr", counts, chunk=(6, 40, 40))
    work = begin(given, tmp_path / "out.zarr", COPY, restorer=OneFails())
    (stage,) = work.stages()
    assert stage.run(stage.blocks()).failed == ("0@0,0,0#2",)
    assert work.ledger.record("0@0,0,0") is None
    assert not stage.run(stage.blocks()).failed
    assert [found["section"] for found in work.ledger.record("0@0,0,0")["sections"]] == [0, 1, 2, 3, 4, 5]


def test_each_chunk_of_every_level_is_written_once(tmp_path, rng):
    given = volume_at(tmp_path / "in.zarr", counts_of(rng, shape=(2, 300, 410)))
    written = []

    class Counting(memory.MemoryFileSystem):
        protocol = "counting"

        def pipe_file(self, path, value, mode="overwrite", **_):
            written.append(path.partition("out.zarr/")[2])
            super().pipe_file(path, value, mode=mode)

    fsspec.register_implementation("counting", Counting, clobber=True)
    restore_volume(given, f"counting://{uuid4().hex}/out.zarr", COPY, Storage(block=(2, 128, 128)))
    chunks = [path for path in written if re.fullmatch(r"\d(/\d+){3}", path)]
    assert len(chunks) == len(set(chunks)) == 10 * 13 + 5 * 7


# Contrast and context belong to sections, not to blocks.


def test_contrast_is_that_of_the_section(tmp_path, rng):
    counts = counts_of(rng, "uint16") * np.arange(1, 6, dtype=np.uint16)[:, None, None] * 10
    given = open_input(volume_at(tmp_path / "in.zarr", counts))
    found = SectionContrast(given)
    for z in range(5):
        low, high = np.percentile(counts[z], (0.1, 99.9))
        assert found.of(z).low == pytest.approx(low, rel=0.05)
        assert found.of(z).high == pytest.approx(high, rel=0.05)
    assert SectionContrast(given, Contrast(3, 4)).of(2) == Contrast(3, 4)


@pytest.mark.parametrize(("shape", "block"), [((2, 99, 95), (2, 32, 64)), ((3, 64, 96), (2, 64, 48))])
def test_nets_give_what_they_give_on_whole_sections(shape, block, tmp_path, rng):
    torch = pytest.importorskip("torch")
    from refocal.parts.nets.edsr import EDSR
    from refocal.parts.nets.gran import GRAN
    from refocal.parts.restorers.torch_model import TorchModel

    torch.manual_seed(3)
    y, x = np.mgrid[: shape[1], : shape[2]]
    plane = rng.random(shape) * (y / shape[1]) + (x > shape[2] / 2)
    given = volume_at(tmp_path / "in.zarr", plane.astype(np.float32), chunk=(2, 16, 16))
    for cls in (GRAN, EDSR):
        net = cls(channels=1, blocks=2, width=8).eval()
        if cls is GRAN:
            torch.nn.init.normal_(net.attention.out.weight, 0, 3)
            torch.nn.init.normal_(net.attention.phi.weight, 0, 1)
        restorer = TorchModel(net, device="cpu", precision="f32")
        job = Job(gate=Part(kind="always"), contrast=(0.0, 1.0))
        expected = sections_alone(voxels(given), restorer, Contrast())
        out = tmp_path / f"{cls.__name__}.zarr"
        assert not restore_volume(given, out, job, Storage(block=block), restorer=restorer).failed
        got = voxels(out)
        assert np.abs(got - expected).max() < 1e-5
        assert abs(seam(got[0], voxels(given)[0], 32) - seam(expected[0], voxels(given)[0], 32)) < 1e-3
        with pytest.raises(UsageError, match="along y; there 16 or 32 fit"):
            restore_volume(given, tmp_path / "no.zarr", job, Storage(block=(2, 17, 32)), restorer=restorer)
