"""One graph on every runtime: what it declares, what it needs to be installed, what it refuses."""

import subprocess
import sys

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError, MissingExtraError, RefocalError
from refocal.core.values import LearnedRestorer
from refocal.models import header, runtimes

MODEL = "student-em"
PLAIN = """
import sys
sys.modules["torch"] = None  # not installed
import numpy as np
from refocal.core import registry
from refocal.core.values import Contrast, Frames
from refocal.engine import backends
image = np.random.default_rng(0).integers(0, 255, (3, 64, 72), np.uint8)
made = [backends.learned("student-em")]
made += [registry.make("restorers", "burst", model="burst-em")]
made += [registry.make("restorers", "fold", interpolation="fold-interpolate")]
for restorer in made:
    (got,) = restorer([Frames(image, 1, Contrast(0, 255))])
    assert got.counts.shape == (64, 72), restorer
cells = registry.make("segmenters", "contour_watershed")(Frames(image[:1], contrast=Contrast(0, 255)))
assert cells.shape == (1, 64, 72)
"""


def test_a_plain_install_restores_and_segments() -> None:
    done = subprocess.run([sys.executable, "-c", PLAIN], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", runtimes.PACKAGES)
def test_every_runtime_says_the_same_of_a_model(name: str) -> None:
    pytest.importorskip(runtimes.PACKAGES[name])
    graph, about = runtimes.open_graph(MODEL, name), header.read(header.find(MODEL))
    assert (graph.channels, graph.frames, graph.reach) == (about.channels, about.frames, about.reach.value)
    assert graph.model_sha256 == about.tensors_sha256
    restorer = registry.make("restorers", f"{name}_model", model=MODEL)
    assert isinstance(restorer, LearnedRestorer)
    assert restorer.model_sha256 == about.tensors_sha256
    assert not isinstance(registry.make("restorers", "identity"), LearnedRestorer)


@pytest.mark.parametrize("name", runtimes.PACKAGES)
def test_a_runtime_that_is_not_installed_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = runtimes.PACKAGES[name]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(sys.modules, f"refocal.models.runtimes.{name}", raising=False)
    with pytest.raises(MissingExtraError, match=f"{package} is not installed; it comes with: pip install"):
        runtimes.open_graph(MODEL, name)


def test_unknown_runtimes_are_refused_in_one_line() -> None:
    with pytest.raises(BadOptionError, match="openvino"):
        runtimes.open_graph(MODEL, "openvinno")
    for kind, options in (("burst", {"model": "burst-em"}), ("fold", {"interpolation": "fold-interpolate"})):
        with pytest.raises(RefocalError, match="openvino_model, onnx_model, got 'wiener'") as refused:
            registry.make("restorers", kind, runtime="wiener", **options)
        assert "\n" not in str(refused.value)


def test_a_net_in_memory_restores_as_its_file_does() -> None:
    torch_weights = pytest.importorskip("refocal.models.torch_weights")
    image = np.random.default_rng(0).random((1, 1, 32, 48), np.float32)
    net = torch_weights.load(header.find(MODEL)).train()
    held, filed = runtimes.open_graph(net, "torch", device="cpu"), runtimes.open_graph(MODEL, "torch", device="cpu")
    np.testing.assert_array_equal(held.whole(image), filed.whole(image))
    assert held.model_sha256 is None
    assert not net.training
