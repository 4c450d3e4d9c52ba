"""Model files: what was written is read, and nothing damaged is believed."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from refocal.core.errors import BadModelError, UnknownPartError
from refocal.core.values import UNIT, Frames
from refocal.engine import backends
from refocal.learn.export import onnx_graph
from refocal.models import header, torch_weights
from refocal.models.onnx_file import refuse_external
from refocal.parts.nets.burst import Burst
from refocal.parts.nets.gran import GRAN

OPTIONS = {"channels": 1, "blocks": 1, "width": 8}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = GRAN(**OPTIONS)
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    about = header.ModelHeader(
        name="tiny", net="gran", options=OPTIONS, reach=onnx_graph.reach_of(net), licence="CC0-1.0",
        training=header.Training(seconds=1.5, steps=3, seed=7), recipe={"steps": 3}, data={"a.tif": "0" * 64},
    )  # fmt: skip
    onnx_graph.publish(net, about, path)
    return path


def refuses(path: Path) -> str:
    with pytest.raises(BadModelError) as refused:
        header.onnx_bytes(path, header.read(path))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def copy(model: Path, folder: Path) -> Path:
    for suffix in (".safetensors", ".onnx"):
        (folder / f"tiny{suffix}").write_bytes(model.with_suffix(suffix).read_bytes())
    return folder / "tiny.safetensors"


def test_a_header_says_what_was_written(model: Path) -> None:
    about = header.read(model)
    assert (about.name, about.net, about.options, about.licence) == ("tiny", "gran", OPTIONS, "CC0-1.0")
    assert about.reach.value == GRAN(**OPTIONS).reach
    assert about.training.steps == 3


def test_a_header_is_read_without_torch(model: Path) -> None:
    code = (
        f"from refocal.models import header; import sys; header.read({str(model)!r}); "
        "assert not {'torch', 'safetensors', 'openvino', 'cv2'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_other_readers_of_safetensors_see_the_tensors(model: Path) -> None:
    from safetensors.torch import load_file

    assert {k: v.dtype for k, v in load_file(model).items()} == dict.fromkeys(
        GRAN(**OPTIONS).state_dict(), torch.float16
    )


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True), st.integers(1, 255), st.sampled_from([".safetensors", ".onnx"]))
def test_any_flipped_byte_is_noticed(model: Path, tmp_path: Path, where: float, flip: int, suffix: str) -> None:
    path = copy(model, tmp_path)
    content = bytearray(path.with_suffix(suffix).read_bytes())
    content[int(where * len(content))] ^= flip
    path.with_suffix(suffix).write_bytes(content)
    refuses(path)


def test_every_byte_of_the_head_is_sealed(model: Path, tmp_path: Path) -> None:
    path = copy(model, tmp_path)
    content = model.read_bytes()
    for where in range(8 + int.from_bytes(content[:8], "little")):
        path.write_bytes(content[:where] + bytes([content[where] ^ 1]) + content[where + 1 :])
        refuses(path)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.floats(0, 1, exclude_max=True))
def test_truncated_files_are_refused(model: Path, tmp_path: Path, where: float) -> None:
    path = copy(model, tmp_path)
    content = model.read_bytes()
    path.write_bytes(content[: int(where * len(content))])
    refuses(path)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_anything_else_is_no_model(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "noise.safetensors"
    path.write_bytes(content)
    refuses(path)
    path.write_bytes(len(content).to_bytes(8, "little") + content)
    refuses(path)


def test_hostile_heads_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.safetensors"
    for text in ("[" * 100_000, '{"__metadata__": {"refocal": "' + "[" * 100_000 + '", "seal": ""}}', "9" * 10_000):
        path.write_bytes(len(text).to_bytes(8, "little") + text.encode())
        refuses(path)


def test_another_format_version_says_update(model: Path, tmp_path: Path) -> None:
    path = tmp_path / "new.safetensors"
    text = json.dumps({"__metadata__": {"refocal": json.dumps({"format_version": 9}), "seal": ""}}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    assert "format 9" in refuses(path)


def test_a_missing_or_foreign_onnx_file_is_refused(model: Path, tmp_path: Path) -> None:
    path = copy(model, tmp_path)
    path.with_suffix(".onnx").unlink()
    assert "publish it again" in refuses(path)
    assert "cannot read" in refuses(tmp_path / "none.safetensors")


def test_weights_that_do_not_fit_their_net_are_refused(model: Path, tmp_path: Path) -> None:
    about = header.read(model)
    for change in ({"options": {**OPTIONS, "blocks": 3}}, {"net": "grann"}, {"options": {"bloks": 3}}):
        path = tmp_path / "odd.safetensors"
        torch_weights.save(GRAN(**OPTIONS), about.model_copy(update=change), path)
        with pytest.raises(BadModelError):
            torch_weights.load(path)


def test_values_beyond_half_precision_are_kept(tmp_path: Path) -> None:
    options = {"width": 8, "growth": 4, "layers": 1, "levels": 1}
    net = Burst(**options).eval()
    norm = next(m for m in net.modules() if isinstance(m, torch.nn.BatchNorm2d))
    norm.running_var.fill_(1e6)
    about = header.ModelHeader(
        name="b", net="burst", options=options, reach=onnx_graph.reach_of(net), licence="CC0-1.0"
    )
    onnx_graph.publish(net, about, tmp_path / "b.safetensors")
    frames = torch.rand(1, 3, 32, 32)
    with torch.inference_mode():
        np.testing.assert_array_equal(torch_weights.load(tmp_path / "b.safetensors")(frames), net(frames))
    state = torch_weights.load(tmp_path / "b.safetensors").state_dict()
    assert all(tensor.isfinite().all() for tensor in state.values())


def test_models_are_found_by_path_and_name(model: Path) -> None:
    assert header.find(model) == model
    assert header.find(model.with_suffix(".onnx")) == model
    for name in header.shipped():
        assert header.find(name).is_file()
    with pytest.raises(UnknownPartError, match="no model"):
        header.find("grann-em")


def test_a_colour_model_restores_grey_images(tmp_path: Path, rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    colour = GRAN(channels=3, blocks=1, width=8)
    options = {"channels": 3, "blocks": 1, "width": 8}
    about = header.ModelHeader(name="c", net="gran", options=options, reach=onnx_graph.reach_of(colour), channels=3)
    torch_weights.save(colour, about, tmp_path / "c.safetensors", torch.float32)
    image = rng.random((1, 20, 24)).astype(np.float32)
    (restored,) = backends.learned(tmp_path / "c.safetensors", "torch", device="cpu")([Frames(image, contrast=UNIT)])
    with torch.no_grad():
        expected = colour.eval()(torch.from_numpy(image)[None].expand(-1, 3, -1, -1))[0].mean(0).numpy()
    assert np.abs(restored.counts - expected).max() < 1e-5


@pytest.mark.parametrize("name", header.shipped())
def test_shipped_models_are_whole_small_and_finite(name: str) -> None:
    path = header.find(name)
    about = header.read(path)
    assert len(header.onnx_bytes(path, about)) < 10e6
    assert path.stat().st_size < 10e6
    assert path.with_suffix(".md").is_file()
    assert about.licence
    assert about.recipe_sha256
    assert about.data
    assert all(tensor.isfinite().all() for tensor in torch_weights.load(path).state_dict().values())


@pytest.mark.parametrize("name", ["gran-em", "student-em"])
def test_shipped_models_agree_on_every_runtime(name: str, rng: np.random.Generator) -> None:
    given = [Frames(rng.random((1, 45, 64)).astype(np.float32), contrast=UNIT)]
    (expected,) = backends.learned(name, "torch", device="cpu")(given)
    (got,) = backends.learned(name, "openvino", precision="f32")(given)
    assert np.abs(expected.counts - got.counts).max() < 1e-4


def remade(model: Path, folder: Path, **changes: dict) -> Path:
    """Copy a model with other words in its header, sealed as if they were its own."""
    path = copy(model, folder)
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    table = json.loads(content[8 : 8 + size])
    about = json.loads(table["__metadata__"]["refocal"])
    for name, change in changes.items():
        about[name] = {**about[name], **change} if isinstance(change, dict) else change
    table["__metadata__"] = {"refocal": json.dumps(about), "seal": "0" * 64}
    head = json.dumps(table, separators=(",", ":")).encode()
    path.write_bytes(header.seal(len(head).to_bytes(8, "little") + head) + content[8 + size :])
    return path


@pytest.mark.parametrize(
    "changes",
    [
        *({"options": {name: 10**9}} for name in ("blocks", "width", "channels", "hr_blocks")),
        {"options": {"blocks": 1000}},
        {"options": {"blocks": 1000, "width": 1000}},
        {"options": {"width": 16}},
        {"options": {"blocks": -1}},
        {"options": {"blocks": "x"}},
        {"options": {"blocks": [1] * 10_000}},
        {"net": "sgpn", "options": {"encoder": [1000] * 5, "decoder": [1000] * 5, "window": 1024}},
        {"net": "contour", "options": {"levels": 1000}},
        {"net": "os.system"},
        {"net": "../gran"},
        {"reach": {"window": 65536}},
        {"reach": {"halo": 65536}},
        {"reach": {"multiple": 4096}},
        {"reach": {"window": 100, "halo": 50}},
        {"channels": 10**9},
        {"frames": -1},
    ],
)
def test_a_header_that_its_tensors_do_not_bear_out_is_refused_at_once(
    model: Path, tmp_path: Path, changes: dict
) -> None:
    path = remade(model, tmp_path, **changes)
    torch_weights.load(model)
    before, began = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(BadModelError) as refused:
        torch_weights.load(path)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 700
    assert time.process_time() - began < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB


@pytest.mark.parametrize("runtime", ["openvino", "onnx"])
@pytest.mark.parametrize(
    "changes",
    [{"reach": {"window": 1024}}, {"reach": {"context": False}}, {"channels": 2}, {"reach": {"window": 65536}}],
)
def test_a_header_that_its_graph_does_not_bear_out_is_refused(
    model: Path, tmp_path: Path, runtime: str, changes: dict
) -> None:
    path = remade(model, tmp_path, **changes)
    began = time.process_time()
    with pytest.raises(BadModelError) as refused:
        backends.learned(path, runtime, threads=1)([Frames(np.zeros((1, 32, 32), np.float32), contrast=UNIT)])
    assert "\n" not in str(refused.value)
    assert time.process_time() - began < 3


@pytest.mark.parametrize("where", ["graph", "attribute", "subgraph", "function", "sparse"])
@pytest.mark.parametrize("location", ["beside.bin", "../../secret.bin", "/etc/passwd"])
def test_weights_in_other_files_are_refused(tmp_path: Path, where: str, location: str) -> None:
    tensor = helper.make_tensor("w", TensorProto.FLOAT, [1], [0.5])
    tensor.ClearField("float_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", location
    node = helper.make_node("Identity", ["image"], ["restored"])
    graph = helper.make_graph([node], "g", [], [])
    content = helper.make_model(graph)
    if where == "graph":
        content.graph.initializer.append(tensor)
    elif where == "sparse":
        content.graph.sparse_initializer.add().values.CopyFrom(tensor)
    elif where == "attribute":
        content.graph.node[0].attribute.append(helper.make_attribute("value", tensor))
    elif where == "subgraph":
        content.graph.node[0].attribute.append(
            helper.make_attribute("body", helper.make_graph([], "b", [], [], [tensor]))
        )
    else:
        content.functions.add().node.add().attribute.append(helper.make_attribute("value", tensor))
    with pytest.raises(BadModelError, match="weights in other files"):
        refuse_external(content.SerializeToString(), "a.onnx")


def field(number: int, content: bytes) -> bytes:
    """A field of a protobuf message."""
    size, length = len(content), bytearray()
    while size > 127:
        length.append(size & 127 | 128)
        size >>= 7
    return bytes([number << 3 | 2, *length, size]) + content


def test_graphs_within_graphs_and_other_bytes_are_refused() -> None:
    graph = b""
    for _ in range(1000):
        graph = field(1, field(5, field(6, graph)))  # a node with an attribute that holds a graph
    for content in (field(7, graph), field(7, graph)[:-9], field(7, b"\xff" * 100), b"\xff" * 100, b"\x3b"):
        with pytest.raises(BadModelError) as refused:
            refuse_external(content, "a.onnx")
        assert "\n" not in str(refused.value)


def test_shipped_models_keep_their_weights_inside() -> None:
    for name in header.shipped():
        refuse_external(header.find(name).with_suffix(".onnx").read_bytes(), name)
