"""Files as source and sink: names, bytes, resume, and what is refused before anything is done."""

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile

from refocal.core.errors import UnreadableError, UnsupportedError, UsageError, WriteError
from refocal.core.natural_order import natural
from refocal.core.values import Contrast, Grade, Reach, Restored
from refocal.engine import loop
from refocal.engine.tiles.listing import find_images
from refocal.engine.tiles.tiles import SCRATCH, TileSink, TileSource, check_output, estimate_contrast
from refocal.eventlog.log import Log, done, read_log
from refocal.parts.formats import open_image

JOB = {"model": "invert"}


class Invert:
    """255 - counts, and a list of what it saw."""

    reach = Reach()

    def __init__(self, kill_at=None):
        self.seen = 0
        self.kill_at = kill_at

    def __call__(self, batch):
        self.seen += len(batch)
        if self.kill_at is not None and self.seen > self.kill_at:
            raise KeyboardInterrupt
        return [Restored(255 - f.image) for f in batch]


def dark_is_kept(frames):
    return Grade("keep", "dark") if frames.image.mean() < 50 else Grade("restore", "bright")


def go(inputs, out, restorer=None, gate=None, carry="copy", contrast=None, batch=1):
    """One `refocal restore`: check, resume, run, log."""
    restorer = restorer or Invert()
    check_output(inputs, out)
    source = TileSource(inputs, contrast=contrast)
    with Log(out / "log.jsonl") as log:
        job = log.start(JOB)
        sink = TileSink(out, source, carry=carry, done=done(read_log(log.path), job), job_sha256=job)
        return loop.run(source, restorer, sink, gate=gate, log=log, batch=batch)


def image(rng, low=100, shape=(24, 32)):
    return rng.integers(low, low + 40, shape).astype(np.uint8)


