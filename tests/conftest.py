"""Shared fixtures: the folder of real images, drawn ones as a lab would have them, the installed program."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Small arrays gain nothing from threads, and several test workers would fight for the cores. Before any import.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import mrcfile
import numpy as np
import pytest
import tifffile
from hypothesis import settings

from drawn import HOPELESS, SHARP, SOFT, blank, drawn, save, texture
from program import PROGRAM, TIMEOUT, Program, Said
from refocal.engine.job import Job
from refocal.engine.watch import Settings, Watch
from refocal.ui.cli import main
from watching import QUICK, UNSHARP, until

# A run here must tell whether a change broke something; HYPOTHESIS_PROFILE=search looks for new counterexamples.
settings.register_profile("steady", derandomize=True, deadline=None)
settings.register_profile("search", deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "steady"))

ROOT = Path(__file__).parent.parent
DATA = Path(os.environ.get("REFOCAL_DATA", ROOT.parent / "shared" / "data"))


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option of the search for inputs that break a reader (`tests/fuzzing`)."""
    parser.addoption(
        "--fuzz-seconds", type=float, metavar="N", help="give damaged inputs to the readers for N seconds in all"
    )


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that share a fixture of their module on one worker, so that it is made once."""
    for item in items:
        found = getattr(item, "_fixtureinfo", None)
        if found and any(made[-1].scope in ("module", "class") for made in found.name2fixturedefs.values()):
            item.add_marker(pytest.mark.xdist_group(item.nodeid.partition("::")[0]))


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder with real electron-microscopy images; tests that need it are skipped where it is absent."""
    if not DATA.is_dir():
        pytest.skip(f"no real images at {DATA}; set REFOCAL_DATA to the folder that holds them")
    return DATA


@pytest.fixture
def rng() -> np.random.Generator:
    """A seeded generator."""
    return np.random.default_rng(20260101)


@pytest.fixture(scope="session")
def calibration(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A calibration file, made on drawn tiles of 8 nm pixels with a cheap restorer."""
    from refocal.core import registry
    from refocal.microscope.calibrate import calibrate, write
    from refocal.microscope.calibrate.blur_series import BlurSeries
    from refocal.microscope.calibrate.reference_tiles import good_tiles

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "calibration"
    path = folder / "calibration.json"
    try:
        folder.mkdir()
    except FileExistsError:  # by another worker
        until(path.exists, "another worker makes the calibration")
        return path
    for seed in range(5):
        save(folder / f"{seed}.tif", [drawn(seed)])
    restorer = registry.make("restorers", "wiener")
    series = BlurSeries(crop_px=128, each=40)
    made = calibrate(good_tiles([folder]), restorer, name="wiener", date="2026-01-01", series=series)
    write(made.calibration, path)
    return path


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium; not for the session, because Playwright keeps an event loop running in this thread."""
    chromium = Path("/usr/bin/chromium")
    if not chromium.exists():
        pytest.skip(f"no Chromium at {chromium}; install Debian's package chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; it comes with refocal[dev]")
    switches = ("sandbox", "first-run")
    off = ("gpu", "dev-shm-usage", "background-networking")
    args = [*(f"--no-{name}" for name in switches), *(f"--disable-{name}" for name in off)]
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(chromium), args=args)
        yield browser
        browser.close()


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
