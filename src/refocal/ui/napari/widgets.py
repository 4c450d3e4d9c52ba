"""The two widgets: grade and restore. Work runs in a thread of its own; the viewer is only touched in its thread."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from qtpy.QtCore import QThread, Signal
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QProgressBar,
    QPushButton,
    QSpinBox,
    QWidget,
)

from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.errors import RefocalError, UsageError
from refocal.core.values import Gate, Restorer
from refocal.engine import backends
from refocal.engine.job import Part
from refocal.models import header
from refocal.ui.napari import layer_jobs
from refocal.ui.napari.layers import SCOPES, grade_layer, part_of, restored_layer, volume_of

Work = Callable[[threading.Event, layer_jobs.Progress], layer_jobs.Done]


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a click on the button means: what to run, and how to show it."""

    run: Work
    show: Callable[[layer_jobs.Done], None]


class Task(QThread):
    """Runs work in a thread of its own and tells what comes of it."""

    stepped = Signal(int, int)
    done = Signal(object)
    failed = Signal(str)

    def __init__(self, run: Work, parent: QWidget) -> None:
        super().__init__(parent)
        self._run = run
        self.stop = threading.Event()

    def run(self) -> None:
        """Do it; called by Qt."""
        try:
            self.done.emit(self._run(self.stop, self.stepped.emit))
        except Exception as error:  # a thread has nobody above it
            words = " ".join(str(error).split())
            self.failed.emit(words if isinstance(error, RefocalError) else f"{type(error).__name__}: {words}")


class Panel(QWidget):
    """A form with the layer, the part of it, the given fields, two buttons, a bar and a line of words.

    Parameters
    ----------
    viewer
        The napari viewer.
    name
        Of the button that starts.
    fields
        What else is asked for, by name.
    prepare
        Makes of the layer and its part what is to be run; raises `RefocalError` if that cannot be.
    """

    def __init__(
        self, viewer: Any, name: str, fields: dict[str, QWidget], prepare: Callable[[Any, Box], Prepared]
    ) -> None:
        super().__init__()
        self._viewer, self._prepare = viewer, prepare
        self.fields = fields
        self.layer, self.scope = QComboBox(), QComboBox()
        self.scope.addItems(SCOPES)
        self.start, self.cancel = QPushButton(name), QPushButton("Cancel")
        self.bar, self.words = QProgressBar(), QLabel()
        self.words.setWordWrap(True)
        self.task: Task | None = None
        self._lay_out()
        self.start.clicked.connect(self._begin)
        self.cancel.clicked.connect(self._cancel)
        for event in (viewer.layers.events.inserted, viewer.layers.events.removed):
            event.connect(self._list_layers)
        self._list_layers()
        self._busy(False)

    def closeEvent(self, event: Any) -> None:
        """Stop what runs before the window goes."""
        self._cancel()
        if self.task:
            self.task.wait()
        super().closeEvent(event)

    def _lay_out(self) -> None:
        form = QFormLayout(self)
        for name, field in {"Layer": self.layer, "Part": self.scope, **self.fields}.items():
            form.addRow(name, field)
        buttons = QHBoxLayout()
        buttons.addWidget(self.start)
        buttons.addWidget(self.cancel)
        form.addRow(buttons)
        form.addRow(self.bar)
        form.addRow(self.words)

    def _list_layers(self, _: Any = None) -> None:
        chosen = self.layer.currentText()
        self.layer.clear()
        names = [layer.name for layer in self._viewer.layers if type(layer).__name__ == "Image"]
        self.layer.addItems(names)
        if chosen in names:
            self.layer.setCurrentText(chosen)

    def _begin(self) -> None:
        try:
            name = self.layer.currentText()
            if name not in self._viewer.layers:
                raise UsageError("there is no image layer; open an image first")
            layer = self._viewer.layers[name]
            volume = volume_of(layer)
            part = part_of(layer, self._viewer.dims.point, self.scope.currentText(), volume.info.shape)
            prepared = self._prepare(layer, part)
        except RefocalError as error:
            self.words.setText(str(error))
            return
        self.task = Task(prepared.run, self)
        self.task.stepped.connect(self._step)
        self.task.done.connect(partial(self._finish, prepared.show))
        self.task.failed.connect(self._fail)
        self._busy(True)
        self.words.setText("working ...")
        self.task.start()

    def _cancel(self) -> None:
        if self.task and self.task.isRunning():
            self.task.stop.set()
            self.words.setText("stopping after the section that is worked on ...")

    def _step(self, count: int, total: int) -> None:
        self.bar.setRange(0, total)
        self.bar.setValue(count)

    def _finish(self, show: Callable[[layer_jobs.Done], None], done: layer_jobs.Done) -> None:
        self._busy(False)
        self.bar.setValue(0 if done.cancelled else self.bar.maximum())
        self.words.setText(done.summary())
        show(done)

    def _fail(self, words: str) -> None:
        self._busy(False)
        self.words.setText(words)

    def _busy(self, busy: bool) -> None:
        self.start.setEnabled(not busy)
        self.cancel.setEnabled(busy)
        # A range without a length moves to and fro: how many there are is not known yet.
        self.bar.setRange(0, 0 if busy else 1)


def grade_widget(napari_viewer: Any) -> Panel:
    """Return the widget that grades tiles of a layer and shows the verdicts as coloured rectangles."""
    gate, tile = QLineEdit("sharpness"), QSpinBox()
    tile.setRange(64, 1 << 15)
    tile.setValue(1024)

    def prepare(layer: Any, part: Box) -> Prepared:
        made, volume, edge = gate_of(gate.text()), volume_of(layer), tile.value()

        def show(done: layer_jobs.Done) -> None:
            if done.graded:
                data, about, _ = grade_layer(layer, done.graded)
                napari_viewer.add_shapes(data, **about)

        return Prepared(lambda stop, progress: layer_jobs.grade(volume, part, made, edge, stop, progress), show)

    return Panel(napari_viewer, "Grade", {"Gate": gate, "Tile, px": tile}, prepare)


def restore_widget(napari_viewer: Any) -> Panel:
    """Return the widget that restores a part of a layer into a new layer."""
    gate, model = QLineEdit("always"), QComboBox()
    model.setEditable(True)
    model.addItems(header.shipped())

    def prepare(layer: Any, part: Box) -> Prepared:
        how = model.currentText().strip()
        made, restorer, volume = gate_of(gate.text()), restorer_of(how), volume_of(layer)

        def show(done: layer_jobs.Done) -> None:
            if done.counts is not None:
                data, about, _ = restored_layer(layer, part, done, how)
                napari_viewer.add_image(data, **about)

        return Prepared(lambda stop, progress: layer_jobs.restore(volume, part, restorer, made, stop, progress), show)

    return Panel(napari_viewer, "Restore", {"Model": model, "Gate": gate}, prepare)


def gate_of(text: str) -> Gate:
    """Return the gate that a text names, `kind` or `kind:option=value,...`."""
    gate: Gate = Part.parse(text.strip()).make("gates")
    return gate


def restorer_of(text: str) -> Restorer:
    """Return the restorer that a text names: a model, its path, or `kind:option=value,...` of another restorer."""
    if text.partition(":")[0] in registry.names("restorers"):
        restorer: Restorer = Part.parse(text).make("restorers")
        return restorer
    return backends.learned(text)
