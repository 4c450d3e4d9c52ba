"""A model as a BioImage.IO package: one zip that Fiji, ilastik, deepImageJ, CAREamics and others understand.

    bioimageio.yaml     the description, format 0.5: axes, sizes, halo, scaling, hashes
    weights.onnx        the net alone: one image in, one image out, float32
    test_input.npy, test_output.npy     a drawn section, softened, and what the net makes of it
    NAME.safetensors    the same weights with their header, for PyTorch
    README.md, cover.png                the card, and the test images side by side

Pixels are those of 8-bit images: the description divides by 255 before the net and multiplies by it afterwards, so
that values come out as they went in. The net's halo goes into the description; of a net with a global context it is
only a part of the truth (`refocal.learn.export.onnx_graph`).
"""

import hashlib
import io
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
import torch
import yaml
from torch import nn

from refocal.core import registry
from refocal.core.atomic import writing
from refocal.core.errors import BadModelError
from refocal.core.values import UNIT, Contrast, Counts, Example, Frames, ImageInfo, Pixels
from refocal.imaging.phantom import draw_section
from refocal.learn.export.onnx_graph import export_alone
from refocal.models import header, torch_weights
from refocal.models.header import ModelHeader
from refocal.parts.formats import create_image

DESCRIPTION = "bioimageio.yaml"
_FORMAT = "0.5.3"
_EIGHT_BIT = Contrast(0, 255)
_EPOCH = (1980, 1, 1, 0, 0, 0)
_USAGE = """
## Use

One image of one channel, 8 bit. Give it whole images rather than tiles if you can: {global_}the halo is {halo} px.

## Validation

Compare with sharp images of the same fields, on specimens that the training never saw: PSNR, SSIM, and what your own
analysis makes of restored and of sharp images. `refocal evaluate` prints such tables. Structures that are not in the
recorded image cannot be restored, and a network may invent some.
"""


def write_package(model: str | Path, out: str | Path) -> Path:
    """Write a model as a BioImage.IO package, whole or not at all; return its path.

    Parameters
    ----------
    model
        Name of a shipped model, or path of a model file.
    out
        OUT.zip.

    Raises
    ------
    BadModelError
        If it cannot be used, or does not restore one image at a time.
    """
    path, out = header.find(model), Path(out)
    about = header.read(path)
    net = torch_weights.load(path)
    seen, got = _tried(net, about)
    card = path.with_suffix(".md")
    with TemporaryDirectory() as folder:
        export_alone(net, about, Path(folder) / "weights.onnx")
        graph = (Path(folder) / "weights.onnx").read_bytes()
        pair = _cover(seen, got)
        create_image(Path(folder) / "cover.png", [pair], ImageInfo((1, *pair.shape), pair.dtype))
        cover = (Path(folder) / "cover.png").read_bytes()
    files = {
        "weights.onnx": graph,
        "test_input.npy": _npy(seen),
        "test_output.npy": _npy(got),
        "cover.png": cover,
        "README.md": (_words(about, card.read_text() if card.is_file() else f"# {about.name}\n")).encode(),
        path.name: path.read_bytes(),
    }
    files[DESCRIPTION] = yaml.safe_dump(_description(about, seen.shape, files, path.name), sort_keys=False).encode()
    with writing(out) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), content, zipfile.ZIP_DEFLATED)
    return out


