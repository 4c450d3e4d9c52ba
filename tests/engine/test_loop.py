"""The loop, proven with sources and sinks in memory."""

import itertools
import math
import tempfile
import threading
import weakref
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from refocal.core.blocks import plan
from refocal.core.errors import UnreadableError
from refocal.core.values import Frames, Grade, Reach, Restored
from refocal.engine.loop import run
from refocal.engine.memory import ArraySink, ArraySource
from refocal.eventlog.log import Log, done, read_log

quick = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
DECISIONS = {"keep": "kept", "restore": "restored", "retake": "retake", "no_content": "no_content"}


def damaged(keys):
    """A class of sources that cannot read some blocks."""

    class Damaged(ArraySource):
        def read(self, block):
            if block.key in keys:
                raise UnreadableError(f"{block.key}: damaged,\nbadly")
            return super().read(block)

    return Damaged


class Full(ArraySink):
    """A sink that cannot take some blocks."""

    fails = frozenset()

    def write(self, block, restored):
        self.check(block)
        super().write(block, restored)

    def carry(self, block, frames, grade):
        self.check(block)
        super().carry(block, frames, grade)

    def check(self, block):
        if block.key in self.fails:
            raise OSError(28, "No space left on device")


class Blur:
    """A local restorer: the mean over a box of 2 * radius + 1; numpy arithmetic in integers, so exact."""

    def __init__(self, radius=1, fails=frozenset()):
        self.reach = Reach(halo=radius)
        self.radius = radius
        self.fails = fails
        self.batches = []

    def __call__(self, batch):
        self.batches.append(len(batch))
        if any(int(f.image[0, 0]) in self.fails for f in batch):
            raise RuntimeError("cannot restore\nthis one")
        return [Restored(self.one(f.image)) for f in batch]

    def one(self, image):
        size = 2 * self.radius + 1
        total = ndimage.convolve(image.astype(np.int64), np.ones((size, size), np.int64), mode="constant")
        area = ndimage.convolve(np.ones(image.shape, np.int64), np.ones((size, size), np.int64), mode="constant")
        return (total // area).astype(image.dtype)


class Double:
    reach = Reach()

    def __call__(self, batch):
        return [Restored(2 * f.image) for f in batch]


def by_first_pixel(frames):
    """A gate that needs nothing but the pixels."""
    return Grade(tuple(DECISIONS)[int(frames.image[0, 0]) % 4], "because", sigma_px=1.5)


def numbered(count, size=8):
    """A column of tiles, tile n filled with n."""
    image = np.repeat(np.arange(count, dtype=np.int32), size)[:, None] + np.zeros(size, np.int32)
    return image, list(plan(image.shape, (size, size), (0, 0)))


def append_to(events):
    return type("Events", (), {"append": staticmethod(events.append)})


@quick
@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    radius=st.integers(0, 5),
    batch=st.integers(1, 5),
    ahead=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_blockwise_with_halo_equals_whole_image(shape, size, radius, batch, ahead, seed):
    image = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    restorer, got = Blur(radius), np.zeros_like(image)
    sink = ArraySink(got)
    blocks = list(plan(shape, size, (radius, radius)))
    summary = run(ArraySource.cut(image, blocks), restorer, sink, batch=batch, ahead=ahead)
    np.testing.assert_array_equal(got, Blur(radius).one(image))
    assert summary.counts["restored"] == len(blocks) == len(sink.counts)
    assert max(restorer.batches) <= batch


@quick
@given(
    order=st.permutations(range(12)),
    batch=st.integers(1, 6),
    ahead=st.integers(1, 6),
    known=st.sets(st.integers(0, 11)),
)
def test_order_and_batching_never_change_pixels_or_events(order, batch, ahead, known):
    image, blocks = numbered(12)
    expected = {n: {0: n, 1: 2 * n, 2: n, 3: n}[n % 4] for n in range(12)}
    got = np.full_like(image, -1)
    sink = ArraySink(got, known=[blocks[n].key for n in known])
    events, shown = [], []
    summary = run(
        ArraySource.cut(image, [blocks[n] for n in order]),
        Double(),
        sink,
        gate=by_first_pixel,
        log=append_to(events),
        batch=batch,
        ahead=ahead,
        progress=shown.append,
    )
    for n, block in enumerate(blocks):
        assert (got[block.write.slices] == (-1 if n in known else expected[n])).all()
    assert Counter(e["key"] for e in events) == Counter(blocks[n].key for n in range(12) if n not in known)
    assert len(shown) == 12
    assert summary.counts["skipped"] == len(known)
    assert summary.pixels == (12 - len(known)) * 64
    for event in events:
        n = int(event["key"].strip("@").split(",")[0]) // 8
        assert event["decision"] == DECISIONS[event["verdict"]] == list(DECISIONS.values())[n % 4]
        assert event["sigma_px"] == 1.5
        assert event["reason"] == "because"


@quick
@given(
    read=st.sets(st.integers(1, 9), max_size=3),
    gate=st.sets(st.integers(1, 9), max_size=3),
    restore=st.sets(st.integers(1, 9), max_size=3),
    write=st.sets(st.integers(1, 9), max_size=3),
    batch=st.integers(1, 5),
)
def test_bad_tiles_fail_alone(read, gate, restore, write, batch):
    image, blocks = numbered(10)
    keys = [b.key for b in blocks]

    def grade(frames):
        if int(frames.image[0, 0]) in gate:
            raise ZeroDivisionError
        return Grade("restore", "")

    events = []
    got = np.full_like(image, -1)
    sink = Full(got)
    sink.fails = {keys[n] for n in write}
    summary = run(
        damaged({keys[n] for n in read}).cut(image, blocks),
        Blur(0, fails=restore),
        sink,
        gate=grade,
        log=append_to(events),
        batch=batch,
    )
    bad = read | gate | restore | write
    assert set(summary.failed) == {keys[n] for n in bad}
    assert summary.counts["unreadable"] == len(read)
    assert summary.counts["failed"] == len(bad) - len(read)
    assert summary.counts["restored"] == 10 - len(bad)
    for n, block in enumerate(blocks):
        assert (got[block.write.slices] == (-1 if n in bad else n)).all()
    assert Counter(e["key"] for e in events) == Counter(keys)
    assert all((e["error"] is not None) == (e["decision"] in ("failed", "unreadable")) for e in events)
    assert not any("\n" in e["error"] for e in events if e["error"])


@quick
@given(count=st.integers(1, 6), share=st.integers(0, 1000))
def test_resume_after_a_torn_line_redoes_exactly_one_block(count, share):
    image, blocks = numbered(count)
    job = {"model": "double"}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"
        got = np.zeros_like(image)
        with Log(path) as log:
            log.start(job)
            run(ArraySource.cut(image, blocks), Double(), ArraySink(got), log=log)
        text = path.read_bytes()
        last = text.splitlines(keepends=True)[-1]
        cut = 2 + (len(last) - 2) * share // 1000  # at least the newline and the brace, at most the whole line
        path.write_bytes(text[:-cut])
        with Log(path) as log:
            sha = log.start(job)
            again = ArraySink(got, known=done(read_log(path), sha))
            summary = run(ArraySource.cut(image, blocks), Double(), again, log=log)
        assert (summary.counts["restored"], summary.counts["skipped"]) == (1, count - 1)
        assert len(again.counts) == 1
        np.testing.assert_array_equal(got, 2 * image)
        assert set(done(read_log(path), sha)) == {b.key for b in blocks}
        assert sum(e["event"] == "tile" for e in read_log(path)) == count


@settings(quick, max_examples=15)
@given(shards=st.integers(1, 5), count=st.integers(1, 25), batch=st.integers(1, 4))
def test_concurrent_shards_that_share_a_log_equal_one_run(shards, count, batch):
    image, blocks = numbered(count)
    one, many = np.zeros_like(image), np.zeros_like(image)
    run(ArraySource.cut(image, blocks), Double(), ArraySink(one))
    shared = ArraySink(many)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.jsonl"

        def shard(index):
            with Log(path) as log:
                log.start({"model": "double"}, shard=index)
                run(ArraySource.cut(image, blocks[index::shards]), Double(), shared, log=log, batch=batch)

        with ThreadPoolExecutor(shards) as pool:
            list(pool.map(shard, range(shards)))
        events = list(read_log(path))
        # A shard that opens the log while another writes may see half a line and add an empty one: harmless.
        assert len([line for line in path.read_bytes().splitlines() if line]) == len(events) == count + shards
    np.testing.assert_array_equal(many, one)
    assert Counter(e["key"] for e in events if e["event"] == "tile") == Counter(b.key for b in blocks)


@pytest.mark.parametrize("gate", [None, by_first_pixel])
@pytest.mark.parametrize("batch", [1, 4, 64])
def test_endless_source_is_not_delayed_by_batching(batch, gate):
    image, blocks = numbered(6)
    settled = threading.Semaphore(0)

    class Microscope(ArraySource):
        def __iter__(self):
            for block in super().__iter__():
                yield block
                assert settled.acquire(timeout=20), "the next tile only comes when this one is done"

    sink = ArraySink()
    summary = run(
        Microscope.cut(image, blocks), Double(), sink, gate=gate, batch=batch, progress=lambda _: settled.release()
    )
    assert len(sink.counts) == 6
    assert summary.failed == ()


def test_ready_blocks_of_one_shape_are_batched():
    image = np.zeros((40, 40), np.uint8)
    blocks = list(plan(image.shape, (16, 16), (0, 0)))
    everything_read, count = threading.Event(), itertools.count(1)
    restorer = Blur(0)

    class Slow(Blur):
        def __call__(self, batch):
            assert everything_read.wait(20)
            assert len({f.counts.shape for f in batch}) == 1
            return restorer(batch)

    class Noted(ArraySource):
        def read(self, block):
            frames = super().read(block)
            if next(count) == len(self):
                everything_read.set()
            return frames

    run(Noted.cut(image, blocks), Slow(), ArraySink(), batch=4, ahead=9)
    assert sum(restorer.batches) == 9
    assert max(restorer.batches) >= 3  # four of 16 x 16; one may have been taken before the others were there
    assert len(restorer.batches) <= 6


@pytest.mark.parametrize(("batch", "ahead"), [(1, 1), (2, 3), (4, 2)])
@pytest.mark.parametrize("gate", [None, by_first_pixel])
def test_memory_is_bounded(batch, ahead, gate):
    alive, most, lock = set(), [0], threading.Lock()
    image, blocks = numbered(60)

    class Counted(ArraySource):
        def read(self, block):
            counts = super().read(block).counts.copy()
            with lock:
                alive.add(block.key)
                most[0] = max(most[0], len(alive))
            weakref.finalize(counts, alive.discard, block.key)
            return Frames(counts)

    class Sleepy(Double):
        def __call__(self, batch):
            threading.Event().wait(0.001)
            return super().__call__(batch)

    run(Counted.cut(image, blocks), Sleepy(), ArraySink(keep=False), gate=gate, batch=batch, ahead=ahead)
    assert most[0] <= ahead + batch
    assert not alive


def test_dead_source_is_an_exception_after_its_blocks_are_done():
    image, blocks = numbered(5)

    class Dying(ArraySource):
        def __iter__(self):
            yield from super().__iter__()
            raise ConnectionError("the stage is gone")

    events, sink = [], ArraySink()
    with pytest.raises(ConnectionError, match="the stage is gone"):
        run(Dying.cut(image, blocks), Double(), sink, log=append_to(events))
    assert len(events) == 5 == len(sink.counts)


def test_interrupt_leaves_whole_results_and_no_threads():
    image, blocks = numbered(30)
    sink, events = ArraySink(), []

    class Interrupted(Double):
        calls = 0

        def __call__(self, batch):
            self.calls += 1
            if self.calls == 3:
                raise KeyboardInterrupt
            return super().__call__(batch)

    with pytest.raises(KeyboardInterrupt):
        run(ArraySource.cut(image, blocks), Interrupted(), sink, log=append_to(events), batch=2)
    assert {e["key"] for e in events} == set(sink.counts)
    assert 2 <= len(events) <= 4
    for thread in threading.enumerate():
        if thread.name.startswith("refocal"):
            thread.join(5)
            assert not thread.is_alive()


def test_batch_that_fails_is_retried_one_by_one_and_restorers_are_checked():
    image, blocks = numbered(4)

    class OnlySingles(Double):
        def __call__(self, batch):
            if len(batch) > 1:
                raise MemoryError
            return super().__call__(batch)

    got = np.zeros_like(image)
    assert run(ArraySource.cut(image, blocks), OnlySingles(), ArraySink(got), batch=4).failed == ()
    np.testing.assert_array_equal(got, 2 * image)
    for wrong in (lambda batch: [], lambda batch: [Restored(f.image[1:]) for f in batch]):
        summary = run(ArraySource.cut(image, blocks), wrong, ArraySink())
        assert summary.counts["failed"] == 4


def test_event_describes_the_block():
    counts = np.array([[0, 255], [7, 8]], np.uint8)

    class Facts(ArraySink):
        def write(self, block, restored):
            return {"output": "x.tif", "output_sha256": "ab"}

    events, ticks = [], itertools.count()
    summary = run(
        ArraySource({"a/b.tif#3": counts}, pixel_nm=4.0),
        lambda batch: [Restored(f.image) for f in batch],
        Facts(),
        gate=lambda _: Grade("restore", "soft", sigma_px=1.5, noise=math.nan),
        log=append_to(events),
        clock=lambda: float(next(ticks)),
    )
    (event,) = events
    expected = {
        "event": "tile", "key": "a/b.tif#3", "path": "a/b.tif", "page": 3, "verdict": "restore", "reason": "soft",
        "decision": "restored", "sigma_px": 1.5, "sigma_nm": 6.0, "pixel_nm": 4.0, "height": 2, "width": 2,
        "mode": "uint8", "output": "x.tif", "output_sha256": "ab", "clipped": 0.5, "error": None, "expected": None,
    }  # fmt: skip
    assert {k: event[k] for k in expected} == expected
    assert event["seconds"] > 0
    assert summary.seconds > event["seconds"]
    with pytest.raises(ValueError, match="at least 1"):
        run(ArraySource({}), Double(), ArraySink(), batch=0)
