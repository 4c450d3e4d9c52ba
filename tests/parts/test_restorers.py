"""The contract of every restorer, bad options, precision, and classical restorers against independent references."""

import inspect
from pathlib import Path

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Frames
from refocal.engine import backends
from refocal.learn.export import onnx_graph
from refocal.models import header
from refocal.testing import RestorerContract, restorers
from refocal.testing.nets import small, small_options


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: publish(kind, folder) for kind in ("gran", "burst")}


def publish(kind: str, folder: Path) -> Path:
    net, path = small(kind), folder / f"{kind}.safetensors"
    about = header.ModelHeader(
        name=kind, net=kind, options=small_options(kind), reach=onnx_graph.reach_of(net),
        frames=net.frames,
    )  # fmt: skip
    onnx_graph.publish(net, about, path)
    return path


def frames(shape: tuple[int, int], dtype: str) -> Frames:
    return restorers.frames(shape, dtype)


class TestEveryRestorer(RestorerContract):
    kinds = registry.names("restorers")

    @pytest.fixture(autouse=True)
    def _models(self, models: dict[str, Path]) -> None:
        self.models = models

    def options(self, kind: str) -> dict[str, str]:
        takes = inspect.signature(registry.load("restorers", kind)).parameters.values()
        needed = {p.name for p in takes if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        if needed - {"model"}:
            pytest.skip(f"{kind} needs {sorted(needed)}; it has a contract of its own")
        return {"model": str(self.models["burst" if kind == "burst" else "gran"])} if "model" in needed else {}


@pytest.mark.parametrize("kind", ["openvino_model", "torch_model", "onnx_model"])
@pytest.mark.parametrize("option", [{"precision": "f64"}, {"threads": 0}, {"whole_px": 0}, {"device": "tpu!"}])
def test_bad_options_are_refused_in_one_line(kind: str, option: dict[str, object], models: dict[str, Path]) -> None:
    with pytest.raises(BadOptionError) as refused:
        registry.make("restorers", kind, model=str(models["gran"]), **option)
    assert "\n" not in str(refused.value)


def test_bfloat16_is_close_to_float32(models: dict[str, Path]) -> None:
    given = frames((64, 64), "float32")
    (exact,) = backends.learned(models["gran"], "openvino", precision="f32")([given])
    (fast,) = backends.learned(models["gran"], "openvino", precision="bf16")([given])
    assert np.abs(exact.counts - fast.counts).max() < 0.02 * max(1.0, float(np.abs(exact.counts).max()))


def test_a_classical_restorer_sharpens_what_a_known_blur_softened(rng: np.random.Generator) -> None:
    from scipy.ndimage import gaussian_filter

    truth = gaussian_filter(rng.random((96, 96)), 1.0)
    truth = ((truth - truth.min()) / np.ptp(truth)).astype(np.float32)
    blurred = Frames(gaussian_filter(truth, 1.5, mode="mirror")[None], contrast=UNIT)
    before = np.mean((blurred.image - truth) ** 2)
    for kind, options in (
        ("wiener", {"sigma_px": 1.5, "noise": 1e-3}),
        ("wiener", {"sigma_px": 1.5, "noise": 1e-3, "truth": truth}),
        ("richardson_lucy", {"sigma_px": 1.5, "iterations": 30}),
        ("unsharp", {"sigma_px": 1.5, "amount": 1.0}),
    ):
        (restored,) = registry.make("restorers", kind, **options)([blurred])
        assert np.mean((restored.counts - truth) ** 2) < 0.7 * before, kind


def test_wiener_and_richardson_lucy_agree_with_scikit_image(rng: np.random.Generator) -> None:
    restoration = pytest.importorskip("skimage.restoration")
    from scipy.ndimage import gaussian_filter

    image = gaussian_filter(rng.random((80, 80)), 2.0).astype(np.float32)
    image = (image - image.min()) / np.ptp(image)
    kernel = np.outer(*[np.exp(-0.5 * (np.arange(-6, 7) / 1.2) ** 2)] * 2)
    kernel /= kernel.sum()
    restorer = registry.make("restorers", "richardson_lucy", kernel=kernel.tolist(), iterations=5)
    (ours,) = restorer([Frames(image[None], contrast=UNIT)])
    reference = restoration.richardson_lucy(np.pad(image, 40, mode="reflect"), kernel, num_iter=5, clip=False)
    assert np.abs(ours.counts - reference[40:-40, 40:-40]).max() < 2e-3
