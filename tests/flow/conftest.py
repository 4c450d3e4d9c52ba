"""The installed program, and a folder of raw tiles as a lab would have it."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mrcfile
import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from refocal.cli import main
from refocal.formats import create_image
from refocal.job import Job
from refocal.live import Settings, Watch
from refocal.values import ImageInfo

from .watching import QUICK, UNSHARP

PROGRAM = Path(sys.executable).with_name("refocal")
TIMEOUT = 240


@dataclass(frozen=True)
class Said:
    """What the program said."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("refocal: ")
        return lines[0]


Program = Callable[..., Said]


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Run the console script in a fresh process and check its exit code."""
    somewhere = tmp_path_factory.mktemp("cwd")

    def run(*arguments: object, code: int = 0, cwd: Path = somewhere, before: Callable[[], None] | None = None) -> Said:
        done = subprocess.run(
            [PROGRAM, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, timeout=TIMEOUT,
            stdin=subprocess.DEVNULL, preexec_fn=before, env={**os.environ, "COLUMNS": "200"},
        )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return Said(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def inside(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Program:
    """Run the program in this process, which has its libraries already: the same entry point, ten times faster."""

    def run(*arguments: object, code: int = 0, cwd: Path | None = None) -> Said:
        if cwd is not None:
            monkeypatch.chdir(cwd)
        monkeypatch.setenv("COLUMNS", "80")
        monkeypatch.setattr(sys, "argv", ["refocal", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        assert (ended.value.code or 0) == code, err
        return Said(code, out, err)

    return run


SHARP, SOFT, HOPELESS = 0.3, 1.6, 6.0


def texture(sigma_px: float, seed: int = 0, size: tuple[int, int] = (96, 112), noise: float = 2.0) -> NDArray[np.uint8]:
    """Return blurred, noisy cells: SHARP ones are kept, SOFT ones restored, HOPELESS ones to be taken again."""
    rng = np.random.default_rng(seed)
    areas, cells = (gaussian_filter(rng.standard_normal(size), width) > 0 for width in (5, 3))
    pixels = gaussian_filter(90.0 + 70 * areas + 50 * cells, sigma_px) + noise * rng.standard_normal(size)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def blank(seed: int = 0) -> NDArray[np.uint8]:
    """Return resin: noise only."""
    return np.rint(128 + 3 * np.random.default_rng(seed).standard_normal((96, 112))).astype(np.uint8)


def save(path: Path, pages: Sequence[NDArray[np.generic]], pixel_nm: float | None = 8.0) -> Path:
    """Write an image in the format of its name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    create_image(path, pages, ImageInfo((len(pages), *pages[0].shape), pages[0].dtype, pixel_nm))
    return path


@pytest.fixture(scope="session")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of every format and stacks in a nested tree, with odd names; treated as read-only by all tests."""
    folder = tmp_path_factory.mktemp("raw")
    save(folder / "t1.tif", [texture(SHARP, 1)])
    save(folder / "t2.tif", [texture(SOFT, 2)])
    save(folder / "t10.png", [texture(HOPELESS, 3, (128, 128))])
    save(folder / "sub dir" / "Präparat 7 é.png", [texture(SOFT, 4)])
    save(folder / "sub dir" / "deep" / "100% #3 'x'.bmp", [texture(SOFT, 5)])
    save(folder / "sub dir" / "deep" / "blank.tif", [blank(6)])
    save(folder / "wide.tif", [texture(SOFT, 7).astype(np.uint16) * 16 + 400])
    save(folder / "stacks" / "pages.tif", [texture(s, 8 + i) for i, s in enumerate((SHARP, SOFT, SOFT))])
    with mrcfile.new(folder / "stacks" / "volume.mrc") as mrc:
        mrc.set_data(np.stack([texture(SOFT, 20), texture(SHARP, 21)]).astype(np.int16))
        mrc.voxel_size = 45.0
    tifffile.imwrite(
        folder / "tagged.tif", texture(SOFT, 30), description="dwell 200 ns", software="Scope 9", datetime=True,
        resolution=(1.25e6, 1.25e6), resolutionunit="CENTIMETER", compression="zlib",
    )  # fmt: skip
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.tif").write_bytes(b"not seen")
    return folder


BLOCKS = 13
"""Tiles and pages in `raw`."""


def files(folder: Path) -> dict[str, bytes]:
    """Return the visible files of a tree by their relative names, without log and report."""
    made = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    own = {"log.jsonl", "retake.csv", "report.html"}
    return {n: p.read_bytes() for n, p in made.items() if n not in own and not n.startswith(".refocal/")}


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the modification time and the bytes of every file of a tree."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Watch]]:
    """Start watches of `tmp_path / "raw"` into `tmp_path / "out"`, and stop them in the end."""
    (tmp_path / "raw").mkdir()
    running: list[Watch] = []

    def go(job: Job = UNSHARP, settings: Settings = QUICK, **more: Any) -> Watch:
        running.append(Watch(tmp_path / "raw", tmp_path / "out", job, settings, **more))
        return running[-1]

    yield go
    for one in running:
        one.stop()
