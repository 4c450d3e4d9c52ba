"""What every restorer promises: input untouched, size and dtype kept, deterministic, a batch equals its singles."""

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Contrast, Frames
from refocal.engine import backends
from refocal.learn.export import onnx_graph
from refocal.models import header, weights

NETS = registry.names("nets")
SMALL = {"channels": 1, "blocks": 2, "width": 8, "layers": 2, "growth": 4, "groups": 1, "scale": 1, "levels": 2}
SIZES = [(1, 1), (1, 7), (5, 2), (33, 64), (48, 37)]


def small(kind: str) -> tuple[torch.nn.Module, dict[str, object]]:
    """A small random net whose every part matters: nothing stays zero-initialised."""
    torch.manual_seed(1)
    taken = inspect.signature(registry.load("nets", kind)).parameters
    options = {k: v for k, v in SMALL.items() if k in taken}
    net = registry.make("nets", kind, **options).eval()
    with torch.no_grad():
        for tensor in net.parameters():
            if tensor.ndim > 1 and not tensor.any():
                tensor.normal_(0, 0.5)
    return net, options


def publish(kind: str, folder: Path) -> Path:
    net, options = small(kind)
    about = header.ModelHeader(
        name=kind, net=kind, options=options, reach=onnx_graph.reach_of(net), frames=getattr(net, "frames", 1)
    )
    onnx_graph.publish(net, about, folder / f"{kind}.safetensors")
    return folder / f"{kind}.safetensors"


def is_image_net(kind: str) -> bool:
    """Nets of one grey image in, one out; nets for folds and bursts have contracts of their own."""
    net, _ = small(kind)
    try:
        with torch.no_grad():
            return tuple(net(torch.rand(1, 1, 32, 32)).shape) == (1, 1, 32, 32)
    except (TypeError, RuntimeError, AttributeError):
        return False


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: publish(kind, folder) for kind in NETS if is_image_net(kind)}


def make(kind: str, models: dict[str, Path]):
    takes = inspect.signature(registry.load("restorers", kind)).parameters
    needed = {n for n, p in takes.items() if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    if needed - {"model"}:
        pytest.skip(f"{kind} needs {sorted(needed)}; it has a contract of its own")
    model = models["burst" if kind == "burst" else "gran"]
    return registry.make("restorers", kind, **({"model": str(model)} if "model" in needed else {}))


def frames(shape: tuple[int, int], dtype: str, seed: int = 0) -> Frames:
    unit = np.random.default_rng(seed).random((1, *shape))
    top = np.iinfo(dtype).max if np.dtype(dtype).kind == "u" else 1.0
    return Frames((unit * top).astype(dtype), contrast=Contrast.of(dtype))


@pytest.mark.parametrize("kind", registry.names("restorers"))
def test_restorers_keep_size_and_dtype_and_leave_the_input_alone(kind: str, models: dict[str, Path]) -> None:
    restorer = make(kind, models)
    assert restorer.reach.halo >= 0
    for shape in SIZES:
        for dtype in ("uint8", "uint16", "float32"):
            given = frames(shape, dtype)
            before = given.counts.copy()
            given.counts.flags.writeable = False
            (restored,) = restorer([given])
            assert restored.counts.shape == shape
            assert restored.counts.dtype == given.counts.dtype
            assert restored.contrast == given.contrast
            assert restored.trust is None or restored.trust.shape == shape
            assert np.isfinite(restored.counts).all()
            assert np.array_equal(given.counts, before)
            assert not np.shares_memory(restored.counts, given.counts)


@pytest.mark.parametrize("kind", registry.names("restorers"))
def test_restorers_are_deterministic_and_a_batch_equals_its_singles(kind: str, models: dict[str, Path]) -> None:
    restorer = make(kind, models)
    batch = [frames((40, 52), "uint16", seed) for seed in range(3)]
    together = restorer(batch)
    for given, got in zip(batch, together, strict=True):
        assert np.array_equal(got.counts, restorer([given])[0].counts)
    assert restorer([]) == []


@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("backend", ["openvino", "onnx"])
def test_the_runtimes_agree_with_torch(net: str, backend: str, models: dict[str, Path]) -> None:
    if net not in models:
        pytest.skip(f"{net} is not a net of one image")
    pytest.importorskip(backends.BACKENDS[backend])
    options = {"precision": "f32"} if backend == "openvino" else {}
    there = backends.learned(models[net], backend, **options)
    torch_ = backends.learned(models[net], "torch", device="cpu")
    for shape in ((1, 1), (31, 46), (64, 50)):
        given = frames(shape, "float32")
        (expected,), (got,) = torch_([given]), there([given])
        difference = np.abs(expected.counts - got.counts)
        assert difference.mean() < 1e-5
        # Norms that divide by a small spread magnify rounding here and there; 5e-4 is an eighth of a grey level.
        assert difference.max() < 5e-4


@pytest.mark.parametrize("net", NETS)
def test_a_saved_model_is_the_same_net(net: str, models: dict[str, Path], tmp_path: Path) -> None:
    if net not in models:
        pytest.skip(f"{net} is not a net of one image")
    module, options = small(net)
    about = header.ModelHeader(name=net, net=net, options=options, reach=onnx_graph.reach_of(module))
    written = weights.save(module, about, tmp_path / "m.safetensors", torch.float32)
    again = weights.load(tmp_path / "m.safetensors")
    assert header.read(tmp_path / "m.safetensors") == written
    for name, tensor in module.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name]), name


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
