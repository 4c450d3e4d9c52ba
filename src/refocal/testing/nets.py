"""What every net promises: its reach, its sizes, and that files and runtimes compute what the module computes."""

import inspect
import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.values import UNIT, Frames
from refocal.engine import backends
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.testing._part import PartContract


class NetContract(PartContract):
    """Every test runs on the net that its class attribute `small_options` makes."""

    family: ClassVar[str] = "nets"

    def export_options(self, kind: str) -> dict[str, Any]:
        """Return what else makes the exported net small; exporting takes the longer the more layers there are."""
        return {}

    @classmethod
    def small(cls, kind: str, **more: Any) -> Any:
        """Make a small net whose every weight matters."""
        return small(kind, **more)

    @pytest.fixture(scope="class")
    @classmethod
    def published(cls, kind: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
        """Return a small net, its weights float16 values, and the model file beside its graph."""
        more = cls().export_options(kind)
        net = torch_weights.round_to(cls.small(kind, **more))
        path = tmp_path_factory.mktemp(kind) / f"{kind}.safetensors"
        onnx_graph.publish(net, cls().described(kind, net, more), path)
        return net, path

    def described(self, kind: str, net: Any, more: dict[str, Any]) -> header.ModelHeader:
        """Return the header of a model file of a small net."""
        return header.ModelHeader(
            name=kind, net=kind, options={**small_options(kind), **more}, reach=onnx_graph.reach_of(net),
            channels=net.inputs, frames=net.frames,
        )  # fmt: skip

    def test_its_small_options_survive_json(self, kind: str) -> None:
        """Recipes and model headers hold options as JSON: what comes back must make the same net."""
        again = json.loads(json.dumps(small_options(kind)))
        one, two = (registry.make(self.family, kind, **options) for options in (small_options(kind), again))
        assert {n: t.shape for n, t in one.state_dict().items()} == {n: t.shape for n, t in two.state_dict().items()}
        assert one.reach == two.reach
        assert one.reach.multiple >= 1

    def test_its_defaults_are_values_that_json_can_hold(self, kind: str) -> None:
        parameters = inspect.signature(registry.load(self.family, kind)).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        assert json.loads(json.dumps(defaults)) == {n: _listed(value) for n, value in defaults.items()}

    def test_it_keeps_the_size_for_every_multiple(self, kind: str) -> None:
        net = self.small(kind)
        m = net.reach.multiple
        for height, width in ((2, 3), (8, 5), (13, 16)):
            shape = net(torch.rand(1, net.inputs, height * m, width * m)).shape
            assert shape[:2] == (1, net.outputs)
            assert shape[-2:] == (height * m, width * m)

    def test_a_batch_equals_its_singles(self, kind: str) -> None:
        net = self.small(kind)
        m = net.reach.multiple
        images = torch.rand(3, net.inputs, -(-24 // m) * m, -(-32 // m) * m)
        with torch.no_grad():
            together, alone = net(images), torch.cat([net(i[None]) for i in images])
        assert torch.allclose(together, alone, atol=1e-5)

    def test_gradients_stay_inside_the_declared_halo(self, kind: str) -> None:
        """A pixel's output must not depend on anything further away, and the halo must not be far too generous."""
        net = self.small(kind)
        if net.reach.window is not None:
            pytest.skip("mixes the whole window; see the next test")
        halo = net.reach.halo
        edge = -(-2 * (halo + 8) // net.reach.multiple) * net.reach.multiple
        image = torch.rand(1, net.inputs, edge, edge, requires_grad=True)
        output = net.finish(image, torch.rand_like(net.gather(image))) if net.reach.context else net(image)
        y = x = edge // 2
        output[0, 0, ..., y, x].sum().backward()
        rows, columns = torch.nonzero(_grad(image)[0, 0], as_tuple=True)
        reached = int(torch.cat(((rows - y).abs(), (columns - x).abs())).max())
        assert reached <= halo
        assert reached >= halo / 2

    def test_nets_with_a_window_mix_all_of_it(self, kind: str) -> None:
        net = self.small(kind)
        if net.reach.window is None:
            pytest.skip("has a halo instead")
        image = torch.rand(1, net.inputs, net.reach.window, net.reach.window, requires_grad=True)
        net(image)[0, 0, 0, 0].backward()
        assert all(_grad(image)[0, 0, y, x] for y, x in ((0, 0), (0, -1), (-1, 0), (-1, -1)))
        with pytest.raises(BadOptionError, match="window must be"):
            self.small(kind, window=net.reach.window + 1)

    def test_the_exported_graph_gives_the_same(self, kind: str, published: tuple[Any, Path]) -> None:
        net, path = published
        session = onnxruntime.InferenceSession(path.with_suffix(".onnx"), providers=["CPUExecutionProvider"])
        m, window = net.reach.multiple, net.reach.window
        edges = (window, window) if window else (-(-40 // m) * m, -(-72 // m) * m)
        image = torch.rand(1, net.inputs, *edges)
        inputs = {"image": image.numpy()}
        with torch.no_grad():
            expected = net(image)
            if net.reach.context:
                inputs["share"] = np.full((1, 1, *(n // m for n in edges)), m * m / image.numel(), np.float32)
                inputs["context"] = torch.zeros_like(net.gather(image)).numpy()
        assert np.abs(session.run(["restored"], inputs)[0] - expected.numpy()).max() < 1e-4 * expected.abs().max()

    def test_the_runtimes_agree_with_torch(self, kind: str, published: tuple[Any, Path]) -> None:
        """Nets of one grey image in, one out; nets for folds, bursts and cells have restorers of their own."""
        net, path = published
        if (net.inputs, net.outputs) != (1, 1):
            pytest.skip(f"{kind} is not a net of one image")
        torch_ = backends.learned(path, "torch", device="cpu")
        there = {"onnx": backends.learned(path, "onnx")}
        if find_spec("openvino"):
            there["openvino"] = backends.learned(path, "openvino", precision="f32")
        given = [
            Frames(np.random.default_rng(0).random((1, *shape), np.float32), contrast=UNIT)
            for shape in ((1, 1), (31, 46), (64, 50))
        ]
        expected = [torch_([frames])[0].counts for frames in given]
        for name, restorer in there.items():
            got = [restorer([frames])[0].counts for frames in given]
            difference = np.concatenate([np.abs(a - b).ravel() for a, b in zip(expected, got, strict=True)])
            assert difference.mean() < 1e-5, name
            # Norms that divide by a small spread magnify rounding; 5e-4 is an eighth of a grey level.
            assert difference.max() < 5e-4, name

    def test_saved_and_loaded_it_is_the_same(self, kind: str, tmp_path: Path) -> None:
        net: Any = torch_weights.round_to(self.small(kind))
        torch_weights.save(net, self.described(kind, net, {}), tmp_path / "net.safetensors")
        again = torch_weights.load(tmp_path / "net.safetensors")
        image = torch.rand(1, net.inputs, 64, 64)
        with torch.no_grad():
            assert torch.equal(again(image), net(image))
        assert again.reach == net.reach == header.read(tmp_path / "net.safetensors").reach.value

    def test_a_model_in_full_precision_is_the_same_net(self, kind: str, tmp_path: Path) -> None:
        net = self.small(kind)
        written = torch_weights.save(net, self.described(kind, net, {}), tmp_path / "m.safetensors", torch.float32)
        again = torch_weights.load(tmp_path / "m.safetensors")
        assert header.read(tmp_path / "m.safetensors") == written
        for name, tensor in net.state_dict().items():
            assert torch.equal(tensor, again.state_dict()[name]), name

    def test_every_parameter_learns(self, kind: str) -> None:
        net = self.small(kind)
        edge = max(32, 2 * net.reach.multiple)
        net(torch.rand(1, net.inputs, edge, edge)).square().mean().backward()
        assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in net.parameters())


def small_options(kind: str) -> dict[str, Any]:
    """Return the options that a net declares for tests."""
    return dict(registry.load("nets", kind).small_options)


def small(kind: str, **more: Any) -> Any:
    """Make a small net, ready to restore, whose every weight matters."""
    torch.manual_seed(0)
    net = registry.make("nets", kind, **{**small_options(kind), **more})
    # Zero-initialised last layers would hide what reaches the output.
    for parameter in net.parameters():
        if not parameter.detach().any():
            nn.init.normal_(parameter, std=0.1)
    return net.eval()


def _grad(image: Tensor) -> Tensor:
    assert image.grad is not None
    return image.grad


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple | list) else value
