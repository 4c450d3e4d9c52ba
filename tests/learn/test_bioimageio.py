"""Models to and from other programs: packages that the validator passes, and packages of others, read as data."""

import hashlib
import io
import os
import re
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import safetensors.torch
import torch
import yaml
from onnx import TensorProto, helper

from refocal.core import registry
from refocal.core.errors import BadModelError, UnsupportedError, UsageError
from refocal.core.values import Contrast, Frames
from refocal.engine import backends
from refocal.learn.export.onnx_graph import reach_of
from refocal.models import header, torch_weights
from refocal.ui.cli.export import export

ROOT = Path(__file__).parents[2]
OPTIONS = {"channels": 1, "width": 8, "blocks": 1, "image_residual": True}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = registry.make("nets", "gran", **OPTIONS).eval()
    with torch.no_grad():
        for tensor in net.parameters():
            tensor += 0.02 * torch.randn_like(tensor)
    about = header.ModelHeader(name="small", net="gran", options=OPTIONS, reach=reach_of(net), licence="CC-BY-4.0")
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    torch_weights.save(net, about, path)
    return path


@pytest.fixture(scope="module")
def package(model: Path) -> Path:
    export(str(model), onnx=model.with_name("alone.onnx"), bioimageio=model.with_suffix(".zip"))
    return model.with_suffix(".zip")


def load(path: Path, **options: object):
    return registry.make("restorers", "bioimageio_model", path=str(path), **options)


def test_a_package_passes_the_validator(package: Path) -> None:
    spec = pytest.importorskip("bioimageio.spec")
    with spec.ValidationContext(perform_io_checks=True):
        described = spec.load_description(package, format_version="discover")
    errors = [error.msg for detail in described.validation_summary.details for error in detail.errors]
    assert errors == []
    assert described.validation_summary.status in ("valid-format", "passed")


def test_a_package_passes_its_test_run(package: Path) -> None:
    core = pytest.importorskip("bioimageio.core")
    assert [d.name for d in core.test_model(package).details if d.status == "failed"] == []


def test_its_test_images_follow_from_its_weights(package: Path) -> None:
    with zipfile.ZipFile(package) as archive:
        seen, expected = (np.load(io.BytesIO(archive.read(f"test_{n}.npy"))) for n in ("input", "output"))
    given = Frames(seen[0].astype(np.float32), contrast=Contrast(0, 255))
    (got,) = load(package)([given])
    assert seen.dtype == np.uint8
    assert seen.std() > 5
    assert np.abs(got.counts - expected[0, 0]).max() < 0.01


def test_what_is_read_again_is_the_same_model(model: Path, package: Path, rng: np.random.Generator) -> None:
    there, here = load(package, threads=1), backends.learned(model, "torch", device="cpu")
    for kind in ("uint8", "uint16"):
        given = Frames(rng.integers(0, np.iinfo(kind).max, (1, 96, 131)).astype(kind), contrast=Contrast.of(kind))
        (got,), (expected,) = there([given]), here([given])
        difference = np.abs(got.counts.astype(float) - expected.counts)
        assert got.counts.dtype == kind
        assert difference.max() <= (1 if kind == "uint8" else 8)
    assert there.reach.halo == header.read(model).reach.halo


def test_the_documented_lines_read_the_weights_without_refocal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (body,) = re.findall(r"^```python\n(# Without refocal.*?)^```$", (ROOT / "docs/export.md").read_text(), re.M | re.S)
    assert "refocal." not in body.replace('"refocal"', "")
    path = header.find("gran-em")
    shutil.copy(path, tmp_path / path.name)
    monkeypatch.chdir(tmp_path)
    found: dict = {}
    exec(compile(body, "export.md", "exec"), found)
    image = torch.rand(1, 1, 24, 32, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.allclose(found["gran"](image), torch_weights.load(path)(image), atol=1e-4)
    assert safetensors.torch.load_file(path).keys() == found["w"].keys()


def test_the_graph_alone_has_one_input_and_one_output(model: Path, package: Path, rng: np.random.Generator) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(package.with_name("alone.onnx"), providers=["CPUExecutionProvider"])
    assert [i.name for i in session.get_inputs()] == ["image"]
    assert [o.name for o in session.get_outputs()] == ["restored"]
    image = rng.random((1, 1, 40, 26), np.float32)
    with torch.inference_mode():
        expected = torch_weights.load(model)(torch.from_numpy(image)).numpy()
    assert np.abs(session.run(None, {"image": image})[0] - expected).max() < 1e-4


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({}, "nothing to write"),
        ({"onnx": "small.onnx"}, "belongs to the model"),
        ({"onnx": "small.zip"}, r"ends in \.onnx"),
        ({"bioimageio": "none/small.zip"}, "folder that exists"),
    ],
)
def test_what_cannot_be_written_is_refused(model: Path, given: dict, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        export(str(model), **{name: model.parent / text for name, text in given.items()})


def graph(axes: str = "bcyx", channels: int = 1, gain: float = 1.0, size: int | None = None) -> bytes:
    """An ONNX network that multiplies by `gain`."""
    shape = [{"b": 1, "c": channels}.get(a, size or a) for a in axes]
    tensors = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("in", "out")]
    node = helper.make_node("Mul", ["in", "gain"], ["out"])
    constant = helper.make_tensor("gain", TensorProto.FLOAT, [], [gain])
    made = helper.make_graph([node], "g", tensors[:1], tensors[1:], [constant])
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def described(folder: Path, content: bytes, axes: str = "bcyx", shape: object = None, **tensors: list) -> Path:
    """A folder with a description of format 0.4."""
    shape = shape or {"min": [1] * len(axes), "step": [int(a in "yx") for a in axes]}
    given = {"name": "in", "axes": axes, "shape": shape, "data_type": "float32"}
    made = {"name": "out", "axes": axes, "shape": {"reference_tensor": "in"}}
    given["preprocessing"], made["postprocessing"] = tensors.get("before", []), tensors.get("after", [])
    weights_ = {"onnx": {"source": "w.onnx", "sha256": hashlib.sha256(content).hexdigest()}}
    said = {"format_version": "0.4.10", "inputs": [given], "outputs": [made], "weights": weights_}
    (folder / "w.onnx").write_bytes(content)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(said))
    return folder


