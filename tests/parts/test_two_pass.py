"""Tiling with a common context gives what the untiled net gives."""

from pathlib import Path

import numpy as np
import pytest
import torch

from refocal.core.values import UNIT, Contrast, Frames
from refocal.engine import backends
from refocal.learn.export import onnx_graph
from refocal.models import header
from refocal.parts.nets._merged_gran import fold
from refocal.parts.nets.edsr import EDSR
from refocal.parts.nets.gran import GRAN

BACKENDS = [("torch", {"device": "cpu", "precision": "f32"}), ("openvino", {"precision": "f32"}), ("onnx", {})]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """GRAN with a gate that is wide open to its context, and EDSR, which has none."""
    folder = tmp_path_factory.mktemp("models")
    torch.manual_seed(3)
    options = {"channels": 1, "blocks": 2, "width": 8}
    found = {}
    for kind, cls in (("gran", GRAN), ("edsr", EDSR)):
        net = cls(**options)
        if kind == "gran":
            with torch.no_grad():
                net.attention.out.weight.normal_(0, 3)
                net.attention.phi.weight.normal_(0, 1)
        about = header.ModelHeader(name=kind, net=kind, options=options, reach=onnx_graph.reach_of(net))
        onnx_graph.publish(net, about, folder / f"{kind}.safetensors")
        found[kind] = folder / f"{kind}.safetensors"
    return found


def unlike_quadrants(rng: np.random.Generator, shape: tuple[int, int]) -> Frames:
    """An image whose tiles would each gather another context."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = (rng.random(shape) * (y / shape[0]) + (x > shape[1] / 2)).astype(np.float32)
    return Frames(image[None], contrast=UNIT)


@pytest.mark.parametrize(("backend", "options"), BACKENDS)
@pytest.mark.parametrize("net", ["gran", "edsr"])
@pytest.mark.parametrize("shape", [(131, 95), (96, 128), (7, 150)])
def test_tiles_equal_the_whole(
    net: str, backend: str, options: dict, shape: tuple[int, int], models: dict[str, Path], rng: np.random.Generator
) -> None:
    pytest.importorskip(backends.BACKENDS[backend])
    given = [unlike_quadrants(rng, shape)]
    (whole,) = backends.learned(models[net], backend, **options)(given)
    (tiled,) = backends.learned(models[net], backend, whole_px=1, tile_px=41, **options)(given)
    assert np.abs(whole.counts - tiled.counts).max() < 1e-5


def test_the_context_matters_so_the_test_above_says_something(
    models: dict[str, Path], rng: np.random.Generator
) -> None:
    given = unlike_quadrants(rng, (128, 128))
    restorer = backends.learned(models["gran"], "openvino", precision="f32")
    (whole,) = restorer([given])
    (part,) = restorer([Frames(given.counts[:, :64, :64], contrast=UNIT)])
    assert np.abs(whole.counts[:32, :32] - part.counts[:32, :32]).max() > 1e-3


def test_tiling_keeps_integer_counts(models: dict[str, Path], rng: np.random.Generator) -> None:
    counts = rng.integers(0, 2**16, (1, 90, 77), dtype=np.uint16)
    given = [Frames(counts, contrast=Contrast.of(np.uint16))]
    (whole,) = backends.learned(models["gran"], "openvino", precision="f32")(given)
    (tiled,) = backends.learned(models["gran"], "openvino", precision="f32", whole_px=1, tile_px=32)(given)
    assert tiled.counts.dtype == np.uint16
    assert np.abs(whole.counts.astype(int) - tiled.counts).max() <= 1


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("shape", [(4, 4), (6, 10), (32, 46)])
def test_the_folded_net_is_the_net_borders_included(channels: int, shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    net = GRAN(channels=channels, blocks=2, width=8).eval()
    torch.nn.init.normal_(net.attention.out.weight)
    folded = fold(net)
    assert folded is not None
    nodes = (shape[0] // 2, shape[1] // 2)
    given = torch.rand(1, channels, *shape), torch.full((1, 1, *nodes), 1 / (nodes[0] * nodes[1])), torch.zeros(1, 8, 8)
    with torch.no_grad():
        restored, gathered = folded(*given)
        assert torch.allclose(restored, net(given[0]), atol=1e-6)
        assert torch.allclose(gathered, net.gather(given[0]), atol=1e-6)
