"""Volumes on many processes: workers that are killed, a scheduler that dies, scripts for batch systems."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest

from refocal.core.blocks import Box, plan
from refocal.core.errors import BadOptionError, TileError, UsageError
from refocal.core.storage import store
from refocal.core.values import Reach
from refocal.core.volume import VolumeInfo
from refocal.engine.job import Job, Part
from refocal.engine.loop import Summary
from refocal.engine.volumes import Storage, begin, restore_volume, verify_volume
from refocal.parts.volume_formats import format_of, open_volume

pytest.importorskip("distributed")
pytest.importorskip("dask_jobqueue")
pytest.importorskip("zarr")

from distributed.scheduler import KilledWorker

from refocal.engine.volumes import cluster
from refocal.engine.volumes.cluster import Pool, job_script, restore_on_cluster, spread, workers

SHAPE = (4, 96, 128)
JOB = Job(restorer=Part(kind="unsharp", options={"sigma_px": 1.0}), gate=Part(kind="always"))
STORAGE = Storage(block=(2, 32, 32), levels=2)
POOL = Pool(workers=2, memory="1GiB")


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    place = store(tmp_path_factory.mktemp("volume") / "in.zarr")
    counts = np.random.default_rng(5).integers(1, 255, SHAPE, np.uint8)
    format_of("ome_zarr").create(place, [VolumeInfo(SHAPE, counts.dtype, (2, 32, 32), (2, 32, 32))], {})
    format_of("ome_zarr").open(place, write=True).write(Box((0, 0, 0), SHAPE), counts)
    return place.path


@pytest.fixture(scope="module")
def alone(given, tmp_path_factory):
    out = tmp_path_factory.mktemp("alone") / "out.zarr"
    restore_volume(given, out, JOB, STORAGE)
    return out


@pytest.fixture(scope="module")
def client():
    with workers(POOL) as client:
        yield client


def same(a, b):
    for path in (p for p in a.rglob("*") if p.is_file() and p.name != ".zattrs"):
        assert path.read_bytes() == (b / path.relative_to(a)).read_bytes(), path


def test_killed_workers_leave_a_bit_identical_volume(client, given, alone, tmp_path):
    work, seen = begin(given, tmp_path / "out.zarr", JOB, STORAGE), []

    def kill(event, total):
        seen.append(event)
        if len(seen) in (3, 12):
            pids = [nanny.pid for nanny in client.cluster.workers.values() if nanny.pid]
            os.kill(pids[len(seen) % len(pids)], signal.SIGKILL)

    summary = spread(work, client, POOL, kill)
    assert not summary.failed
    assert len(seen) == 24 + 8  # blocks of two levels
    assert not verify_volume(tmp_path / "out.zarr").failed
    same(alone, tmp_path / "out.zarr")


def test_when_no_local_worker_is_left_others_are_started(given, alone, tmp_path, monkeypatch):
    monkeypatch.setattr(cluster, "_POLL_SECONDS", 0.1)
    monkeypatch.setattr(cluster, "_EMPTY_POLLS", 3)
    opened, real = [], cluster.workers

    @contextmanager
    def watched(pool):
        with real(pool) as client:
            opened.append(client)
            yield client

    def desert(event, total):
        if len(opened) == 1:
            opened[0].cluster.scale(0)

    monkeypatch.setattr(cluster, "workers", watched)
    summary = restore_on_cluster(given, tmp_path / "out.zarr", JOB, POOL, STORAGE, progress=desert)
    assert len(opened) == 2
    assert not summary.failed
    same(alone, tmp_path / "out.zarr")


def test_two_volumes_at_once_on_one_scheduler_are_both_done(client, given, tmp_path):
    import distributed

    def do(name, client):
        spread(begin(given, tmp_path / name, JOB, STORAGE), client, POOL)

    with distributed.Client(client.scheduler.address) as other:
        first = threading.Thread(target=do, args=("a.zarr", client))
        first.start()
        do("b.zarr", other)
        first.join()
    for name in ("a.zarr", "b.zarr"):
        assert not verify_volume(tmp_path / name).failed


def test_workers_are_bound_and_failures_are_named(client, given, tmp_path):
    assert all(len(cores) == 1 for cores in client.run(lambda: os.sched_getaffinity(0)).values())
    damaged = tmp_path / "in.zarr"
    damaged.mkdir()
    for path in given.rglob("*"):
        target = damaged / path.relative_to(given)
        target.mkdir(exist_ok=True, parents=True) if path.is_dir() else target.write_bytes(path.read_bytes())
    (damaged / "0" / "0" / "1" / "1").write_bytes(b"no chunk")
    events = []
    work = begin(damaged, tmp_path / "out.zarr", JOB, STORAGE)
    summary = spread(work, client, POOL, lambda event, _: events.append(event))
    assert {"0@0,32,32#0", "0@0,32,32#1"} < set(summary.failed)
    assert [event["decision"] for event in events].count("failed") == 9  # its neighbours see the damage too
    assert len(events) == 24


@pytest.mark.timeout(120)
def test_a_scheduler_that_dies_is_one_line_and_the_rest_is_done_later(given, alone, tmp_path):
    file, seen = tmp_path / "scheduler.json", []
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    python = [sys.executable, "-m"]
    scheduler = subprocess.Popen(
        [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
         "--scheduler-file", str(file)], **quiet,
    )  # fmt: skip
    worker = subprocess.Popen(
        [*python, "distributed.cli.dask_worker", "--scheduler-file", str(file), "--nthreads", "1", "--no-nanny",
         "--no-dashboard", "--death-timeout", "60"], **quiet,
    )  # fmt: skip

    def end(event, total):
        seen.append(event)
        if len(seen) == 3:
            scheduler.kill()

    try:
        while not file.exists() or not file.read_text():
            time.sleep(0.05)
        work = begin(given, tmp_path / "out.zarr", JOB, STORAGE)
        pool = Pool(json.loads(file.read_text())["address"])
        with pytest.raises(TileError, match=r"scheduler is lost.*again to continue"), workers(pool) as client:
            spread(work, client, pool, end)
    finally:
        for process in (scheduler, worker):
            process.kill()
            process.wait()
    summary = restore_volume(given, tmp_path / "out.zarr", JOB, STORAGE)
    assert summary.counts["skipped"] >= 3
    same(alone, tmp_path / "out.zarr")


def test_a_block_whose_worker_died_gets_half_the_batch_and_a_second_death_halves_all(given, tmp_path):
    asked = []

    class Client:
        def submit(self, function, out, sha256, stage, block, batch, **_):
            asked.append(batch)
            return object()

    hands = cluster._Workers(begin(given, tmp_path / "out.zarr", JOB, STORAGE), Client(), 4, 8)
    (block, *_) = plan((1, 1, 1), (1, 1, 1), (0, 0, 0))
    for losses in (0, 1, 0, 1, 2, 0, 3, 0, 4, 5, 6):
        hands._submit("restore", block, losses, {})
    assert asked == [8, 4, 8, 4, 4, 4, 2, 2, 1, 1, 1]


def test_an_answer_that_is_lost_with_its_worker_and_again_with_the_next_is_asked_again(given, tmp_path):
    class Lost:
        status = "finished"

        def result(self, timeout):
            raise KilledWorker("task", None, 1)

    hands = cluster._Workers(begin(given, tmp_path / "out.zarr", JOB, STORAGE), None, 4, 8)
    (block, *_) = plan((1, 1, 1), (1, 1, 1), (0, 0, 0))
    summary, errors = hands._outcome(Lost(), block)
    assert summary is None
    assert errors == [f"block {block.key}: its worker died"]


def test_job_scripts_of_batch_systems():
    pool = Pool("slurm", 8, threads=4, memory="16GiB", gpus=True, walltime="02:00", queue="gpu", account="em",
                directives=("--exclusive",))  # fmt: skip
    lines = job_script(pool).splitlines()
    for line in ("-p gpu", "-A em", "--cpus-per-task=4", "--mem=16G", "-t 02:00:00", "--gres=gpu:1", "--exclusive"):
        assert f"#SBATCH {line}" in lines
    assert any("--nthreads 1" in line and "--lifetime 108m" in line and "--nanny" in line for line in lines)
    lines = job_script(Pool("lsf", 8, threads=4, memory="16GiB", gpus=True, queue="gpu", account="em")).splitlines()
    for line in ('-q gpu', '-P "em"', "-n 4", "-W 04:00", "-gpu num=1"):  # fmt: skip
        assert f"#BSUB {line}" in lines
    with pytest.raises(BadOptionError, match="slurm or lsf"):
        job_script(Pool())


def test_workers_whose_jobs_the_queue_has_ended_are_asked_for_again(monkeypatch):
    import dask
    from distributed import Scheduler, SpecCluster, Worker

    def queue(pool):
        options = {"dashboard": False, "port": 0}
        worker = {"cls": Worker, "options": {"nthreads": 1}}
        return SpecCluster(workers={}, scheduler={"cls": Scheduler, "options": options}, worker=worker)

    monkeypatch.setattr(cluster, "_cluster", queue)
    with dask.config.set({"distributed.deploy.lost-worker-timeout": "50ms", "distributed.adaptive.interval": "100ms"}):
        with workers(Pool("slurm", 1)) as client:
            client.wait_for_workers(1, timeout=30)
            (first,) = client.scheduler_info()["workers"]
            client.retire_workers([first])
            begun = time.monotonic()
            while set(client.scheduler_info()["workers"]) <= {first} and time.monotonic() - begun < 30:
                time.sleep(0.05)
            assert set(client.scheduler_info()["workers"]) - {first}


def test_local_workers_share_the_gpus_that_are_shown(monkeypatch):
    monkeypatch.setattr(os, "sched_setaffinity", lambda *_: None)
    for shown, number, expected in (("", 1, "1"), ("4,6", 0, "4"), ("4,6", 1, "6"), ("4,6", 3, "6"), ("4", 1, "4")):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", shown)
        cluster.bound(Pool(workers=2, gpus=True)).setup(SimpleNamespace(name=number))
        assert os.environ["CUDA_VISIBLE_DEVICES"] == expected


def test_a_worker_with_several_threads_does_one_block_at_a_time(monkeypatch):
    inside, most = [], []

    class Stage:
        name = "restore"

        def run(self, blocks, batch, note):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()
            return Summary({}, (), 0, 0.0)

    monkeypatch.setattr(cluster, "joined", lambda *_: SimpleNamespace(stages=lambda: [Stage()]))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: cluster.do("out", "", "restore", None, 1), range(4)))
    assert most == [1, 1, 1, 1]


def test_pools_that_cannot_be_are_refused():
    with pytest.raises(BadOptionError, match="4GiB; got 'plenty'"):
        job_script(Pool("lsf", memory="plenty"))
    with pytest.raises(BadOptionError, match="HH:MM"):
        job_script(Pool("slurm", walltime="24:00:00"))
    for options in ({"on": "pbs"}, {"workers": 0}, {"threads": 0}, {"least": 5, "workers": 4}):
        with pytest.raises(BadOptionError):
            Pool(**options)
    with pytest.raises(BadOptionError, match="HH:MM"):
        job_script(Pool("slurm", walltime="four"))


def test_a_worker_that_would_restore_by_something_else_is_refused(given, tmp_path):
    class Other:
        reach = Reach()

    work = begin(given, tmp_path / "out.zarr", JOB, STORAGE, restorer=Other())
    with pytest.raises(UsageError, match="begun for Other, but a worker would use Unsharp: name one with --backend"):
        cluster.do(work.out.url, work.ledger.sha256, "restore", next(work.blocks()), 1)


def test_the_volume_is_the_one_of_the_job(given, tmp_path):
    begin(given, tmp_path / "out.zarr", JOB, STORAGE)
    (block, *_) = plan((2, 32, 32), (2, 32, 32), (0, 0, 0), "0")
    with pytest.raises(UsageError, match="started from scratch"):
        cluster.do(str(tmp_path / "out.zarr"), "another", "restore", block, 1)
    assert open_volume(store(tmp_path / "out.zarr")).info.shape == SHAPE