def edited(folder: Path, change) -> Path:
    said = yaml.safe_load((folder / "rdf.yaml").read_text())
    change(said)
    (folder / "rdf.yaml").write_text(yaml.safe_dump(said))
    return folder


def noise(rng: np.random.Generator, shape: tuple[int, int] = (40, 27)) -> Frames:
    return Frames(rng.integers(0, 200, (1, *shape)).astype(np.uint8), contrast=Contrast(0, 255))


@pytest.mark.parametrize(("axes", "channels"), [("bcyx", 3), ("byxc", 1), ("cxy", 2), ("yx", 1)])
def test_axes_in_any_order(tmp_path: Path, rng: np.random.Generator, axes: str, channels: int) -> None:
    given = noise(rng)
    folder = described(tmp_path, graph(axes, channels, gain=0.4), axes, [channels if a == "c" else 0 for a in axes])
    edited(folder, lambda said: said["inputs"][0].update(shape={"min": [channels if a == "c" else 1 for a in axes],
           "step": [int(a in "yx") for a in axes]}))  # fmt: skip
    (got,) = load(folder)([given])
    assert np.array_equal(got.counts, np.rint(given.image * np.float32(0.4)))


@pytest.mark.parametrize(
    "before",
    [
        [{"name": "scale_linear", "kwargs": {"gain": [0.01], "offset": -0.3}}],
        [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "per_sample", "axes": "xy"}}],
        [{"name": "zero_mean_unit_variance", "kwargs": {"mode": "fixed", "mean": 90, "std": 40}}],
        [{"name": "scale_range", "kwargs": {"min_percentile": 1, "max_percentile": 99}}, {"name": "ensure_dtype"}],
    ],
)
def test_scalings_are_undone_where_nothing_comes_after(tmp_path: Path, rng, before: list) -> None:
    given = noise(rng)
    assert np.array_equal(load(described(tmp_path, graph(), before=before))([given])[0].counts, given.image)


def test_what_comes_after_is_taken_at_its_word(tmp_path: Path, rng: np.random.Generator) -> None:
    given = noise(rng)
    before, after = [{"name": "scale_linear", "kwargs": {"gain": 0.13}}], [{"name": "clip", "kwargs": {"max": 5.0}}]
    (got,) = load(described(tmp_path, graph(), before=before, after=after))([given])
    assert np.array_equal(got.counts, np.rint((given.image * np.float32(0.13)).clip(max=5)))


def test_a_network_of_one_size_sees_windows(tmp_path: Path, rng: np.random.Generator) -> None:
    given = noise(rng, (70, 90))
    (got,) = load(described(tmp_path, graph(size=48), shape=[1, 1, 48, 48]))([given])
    assert np.array_equal(got.counts, given.image)


def damage(said: dict) -> None:
    said["weights"]["onnx"]["sha256"] = "0" * 64


