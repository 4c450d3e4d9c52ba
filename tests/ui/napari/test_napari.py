"""The napari plug-in: its manifest, its reader, what its widgets run, and the widgets themselves without a screen."""

import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import yaml

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
pytest.importorskip("napari", reason="napari is not installed; it comes with: pip install 'refocal[napari]'")
pytest.importorskip("qtpy.QtWidgets", reason="Qt cannot be loaded here", exc_type=ImportError)

from napari.components import ViewerModel
from qtpy.QtWidgets import QApplication

from refocal.core.blocks import Box
from refocal.core.storage import store
from refocal.core.values import Contrast, Frames, ImageInfo, Reach, Restored
from refocal.core.volume import VolumeInfo
from refocal.imaging.phantom import draw_section
from refocal.parts import formats, volume_formats
from refocal.parts.formats import create_image
from refocal.ui.napari import layer_jobs
from refocal.ui.napari.layers import COLOURS, part_of, volume_of
from refocal.ui.napari.reader import get_reader
from refocal.ui.napari.widgets import gate_of, grade_widget, restore_widget, restorer_of

MANIFEST = Path(__file__).parents[3] / "src" / "refocal" / "ui" / "napari" / "napari.yaml"


@pytest.fixture(scope="module")
def qt():
    return QApplication.instance() or QApplication([])


@pytest.fixture
def stack(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 255, (4, 96, 130), np.uint8)


def wait(panel) -> None:
    end = time.monotonic() + 60
    while not panel.start.isEnabled() and time.monotonic() < end:
        QApplication.processEvents()
        time.sleep(0.005)
    panel.task.wait()
    QApplication.processEvents()


class Inverse:
    """Restores by inverting; says how often it was called."""

    reach = Reach(halo=3)

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, batch, /):
        self.calls += len(batch)
        return [Restored(255 - f.image, contrast=f.contrast) for f in batch]


def test_napari_accepts_the_manifest() -> None:
    npe2 = pytest.importorskip("npe2")
    manifest = npe2.PluginManifest.from_file(MANIFEST)
    manifest.validate_imports()
    commands = {c.id for c in manifest.contributions.commands}
    assert {w.command for w in manifest.contributions.widgets} <= commands


def test_the_manifest_names_every_extension() -> None:
    (reader,) = yaml.safe_load(MANIFEST.read_text())["contributions"]["readers"]
    families_ = (formats._formats(), volume_formats._formats())
    known = {e for family in families_ for form in family.values() for e in form.extensions}
    named = {pattern.removeprefix("*") for pattern in reader["filename_patterns"]}
    assert known - {".ome.zarr"} == named


def test_images_are_read_with_their_pixel_size(tmp_path: Path, stack: np.ndarray) -> None:
    for name, pages in (("one.tif", stack[:1]), ("many.mrc", stack.astype(np.int16))):
        create_image(tmp_path / name, list(pages), ImageInfo(pages.shape, pages.dtype, 4.0))
        ((data, about, kind),) = get_reader(str(tmp_path / name))(str(tmp_path / name))
        assert kind == "image"
        assert np.array_equal(data, pages[0] if len(pages) == 1 else pages)
        assert about["scale"][-2:] == pytest.approx((4.0, 4.0))
        (layer,) = [ViewerModel().add_image(data, **about)]
        assert layer.ndim == data.ndim
        assert {str(unit) for unit in layer.units} == {"nanometer"}


def test_volumes_are_read_lazily_with_their_levels(tmp_path: Path, stack: np.ndarray, monkeypatch) -> None:
    pytest.importorskip("zarr")
    shape, chunk = stack.shape, (2, 64, 64)
    levels = [
        VolumeInfo(size, stack.dtype, chunk, chunk, (40.0, edge, edge), version="0.4", levels=2)
        for size, edge in ((shape, 4.0), ((4, 48, 65), 8.0))
    ]
    place = store(tmp_path / "v.zarr")
    form = volume_formats.format_of("ome_zarr")
    form.create(place, levels, {})
    form.open(place, write=True).write(Box((0, 0, 0), shape), stack)
    monkeypatch.setattr("refocal.ui.napari.reader._READ_AT_ONCE", 1000)
    ((data, about, _),) = get_reader(str(tmp_path / "v.zarr"))(str(tmp_path / "v.zarr"))
    assert [level.shape for level in data] == [shape, (4, 48, 65)]
    assert not isinstance(data[0], np.ndarray)
    assert np.array_equal(np.asarray(data[0][1, 10:90, 5:77]), stack[1, 10:90, 5:77])
    layer = ViewerModel().add_image(data, **about)
    assert layer.multiscale
    assert volume_of(layer).info.voxel_nm == (40.0, 4.0, 4.0)