def tree(folder):
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def outputs(out):
    return {name: digest for name, digest in tree(out).items() if not name.startswith(SCRATCH) and name != "log.jsonl"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Waiting for the disk is most of the time here, and proves nothing."""
    monkeypatch.setattr("os.fsync", lambda _: None)


@pytest.fixture
def raw(tmp_path, rng):
    """Two bright tiles, a dark one, a stack with a dark page, in two folders."""
    folder = tmp_path / "raw"
    (folder / "deep").mkdir(parents=True)
    tifffile.imwrite(folder / "t10.tif", image(rng), resolution=(1e6, 1e6), resolutionunit="CENTIMETER")
    tifffile.imwrite(folder / "t2.tif", image(rng))
    tifffile.imwrite(folder / "deep" / "dark.tif", image(rng, low=0))
    stack = np.stack([image(rng), image(rng, low=0), image(rng)])
    tifffile.imwrite(folder / "deep" / "stack.tif", stack, photometric="minisblack")
    return folder


def test_same_names_same_tree_kept_tiles_byte_for_byte_raw_untouched(raw, tmp_path):
    before = tree(raw)
    out = tmp_path / "out"
    summary = go([raw], out, gate=dark_is_kept)
    assert (summary.counts["restored"], summary.counts["kept"], summary.failed) == (4, 2, ())
    assert outputs(out).keys() == before.keys()
    assert outputs(out)["deep/dark.tif"] == before["deep/dark.tif"]
    assert tree(raw) == before
    with open_image(out / "t10.tif") as got, open_image(raw / "t10.tif") as given:
        assert got.info.pixel_nm == given.info.pixel_nm == pytest.approx(10.0)
        np.testing.assert_array_equal(got.read(), 255 - given.read())
    given, got = tifffile.imread(raw / "deep/stack.tif"), tifffile.imread(out / "deep/stack.tif")
    np.testing.assert_array_equal(got, np.stack([255 - given[0], given[1], 255 - given[2]]))


def test_events_name_the_output_and_its_hash(raw, tmp_path):
    out = tmp_path / "out"
    go([raw], out, gate=dark_is_kept)
    events = {e["key"]: e for e in read_log(out / "log.jsonl") if e["event"] == "tile"}
    event = events["t10.tif"]
    assert event["output_sha256"] == outputs(out)["t10.tif"]
    assert (event["height"], event["width"], event["mode"], event["page"]) == (24, 32, "uint8", 0)
    assert events["deep/stack.tif#1"]["path"] == "deep/stack.tif"
    assert events["deep/stack.tif#1"]["page"] == 1


@pytest.mark.parametrize("carry", ["copy", "skip"])
def test_second_run_redoes_nothing(raw, tmp_path, carry):
    out = tmp_path / "out"
    first = go([raw], out, gate=dark_is_kept, carry=carry)
    before, again = outputs(out), Invert()
    second = go([raw], out, restorer=again, gate=dark_is_kept, carry=carry)
    assert (second.counts["skipped"], again.seen) == (sum(first.counts.values()), 0)
    assert outputs(out) == before
    assert ("deep/dark.tif" in before) == (carry == "copy")


def test_outputs_that_were_lost_or_cut_are_redone(raw, tmp_path):
    out = tmp_path / "out"
    go([raw], out)
    whole = outputs(out)
    (out / "t2.tif").unlink()
    (out / "t10.tif").write_bytes((out / "t10.tif").read_bytes()[:-1])
    (out / "deep" / "stack.tif").unlink()
    assert go([raw], out).counts["restored"] == 5
    assert outputs(out) == whole


def test_another_job_is_not_trusted(raw, tmp_path):
    out = tmp_path / "out"
    go([raw], out)
    assert done(read_log(out / "log.jsonl"), "another") == {}


@pytest.mark.parametrize("kill_at", [0, 1, 3, 4, 5])
def test_killed_run_resumes_to_the_same_tree(raw, tmp_path, kill_at):
    out, reference = tmp_path / "out", tmp_path / "reference"
    go([raw], reference, gate=dark_is_kept)
    with pytest.raises(KeyboardInterrupt):
        go([raw], out, restorer=Invert(kill_at), gate=dark_is_kept) if kill_at < 4 else go([raw], out, Invert(kill_at))
    assert not list(out.rglob("*.part"))
    rest = Invert()
    resumed = go([raw], out, restorer=rest, gate=dark_is_kept if kill_at < 4 else None)
    assert rest.seen == (4 if kill_at < 4 else 6) - kill_at
    assert resumed.failed == ()
    if kill_at < 4:
        assert outputs(out) == outputs(reference)


KILLED = """
import os, signal, sys
from pathlib import Path
from refocal.engine import loop
from refocal.eventlog.log import Log
from refocal.engine.tiles.tiles import TileSink, TileSource, check_output
from refocal.core.values import Reach, Restored

raw, out, at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
replace, calls = os.replace, []

def dying(*args):
    calls.append(args)
    if len(calls) == at:
        os.kill(os.getpid(), signal.SIGKILL)  # the output is whole, but still has its .part name
    replace(*args)

os.replace = dying
check_output([raw], out)
source = TileSource([raw])
with Log(out / "log.jsonl") as log:
    job = log.start({"model": "invert"})
    sink = TileSink(out, source, job_sha256=job)
    loop.run(source, lambda batch: [Restored(255 - f.image) for f in batch], sink, log=log, batch=1)
"""


@pytest.mark.parametrize("at", [2, 5])
def test_killed_process_leaves_no_half_file_and_loses_one_block(raw, tmp_path, at):
    out, reference = tmp_path / "out", tmp_path / "reference"
    go([raw], reference)
    killed = subprocess.run([sys.executable, "-c", KILLED, raw, out, str(at)], check=False)
    assert killed.returncode == -9
    settled = sum(e["event"] == "tile" for e in read_log(out / "log.jsonl"))
    rest = Invert()
    assert go([raw], out, restorer=rest).failed == ()
    assert rest.seen == 6 - settled
    assert outputs(out) == outputs(reference)
    assert not list(out.rglob("*.part"))


def test_stack_that_was_written_but_not_logged_loses_one_page(raw, tmp_path):
    out = tmp_path / "out"
    go([raw / "deep" / "stack.tif"], out)
    lines = (out / "log.jsonl").read_bytes().splitlines(keepends=True)
    (out / "log.jsonl").write_bytes(b"".join(lines[:-1]) + lines[-1][:40])
    before, again = outputs(out), Invert()
    summary = go([raw / "deep" / "stack.tif"], out, restorer=again)
    assert (again.seen, summary.counts["skipped"]) == (1, 2)
    assert outputs(out) == before


def test_stack_with_nothing_to_restore_is_copied_or_left_out(tmp_path, rng):
    path = tmp_path / "s.tif"
    tifffile.imwrite(path, np.stack([image(rng, low=0)] * 3), photometric="minisblack")
    go([path], tmp_path / "copy", gate=dark_is_kept)
    go([path], tmp_path / "skip", gate=dark_is_kept, carry="skip")
    assert (tmp_path / "copy" / "s.tif").read_bytes() == path.read_bytes()
    assert outputs(tmp_path / "skip") == {}


def test_bad_files_fail_alone_in_one_line(tmp_path, rng):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    tifffile.imwrite(raw / "good.tif", image(rng))
    nan = rng.random((16, 16)).astype(np.float32)
    nan[3, 4] = np.nan
    tifffile.imwrite(raw / "nan.tif", nan)
    tifffile.imwrite(raw / "rgb.tif", rng.integers(0, 255, (16, 16, 3)).astype(np.uint8), photometric="rgb")
    tifffile.imwrite(raw / "dot.tif", np.zeros((1, 1), np.uint8))
    tifffile.imwrite(raw / "thin.tif", np.zeros((64, 3), np.uint8))
    (raw / "empty.tif").write_bytes(b"")
    (raw / "zeros.tif").write_bytes(bytes(5000))
    (raw / "cut.tif").write_bytes((raw / "good.tif").read_bytes()[:300])
    (raw / "gone.tif").symlink_to(raw / "nowhere.tif")
    summary = go([raw], out, contrast=Contrast())
    assert summary.counts["restored"] == 1
    assert summary.counts["unreadable"] == 4
    assert set(summary.failed) == {f"{n}.tif" for n in ("nan", "rgb", "dot", "thin", "empty", "zeros", "cut", "gone")}
    errors = {e["path"]: e["error"] for e in read_log(out / "log.jsonl") if e.get("error")}
    assert all(name in error and "\n" not in error for name, error in errors.items())
    for name, word in {"nan": "NaN", "rgb": "colour", "dot": "1 x 1", "thin": "64 x 3", "empty": "empty"}.items():
        assert word in errors[f"{name}.tif"]
    assert outputs(out).keys() == {"good.tif"}


def test_output_that_cannot_be_written_fails_alone(raw, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "deep").write_text("a file in the way")
    summary = go([raw], out)
    assert set(summary.failed) == {"deep/dark.tif", *(f"deep/stack.tif#{n}" for n in range(3))}
    assert summary.counts["restored"] == 2


def test_raw_is_safe_from_links_in_the_output(raw, tmp_path):
    before, out = tree(raw), tmp_path / "out"
    out.mkdir()
    (out / "deep").symlink_to(raw / "deep")
    summary = go([raw], out)
    assert "deep/dark.tif" in summary.failed
    assert tree(raw) == before


def test_check_output_refuses_what_would_mix(raw, tmp_path, monkeypatch):
    for out in (raw, raw / "out", tmp_path, raw / "t2.tif"):
        with pytest.raises(UsageError, match=r"input|a file"):
            check_output([raw], out)
    with pytest.raises(UsageError, match="inside the output"):
        check_output([raw / "t2.tif"], raw)
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        check_output([raw], tmp_path / "file")
    with pytest.raises(UsageError, match="cannot be written"):
        check_output([raw], tmp_path / "file" / "below")
    assert sorted(p.name for p in raw.iterdir()) == ["deep", "t10.tif", "t2.tif"]
    check_output([raw], tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []


def test_inputs_that_collide_or_are_missing(raw, tmp_path, rng):
    other = tmp_path / "other"
    other.mkdir()
    tifffile.imwrite(other / "t2.tif", image(rng))
    with pytest.raises(UsageError) as caught:
        TileSource([raw, other])
    assert str(raw / "t2.tif") in str(caught.value)
    assert str(other / "t2.tif") in str(caught.value)
    assert list(TileSource([raw, raw / "t2.tif"]).files) == ["deep/dark.tif", "deep/stack.tif", "t2.tif", "t10.tif"]
    with pytest.raises(UsageError, match="no such"):
        TileSource([raw / "absent.tif"])
    (tmp_path / "void").mkdir()
    with pytest.raises(UsageError, match="no images"):
        TileSource([tmp_path / "void"])
    with pytest.raises(UsageError, match="shard"):
        TileSource([raw], shard=(2, 2))


def test_listing_is_natural_skips_hidden_and_survives_loops(tmp_path, rng):
    for name in ("b/t10.tif", "b/t9.tif", "B2/x.tif", "a.tif", ".hidden/y.tif", "b/._t9.tif", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "b" / "loop").symlink_to(tmp_path)
    assert list(find_images([tmp_path])) == ["a.tif", "b/t9.tif", "b/t10.tif", "B2/x.tif"]
    assert sorted(["s10", "S9", "s1/2", "s"], key=natural) == ["s", "s1/2", "S9", "s10"]


def test_shards_partition_and_keep_stacks_together(raw):
    whole = [b.key for b in TileSource([raw])]
    shards = [[b.key for b in TileSource([raw], shard=(i, 3))] for i in range(3)]
    assert sorted(whole) == sorted(k for s in shards for k in s)
    assert len({i for i, s in enumerate(shards) for k in s if "stack" in k}) == 1
    source = TileSource([raw])
    assert len(source) == 4
    assert len(list(source)) == len(source) == 6


def test_concurrent_shards_write_the_tree_of_one_run(raw, tmp_path):
    one, many = tmp_path / "one", tmp_path / "many"
    go([raw], one, gate=dark_is_kept)
    check_output([raw], many)

    def shard(index):
        source = TileSource([raw], shard=(index, 3))
        with Log(many / "log.jsonl") as log:
            job = log.start(JOB, shard=index)
            sink = TileSink(many, source, done=done(read_log(log.path), job), job_sha256=job)
            return loop.run(source, Invert(), sink, gate=dark_is_kept, log=log)

    with ThreadPoolExecutor(3) as pool:
        summaries = list(pool.map(shard, range(3)))
    assert sum(sum(s.counts.values()) for s in summaries) == 6
    assert outputs(many) == outputs(one)
    resumed = go([raw], many, gate=dark_is_kept)
    assert resumed.counts["skipped"] == 6


def test_contrast_is_one_for_the_run(tmp_path, rng):
    for n in range(4):
        tifffile.imwrite(tmp_path / f"{n}.tif", rng.integers(1000 * n, 1000 * n + 500, (40, 40)).astype(np.uint16))
    tifffile.imwrite(tmp_path / "eight.tif", image(rng))
    source = TileSource([tmp_path])
    blocks = {b.key: b for b in source}
    with pytest.raises(UnsupportedError, match="no contrast"):
        source.read(blocks["0.tif"])
    contrast = estimate_contrast(source)
    assert contrast == estimate_contrast(TileSource([tmp_path], shard=(1, 2)))
    assert 0 <= contrast.low < 10
    assert 3480 < contrast.high <= 3500
    source = TileSource([tmp_path], contrast=contrast)
    assert source.read(blocks["0.tif"]).contrast == contrast
    assert source.read(blocks["eight.tif"]).contrast == Contrast(0, 255)
    assert estimate_contrast(TileSource([tmp_path / "eight.tif"])) is None


def test_sixteen_bit_and_float_tiles_keep_their_dtype(tmp_path, rng):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    images = {
        "u.tif": rng.integers(0, 4000, (16, 20)).astype(np.uint16),
        "f.tif": rng.normal(size=(16, 20)).astype(np.float32),
    }
    for name, pixels in images.items():
        tifffile.imwrite(raw / name, pixels)
    go([raw], out, restorer=lambda batch: [Restored(f.image) for f in batch], contrast=Contrast(0, 4000))
    for name, pixels in images.items():
        got = tifffile.imread(out / name)
        assert got.dtype == pixels.dtype
        np.testing.assert_array_equal(got, pixels)


def test_reading_errors_have_their_kind(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0garbage")
    source = TileSource([tmp_path])
    (block,) = source
    with pytest.raises(UnreadableError):
        source.read(block)


def test_full_disk_leaves_no_output(raw, tmp_path, monkeypatch):
    out = tmp_path / "out"
    source = TileSource([raw / "deep" / "dark.tif"])
    (block,) = source
    sink = TileSink(out, source)

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    frames = source.read(block)
    with pytest.raises(WriteError, match="No space left"):
        sink.carry(block, frames, Grade("keep", ""))
    with pytest.raises(WriteError, match="No space left"):
        sink.write(block, Restored(frames.image))
    assert not [p for p in out.rglob("*") if p.is_file()]


def test_path_types(raw):
    assert TileSource([str(raw)]).files["t2.tif"] == Path(raw / "t2.tif")


def test_a_stack_of_tiny_pages_fails_once(tmp_path):
    tifffile.imwrite(tmp_path / "tiny.tif", np.zeros((50, 1, 1), np.uint8), photometric="minisblack")
    summary = go([tmp_path / "tiny.tif"], tmp_path / "out")
    assert summary.failed == ("tiny.tif",)