REFUSED = {
    "torchscript": (lambda said: said.update(weights={"torchscript": {"source": "w.pt"}}), "only ONNX"),
    "url": (lambda said: said["weights"]["onnx"].update(source="https://example.org/w.onnx"), "not inside"),
    "outside": (lambda said: said["weights"]["onnx"].update(source="../w.onnx"), "outside"),
    "gone": (lambda said: said["weights"]["onnx"].update(source="none.onnx"), "lacks"),
    "damaged": (damage, "SHA-256"),
    "inputs": (lambda said: said["inputs"].append({}), "2 inputs"),
    "depth": (lambda said: said["inputs"][0].update(axes="bczyx", shape=[1, 1, 8, 64, 64]), "axes"),
    "step": (lambda said: said["inputs"][0].update(preprocessing=[{"name": "run_me"}]), "run_me"),
    "settings": (lambda said: said["inputs"][0].update(preprocessing=[{"name": "scale_linear", "kwargs": {"gain": 0}}]),
                 "no use"),
    "nonsense": (lambda said: said.update(inputs=7), "not understood"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    change, why = REFUSED[case]
    folder = edited(described(tmp_path, graph()), change)
    with pytest.raises(BadModelError, match=why) as refused:
        load(folder)
    assert "\n" not in str(refused.value)


def test_no_package_at_all(tmp_path: Path) -> None:
    (tmp_path / "noise.zip").write_bytes(b"PK" + os.urandom(50))
    (tmp_path / "code.yaml").write_text("!!python/object/apply:os.system ['true']")
    with zipfile.ZipFile(tmp_path / "empty.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    for name in ("noise.zip", "code.yaml", "empty.zip", "none.zip"):
        with pytest.raises(BadModelError) as refused:
            load(tmp_path / name)
        assert "\n" not in str(refused.value)


def test_a_network_that_changes_the_size_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    tensors = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 1, "a", "b"]) for n in ("in", "out")]
    node = helper.make_node("MaxPool", ["in"], ["out"], kernel_shape=[2, 2], strides=[2, 2])
    made = helper.make_graph([node], "g", tensors[:1], tensors[1:])
    content = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    restorer = load(described(tmp_path, content))
    with pytest.raises(BadModelError, match="keeps the size"):
        restorer([noise(rng)])


def at(said: dict, *keys: object):
    for key in keys:
        said = said[key]
    return said


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (
            lambda s: at(s, "inputs", 0).update(shape={"min": [1, 1, float("inf"), 32], "step": [0, 0, 1, 1]}),
            "sizes are",
        ),
        (lambda s: at(s, "inputs", 0).update(shape={"min": [1, 1, 32.5, 32], "step": [0, 0, 1, 1]}), "sizes are"),
        (lambda s: at(s, "inputs", 0).update(shape={"min": [1, 1, 10**18, 10**18], "step": [0, 0, 1, 1]}), "sizes are"),
        (lambda s: at(s, "inputs", 0).update(shape={"min": [1, 1, -4, -4], "step": [0, 0, 1, 1]}), "sizes are"),
        (lambda s: at(s, "inputs", 0).update(shape={"min": [1, 1, 8, 8], "step": [0, 0, 50_000, 50_000]}), "steps of"),
        (lambda s: at(s, "inputs", 0).update(shape=[1, 1, 100_000, 100_000]), "up to 4096"),
        (lambda s: at(s, "inputs", 0).update(shape=[1, 10**6, 64, 64]), "channels"),
        (lambda s: at(s, "inputs", 0).update(shape=[1, 1, float("nan"), 64]), "sizes are"),
        (lambda s: at(s, "inputs", 0).update(axes="bcyyx", shape=[1, 1, 64, 64, 64]), "axes"),
        (lambda s: at(s, "outputs", 0).update(halo=[0, 0, float("inf"), 4]), "sizes are"),
        (
            lambda s: at(s, "inputs", 0).update(preprocessing=[{"name": "scale_linear", "kwargs": {"gain": 1e300}}]),
            "no use",
        ),
        (lambda s: at(s, "inputs", 0).update(preprocessing=[{"name": "x" * 9000}]), "not known"),
        (lambda s: s.update(weights={"x" * 9000: {}}), "weights of the kind"),
        (lambda s: at(s, "weights", "onnx").update(source="../../etc/passwd"), "outside"),
        (lambda s: at(s, "weights", "onnx").update(source="/etc/passwd"), "not inside"),
    ],
)
def test_descriptions_out_of_bounds_are_refused(tmp_path: Path, change, why: str) -> None:
    with pytest.raises(BadModelError, match=why) as refused:
        load(edited(described(tmp_path, graph()), change))
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 600


def zipped(folder: Path, **files: bytes) -> Path:
    described(folder, graph())
    path = folder / "package.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "rdf.yaml", "rdf.yaml")
        archive.writestr("w.onnx", files.get("weights", (folder / "w.onnx").read_bytes()))
    return path


def test_archives_that_unpack_to_more_than_weights_do_are_refused(tmp_path: Path) -> None:
    path = zipped(tmp_path, weights=bytes(200 << 20))
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BadModelError, match="unpacks to"):
        load(path)


def test_damaged_archives_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = zipped(tmp_path)
    content = path.read_bytes()
    for at_ in rng.integers(0, len(content), 150):
        damaged = bytearray(content)
        damaged[at_] ^= 1 << int(rng.integers(8))
        path.write_bytes(bytes(damaged))
        try:
            load(path)
        except BadModelError as error:
            assert "\n" not in str(error)  # noqa: PT017


def test_weights_in_other_files_of_a_package_are_refused(tmp_path: Path) -> None:
    model = onnx.load_from_string(graph())
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "other.bin"
    (tmp_path / "other.bin").write_bytes(bytes(64))
    with pytest.raises(BadModelError, match="weights in other files"):
        load(described(tmp_path, model.SerializeToString()))


def test_answers_that_are_no_numbers_are_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    restorer = load(described(tmp_path, graph(gain=float("nan"))))
    with pytest.raises(UnsupportedError, match="not finite"):
        restorer([noise(rng)])