def _tried(net: nn.Module, about: ModelHeader) -> tuple[Counts, Counts]:
    """Return a drawn, softened section and what the net makes of it: (1, channel, y, x) uint8 and float32."""
    smallest, step = _size(about)
    # Two different edges, so that axes that were swapped are noticed.
    shape = (smallest, smallest + (0 if about.reach.window else step * max(1, 16 // step)))
    with np.errstate(over="ignore"):
        truth = draw_section(shape, seed=1)
    degraded = registry.make("degradations", "gran_protocol")(
        Example(Frames(truth[None], contrast=UNIT), truth), np.random.default_rng(1)
    )
    image = _EIGHT_BIT.counts(degraded.frames.image.astype(np.float32), np.uint8)
    seen = np.repeat(image[None, None], about.channels, axis=1)
    try:
        with torch.inference_mode():
            got = net(torch.from_numpy(seen.astype(np.float32) / 255)).numpy() * np.float32(255)
    except (RuntimeError, TypeError, ValueError, AttributeError) as error:
        raise BadModelError(f"{about.name} does not take one image, so it is no package of this kind") from error
    if got.shape != seen.shape or about.frames != 1:
        raise BadModelError(f"{about.name} does not make one image of one image; only such models become packages")
    return seen, got


def _size(about: ModelHeader) -> tuple[int, int]:
    """Return the smallest edge that leaves something between the halos, and the step to the next one."""
    step = about.reach.multiple
    if about.reach.window:
        return about.reach.window, step
    return -(-max(64, 2 * about.reach.halo + 32) // step) * step, step


def _description(about: ModelHeader, shape: tuple[int, ...], files: Mapping[str, bytes], stem: str) -> dict[str, Any]:
    def file(name: str) -> dict[str, str]:
        return {"source": name, "sha256": hashlib.sha256(files[name]).hexdigest()}

    licence = {"license": about.licence} if re.fullmatch(r"[A-Za-z0-9.+-]+", about.licence) else {}
    graph = onnx.load_model_from_string(files["weights.onnx"])
    return {
        "format_version": _FORMAT,
        "type": "model",
        "name": f"refocal {re.sub(r'[^A-Za-z0-9_-]', ' ', about.name)}",
        "description": f"Restores soft and noisy electron micrographs ({about.net}); trained with refocal.",
        "authors": [{"name": "refocal"}],
        **licence,
        "version": 1,
        "tags": ["electron-microscopy", "image-restoration", "deblurring", "denoising", "2d", "onnx"],
        "documentation": "README.md",
        "covers": ["cover.png"],
        "attachments": [file(stem)],
        "inputs": [_input(about, file("test_input.npy"))],
        "outputs": [_output(about, file("test_output.npy"))],
        "weights": {"onnx": {**file("weights.onnx"), "opset_version": int(graph.opset_import[0].version)}},
        "config": {
            "refocal": about.model_dump(mode="json", include={"name", "net", "reach", "tensors_sha256", "refocal"}),
        },
    }


def _input(about: ModelHeader, test: dict[str, str]) -> dict[str, Any]:
    smallest, step = _size(about)

    def size() -> Any:
        return about.reach.window or {"min": smallest, "step": step}

    def as_float() -> dict[str, Any]:
        return {"id": "ensure_dtype", "kwargs": {"dtype": "float32"}}

    return {
        "id": "image",
        "description": "one image, 8 bit",
        "axes": [*_axes(about), *({"type": "space", "id": axis, "size": size()} for axis in "yx")],
        "data": {"type": "uint8", "range": [0, 255], "unit": "arbitrary unit"},
        # Without the last step readers go back to the data type of the input.
        "preprocessing": [as_float(), {"id": "scale_linear", "kwargs": {"gain": 1 / 255, "offset": 0}}, as_float()],
        "test_tensor": test,
    }


def _output(about: ModelHeader, test: dict[str, str]) -> dict[str, Any]:
    halo = {"halo": about.reach.halo} if about.reach.halo and not about.reach.window else {}
    spaces = ({"type": "space", "id": axis, "size": {"tensor_id": "image", "axis_id": axis}, **halo} for axis in "yx")
    return {
        "id": "restored",
        "description": "the restored image, on the scale of the input",
        "axes": [*_axes(about), *spaces],
        "data": {"type": "float32", "range": [None, None], "unit": "arbitrary unit"},
        "postprocessing": [{"id": "scale_linear", "kwargs": {"gain": 255, "offset": 0}}],
        "test_tensor": test,
    }


def _axes(about: ModelHeader) -> list[dict[str, Any]]:
    names = ["grey"] if about.channels == 1 else [f"grey{i}" for i in range(about.channels)]
    return [{"type": "batch", "size": 1}, {"type": "channel", "channel_names": names}]


def _words(about: ModelHeader, card: str) -> str:
    global_ = "the network looks at the whole image, and " if about.reach.context else ""
    return card.rstrip() + "\n" + _USAGE.format(global_=global_, halo=about.reach.halo)


def _cover(seen: Counts, got: Counts) -> Counts:
    edge = min(seen.shape[2:])
    after: Pixels = np.divide(got[0, 0, :edge, :edge], 255, dtype=np.float32)
    return np.concatenate([seen[0, 0, :edge, :edge], _EIGHT_BIT.counts(after, np.uint8)], 1)


def _npy(array: Counts) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()