def test_what_is_not_ours_is_left_to_others(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a")
    for path in (tmp_path / "a.txt", tmp_path, tmp_path / "none.tif"):
        assert get_reader(str(path)) is None
    assert get_reader(["a.tif", "b.tif"]) is None


def test_parts_are_restored_as_in_the_section(stack: np.ndarray) -> None:
    restorer = restorer_of("unsharp:sigma_px=1.0")
    part = Box((1, 20, 30), (3, 80, 100))
    done = layer_jobs.restore(layer_jobs.LayerVolume(stack), part, restorer, None, threading.Event())
    for z in (1, 2):
        (whole,) = restorer([Frames(stack[z][None], contrast=Contrast(0, 255))])
        assert np.array_equal(done.counts[z - 1], whole.counts[20:80, 30:100])
    assert done.summary() == "2 restored"


def test_what_the_gate_keeps_and_what_fails_stays_as_it_was(stack: np.ndarray) -> None:
    class Broken(Inverse):
        def __call__(self, batch, /):
            raise RuntimeError("no\nmemory")

    part, volume = Box((0, 0, 0), (1, 96, 130)), layer_jobs.LayerVolume(stack)
    done = layer_jobs.restore(volume, part, Broken(), None, threading.Event())
    assert np.array_equal(done.counts, stack[:1])
    assert done.summary() == "1 failed; first error: RuntimeError: no memory"
    flat = layer_jobs.LayerVolume(np.full((96, 130), 7, np.uint8))
    done = layer_jobs.restore(flat, part, Inverse(), gate_of("sharpness"), threading.Event())
    assert (done.counts == 7).all()


def test_tiles_of_one_size_cover_the_part(stack: np.ndarray) -> None:
    part = Box((2, 3, 0), (4, 96, 130))
    done = layer_jobs.grade(layer_jobs.LayerVolume(stack), part, gate_of("always"), 64, threading.Event())
    covered = np.zeros(stack.shape, bool)
    for graded in done.graded:
        assert graded.box.shape == (1, 64, 64)
        covered[graded.box.slices] = True
    assert covered[part.slices].all()
    assert covered.sum() == np.prod(part.shape)


def test_a_crop_that_is_seen_and_the_section_that_is_shown(stack: np.ndarray) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(stack, scale=(40, 4, 4), units=("nm",) * 3)
    viewer.dims.set_point(0, 80)
    layer.corner_pixels = np.array([[2, 10, 20], [2, 49, 59]])
    assert part_of(layer, viewer.dims.point, "visible crop", stack.shape) == Box((2, 10, 20), (3, 50, 60))
    assert part_of(layer, viewer.dims.point, "section", stack.shape) == Box((2, 0, 0), (3, 96, 130))
    assert part_of(layer, viewer.dims.point, "everything", stack.shape) == Box((0, 0, 0), (4, 96, 130))


def test_the_widgets_grade_and_restore(qt, stack: np.ndarray) -> None:
    viewer = ViewerModel()
    layer = viewer.add_image(stack, name="raw", scale=(40, 4, 4), units=("nm",) * 3)
    layer.corner_pixels = np.array([[1, 10, 20], [1, 59, 119]])
    viewer.dims.set_point(0, 40)
    panel = restore_widget(viewer)
    panel.fields["Model"].setCurrentText("unsharp:sigma_px=1.0")
    panel.start.click()
    wait(panel)
    got = viewer.layers["raw restored"]
    assert got.data.shape == (1, 50, 100)
    assert tuple(got.translate) == (40, 40, 80)
    assert panel.words.text() == "1 restored"
    assert layer.data is stack
    panel = grade_widget(viewer)
    assert panel.layer.count() == 2
    panel.layer.setCurrentText("raw")
    panel.scope.setCurrentText("everything")
    panel.fields["Tile, px"].setValue(64)
    panel.start.click()
    wait(panel)
    shapes = viewer.layers["raw grades"]
    assert len(shapes.data) == 4 * 2 * 3
    assert set(shapes.features["verdict"]) <= set(COLOURS)
    assert shapes.face_color.shape == (24, 4)
    panel.close()


def test_cancelling_stops_after_the_section_that_is_worked_on(qt, stack: np.ndarray, monkeypatch) -> None:
    viewer, started, go = ViewerModel(), threading.Event(), threading.Event()
    viewer.add_image(np.concatenate([stack] * 10), name="raw")

    class Slow(Inverse):
        def __call__(self, batch, /):
            started.set()
            go.wait(30)
            return super().__call__(batch)

    slow = Slow()
    monkeypatch.setattr("refocal.ui.napari.widgets.restorer_of", lambda _: slow)
    panel = restore_widget(viewer)
    panel.scope.setCurrentText("everything")
    panel.start.click()
    assert not panel.start.isEnabled()
    assert started.wait(30)
    panel.cancel.click()
    go.set()
    wait(panel)
    assert slow.calls < 10
    assert panel.words.text().startswith("cancelled")
    assert len(viewer.layers) == 1


@pytest.mark.parametrize("text", ["gran-en", "unsharp:sigma=1", "unsharp:sigma_px=-1", ""])
def test_mistakes_are_one_line_in_the_widget(qt, stack: np.ndarray, text: str) -> None:
    viewer = ViewerModel()
    panel = restore_widget(viewer)
    panel.fields["Model"].setCurrentText(text)
    panel.start.click()
    assert "no image layer" in panel.words.text()
    viewer.add_image(stack)
    panel.start.click()
    assert panel.words.text()
    assert "\n" not in panel.words.text()
    assert panel.start.isEnabled()
    assert panel.task is None


def test_colour_images_are_refused(qt) -> None:
    viewer = ViewerModel()
    viewer.add_image(np.zeros((32, 32, 3), np.uint8), rgb=True)
    panel = grade_widget(viewer)
    panel.start.click()
    assert "grey" in panel.words.text()


SCREEN = """
import sys
import numpy as np
import napari
from refocal.ui.napari.widgets import grade_widget, restore_widget
from refocal.imaging.phantom import draw_section
from qtpy.QtWidgets import QApplication
viewer = napari.Viewer(show=True)
viewer.window._qt_window.resize(1300, 860)
soft = np.load(sys.argv[1])
viewer.add_image(soft, name="soft", scale=(4, 4), units=("nm", "nm"), contrast_limits=(0, 255))
grade, restore = grade_widget(viewer), restore_widget(viewer)
for name, panel in (("Grade", grade), ("Restore", restore)):
    viewer.window.add_dock_widget(panel, name=name)
viewer.reset_view()
QApplication.processEvents()
restore.fields["Model"].setCurrentText("unsharp:sigma_px=1.6,amount=1.5")
grade.scope.setCurrentText("everything")
grade.fields["Tile, px"].setValue(256)
for panel in (restore, grade):
    panel.layer.setCurrentText("soft")
    panel.start.click()
    while not panel.start.isEnabled():
        QApplication.processEvents()
    panel.task.wait()
for _ in range(20):
    QApplication.processEvents()
viewer.screenshot(sys.argv[2], canvas_only=False, flash=False)
print(sorted(layer.name for layer in viewer.layers))
viewer.close()
"""


def test_the_whole_window(tmp_path: Path) -> None:
    """A real viewer on a virtual screen; KEEP_SCREENSHOT names a file to look at."""
    xvfb = shutil.which("xvfb-run")
    if xvfb is None:
        pytest.skip("no virtual screen: xvfb is not installed")
    from scipy.ndimage import gaussian_filter

    with np.errstate(over="ignore"):
        soft = draw_section((768, 768), seed=3)
    soft[:, 256:] = gaussian_filter(soft, 2.2)[:, 256:]
    soft[:, 512:] = gaussian_filter(soft, 6.0)[:, 512:]
    noise = np.random.default_rng(0).normal(0, 0.02, soft.shape)
    np.save(tmp_path / "soft.npy", ((soft + noise).clip(0, 1) * 255).astype(np.uint8))
    picture = Path(os.environ.get("KEEP_SCREENSHOT", tmp_path / "window.png"))
    given = [xvfb, "-a", sys.executable, "-c", SCREEN, str(tmp_path / "soft.npy"), str(picture)]
    env = {**os.environ, "QT_QPA_PLATFORM": "xcb", "LIBGL_ALWAYS_SOFTWARE": "1", "HOME": str(tmp_path)}
    done = subprocess.run(given, env=env, capture_output=True, text=True, timeout=240, check=False)
    if "could not connect to display" in done.stderr or "Could not load the Qt platform" in done.stderr:
        pytest.skip("Qt finds no screen, or lacks libraries of the system")
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.strip().endswith("['soft', 'soft grades', 'soft restored']")
    with formats.open_image(picture) as image:
        assert min(image.info.shape[1:]) > 400
