"""The scheduler's file: the example of the documents, its keys, and what is refused in one line."""

import re
from pathlib import Path

import pytest

from program import Program
from refocal.core.errors import BadOptionError
from refocal.engine.volumes.cluster import Pool
from refocal.engine.volumes.scheduler import Scheduler, read_scheduler

PAGE = (Path(__file__).parents[3] / "docs" / "cluster.md").read_text(encoding="utf-8")


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """The file that the page shows."""
    (shown,) = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    path = tmp_path / "slurm.yaml"
    path.write_text(shown)
    return path


def test_the_example_of_the_page_is_understood(example: Path) -> None:
    expected = Pool(
        "slurm", 64, least=0, threads=4, memory="16GiB", gpus=True, walltime="08:00", queue="gpu", account="em",
        directives=("--exclusive",),
    )  # fmt: skip
    assert read_scheduler(example).pool() == expected
    assert read_scheduler(example).pool(8).workers == 8


def test_the_script_of_the_example_is_the_one_that_the_page_shows(inside: Program, example: Path) -> None:
    pytest.importorskip("dask_jobqueue")
    (shown,) = re.findall(r"^\$ refocal cluster .* --script\n(.*?)^\.\.\.$", PAGE, re.MULTILINE | re.DOTALL)
    said = inside("cluster", "v.zarr", "-o", "r.zarr", "--scheduler", example, "--script")
    assert said.out.startswith(shown)


def test_every_key_is_described() -> None:
    assert re.findall(r"^\| `(\w+)` \|", PAGE, re.MULTILINE) == list(Scheduler.model_fields)


def test_values_are_what_was_written_and_empty_ones_are_not_given(tmp_path: Path) -> None:
    path = tmp_path / "lsf.yaml"
    path.write_text("scheduler: lsf\nwalltime: 24:00\nqueue: no\naccount:\nbatch: 4\n")
    found = read_scheduler(path)
    assert (found.walltime, found.queue, found.account, found.batch) == ("24:00", "no", None, 4)
    assert read_scheduler(path).pool() == Pool("lsf", 2, walltime="24:00", queue="no")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("queu: gpu", "has a key 'queu' that is not known. Did you mean 'queue'?"),
        ("workers: many", "key 'workers': input should be a valid integer"),
        ("workers: 0", "key 'workers'"),
        ("walltime: 24:00:00", "key 'walltime'"),
        ("directives: --exclusive", "key 'directives'"),
        ("- slurm", "must hold 'key: value' lines"),
        ("", "must hold 'key: value' lines"),
        ("a: [", "is not YAML"),
        ("scheduler: pbs", "expected local, slurm, lsf or tcp://HOST:PORT"),
        ("workers: 2\nleast: 3", "no fewer than the least"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(BadOptionError, match=re.escape(words)) as refused:
        read_scheduler(path).pool()
    assert "\n" not in str(refused.value)
