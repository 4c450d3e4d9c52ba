"""Everything that reads what others wrote, with sound inputs to damage: formats and layouts by their registries."""

import contextlib
import hashlib
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import tifffile

from drawn import drawn
from fuzzing.mutate import damage, damaged, mapping
from refocal.core import registry
from refocal.core.blocks import Box
from refocal.core.storage import store
from refocal.core.values import Contrast, Frames, ImageInfo

ROOT = Path(__file__).parents[2]
LEGACY = ROOT / "tests" / "legacy"
RECIPES = ROOT / "src" / "refocal" / "learn" / "recipes"


@dataclass(frozen=True)
class Reader:
    """One reader: inputs are folders."""

    sound: Callable[[Path], None]
    """Writes sound inputs into a folder, each into a folder of its own."""
    read: Callable[[Path], None]
    """Reads an input; anything but a `RefocalError` that it raises is a finding."""
    damage: Callable[[random.Random, Path], object] | None = None
    """Damages an input in place; by default any of its files."""


def _image_files(kind: str, folder: Path) -> None:
    from refocal.parts.formats import create_image

    counts = drawn(1)[:40, :53]
    extension = registry.load("formats", kind).extensions[0]
    stacks = {"one": [counts], "three": [counts, counts + 1, counts]} if kind in ("tiff", "mrc") else {"one": [counts]}
    for name, pages in stacks.items():
        (folder / name).mkdir()
        info = ImageInfo((len(pages), *counts.shape), counts.dtype, 4.0, {"stage_x_nm": 1.0})
        create_image(folder / name / f"a{extension}", pages, info)
    if kind == "tiff":
        for name, how in _TIFFS.items():
            (folder / name).mkdir()
            given = np.stack([counts] * 3) if name in ("imagej", "ome") else counts
            tifffile.imwrite(folder / name / "a.tif", given, **how)


_TIFFS: dict[str, dict[str, Any]] = {
    "strips": {"rowsperstrip": 9, "byteorder": ">", "metadata": None},
    "tiles": {"tile": (16, 16), "compression": "zlib", "predictor": True, "metadata": None},
    "lzw": {"compression": "lzw", "metadata": None},
    "big": {"bigtiff": True, "metadata": None},
    "imagej": {"imagej": True, "resolution": (250.0, 250.0), "metadata": {"unit": "um", "spacing": 0.03}},
    "ome": {"metadata": {"axes": "ZYX", "PhysicalSizeX": 4.0, "PhysicalSizeXUnit": "nm"}, "ome": True},
    "sem": {
        "metadata": None,
        "extratags": [
            (34118, 2, 0, b"1\n0\n0\n4e-9\nAP_WD\nWD = 5 mm\n\0", True),
            (34682, 7, 0, b"[Scan]\nPixelWidth=4e-9\n", True),
        ],
    },
}


def _read_image(folder: Path) -> None:
    from refocal.parts.formats import open_image

    for path in _files(folder):
        with open_image(path) as image:
            for page in range(min(3, image.info.shape[0])):
                assert image.read(page).shape == image.info.shape[1:]


def _volume(kind: str, folder: Path) -> None:
    from refocal.testing.volume_formats import made, voxels

    extension = registry.load("volume_formats", kind).extensions[0]
    for dtype in ("uint8", "uint16"):
        (folder / dtype).mkdir()
        made(store(folder / dtype / f"v{extension}"), kind, voxels(dtype, (3, 20, 30)))


def _read_volume(folder: Path) -> None:
    from refocal.parts.volume_formats import open_volume

    for path in sorted(folder.iterdir()):
        volume = open_volume(store(path))
        try:
            corner = Box((0, 0, 0), tuple(min(n, 24) for n in volume.info.shape))  # type: ignore[arg-type]
            volume.missing(corner)
            assert volume.read(corner).shape == corner.shape
        finally:
            volume.close()


def _copies(folder: Path, *sources: Path, name: str = "") -> None:
    for number, source in enumerate(sources):
        (folder / str(number)).mkdir()
        (folder / str(number) / (name or source.name)).write_bytes(source.read_bytes())


def _read_log(folder: Path) -> None:
    from refocal.eventlog.index import History
    from refocal.eventlog.log import done, read_log, retake_table
    from refocal.microscope.handoff import HandoffRequest, hand_off
    from refocal.ui.report import write_report

    log = folder / "log.jsonl"
    events = list(read_log(log))
    done(events, "0" * 64)
    retake_table(events)
    with History(log, folder / "index") as index:
        index.catch_up()
        with index.readings() as readings:
            readings.summary()
            for section in readings.sections():
                readings.tiles(section["id"])
            readings.beams()
            readings.timeline()
            readings.alerts()
    write_report(log, folder / "report.html", max_pictures=0)
    hand_off(folder, HandoffRequest(sbemimage=True, unfinished=True))


def _read_recipe(folder: Path) -> None:
    from refocal.learn.recipe import load_recipe

    for path in _files(folder):
        assert load_recipe(path, ["steps=10"]).sha256


def _damage_override(rng: random.Random, folder: Path) -> None:
    """Damage what is written behind `--set`, `--restorer` or `--gate` of a command line."""
    path = folder / "argument.txt"
    text = damaged(rng, path.read_bytes(), path.name)
    path.write_bytes(text.replace(b"\0", b""))


def _arguments(folder: Path) -> None:
    given = {
        "override": "net_options.blocks=[1, 2, {a: 1e-3}]",
        "restorers": "unsharp:sigma_px=2.0,amount=1.5",
        "gates": "sharpness:keep_px=0.9",
    }
    for name, text in given.items():
        (folder / name).mkdir()
        (folder / name / "argument.txt").write_text(text)
        (folder / name / "family.txt").write_text(name)


def _read_argument(folder: Path) -> None:
    from refocal.engine.job import Part
    from refocal.learn.recipe import load_recipe

    text = os.fsdecode((folder / "argument.txt").read_bytes())
    family = (folder / "family.txt").read_text()
    if family == "override":
        load_recipe(RECIPES / "tile" / "gran.yaml", [text])
    else:
        part = Part.parse(text)
        if part.kind in ("unsharp", "sharpness", "identity", "wiener"):
            made = part.make(family)
            frames = Frames(drawn(3)[None, :48, :64], contrast=Contrast(0, 255))
            _ = made([frames]) if family == "restorers" else made(frames)


def _damage_model(rng: random.Random, folder: Path) -> None:
    """Damage a model file's header and seal it again, so that the damage is looked at; sometimes any bytes."""
    from refocal.models import header

    path = folder / "tiny.safetensors"
    if rng.random() < 0.2:
        damage(rng, folder)
        return
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    table, data = json.loads(content[8 : 8 + size]), content[8 + size :]
    about = json.loads(table["__metadata__"]["refocal"])
    if rng.random() < 0.3:
        onnx = damaged(rng, path.with_suffix(".onnx").read_bytes(), "tiny.onnx")
        path.with_suffix(".onnx").write_bytes(onnx)
        about["onnx_sha256"] = hashlib.sha256(onnx).hexdigest()
    elif rng.random() < 0.7:
        key = rng.choice(("options", "reach", None))
        about = {**about, key: mapping(rng, about[key])} if key else mapping(rng, about)
    else:
        del table["__metadata__"]
        table = mapping(rng, table)
        table = table if isinstance(table, dict) else {}
    table["__metadata__"] = {"refocal": json.dumps(about), "seal": "0" * 64}
    head = json.dumps(table, separators=(",", ":")).encode()
    path.write_bytes(header.seal(len(head).to_bytes(8, "little") + head) + data)


def _model(folder: Path) -> None:
    (folder / "tiny").mkdir()
    for path in (LEGACY / "model").glob("tiny.*"):
        (folder / "tiny" / path.name).write_bytes(path.read_bytes())


def _read_model(runtime: str, folder: Path) -> None:
    from refocal.engine import backends

    options = {"device": "cpu"} if runtime == "torch" else {"threads": 1}
    restorer = backends.learned(str(folder / "tiny.safetensors"), runtime, **options)
    _restored(restorer)


def _calibration(folder: Path) -> None:
    _copies(folder, LEGACY / "calibration.json")


def _damage_calibration(rng: random.Random, folder: Path) -> None:
    from refocal.models import calibration

    path = folder / "calibration.json"
    if rng.random() < 0.3:
        damage(rng, folder)
        return
    plain = mapping(rng, json.loads(path.read_bytes()))
    text = json.dumps(plain)
    with contextlib.suppress(ValueError, TypeError):
        text = calibration.sealed(calibration.Calibration.model_validate_json(text)).model_dump_json()
    path.write_text(text)


def _read_calibration(folder: Path) -> None:
    gate = registry.make("gates", "calibrated", path=str(folder / "calibration.json"))
    gate(Frames(drawn(2)[None, :128, :128], contrast=Contrast(0, 255), pixel_nm=8.0))


def _package(folder: Path) -> None:
    import onnx
    import yaml
    from onnx import TensorProto, helper

    shape = ["b", 1, "y", "x"]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("i", "o")]
    gain = helper.make_tensor("gain", TensorProto.FLOAT, [], [0.5])
    made = helper.make_graph([helper.make_node("Mul", ["i", "gain"], ["o"])], "g", ends[:1], ends[1:], [gain])
    network = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(network)
    weights = network.SerializeToString()
    entry = {"source": "weights.onnx", "sha256": hashlib.sha256(weights).hexdigest(), "opset_version": 17}
    steps = [{"name": "scale_linear", "kwargs": {"gain": 0.1, "offset": 0.5, "axes": "yx"}}]
    old = {
        "format_version": "0.4.9", "name": "n", "weights": {"onnx": entry},
        "inputs": [{"name": "i", "axes": "bcyx", "data_type": "float32", "data_range": [0.0, 255.0],
                    "shape": {"min": [1, 1, 32, 32], "step": [0, 0, 16, 16]}, "preprocessing": steps}],
        "outputs": [{"name": "o", "axes": "bcyx", "data_type": "float32", "halo": [0, 0, 4, 4],
                     "shape": {"reference_tensor": "i", "scale": [1, 1, 1, 1], "offset": [0, 0, 0, 0]}}],
    }  # fmt: skip
    axes = [{"type": "batch"}, {"type": "channel", "channel_names": ["c"]}]
    axes += [{"type": "space", "id": a, "size": {"min": 32, "step": 16}} for a in "yx"]
    steps = [{"id": "zero_mean_unit_variance", "kwargs": {"axes": ["y", "x"], "eps": 1e-6}}]
    new = {
        "format_version": "0.5.4", "name": "n", "weights": {"onnx": entry},
        "inputs": [{"id": "i", "axes": axes, "data": {"type": "uint8"}, "preprocessing": steps}],
        "outputs": [{"id": "o", "axes": axes, "data": {"type": "float32"}}],
    }  # fmt: skip
    for name, said in (("old", old), ("new", new)):
        (folder / name).mkdir()
        (folder / name / "rdf.yaml").write_text(yaml.safe_dump(said))
        (folder / name / "weights.onnx").write_bytes(weights)


def _read_package(folder: Path) -> None:
    _restored(registry.make("restorers", "bioimageio_model", path=str(folder), threads=1))


def _damage_package(rng: random.Random, folder: Path) -> None:
    damage(rng, folder, documents_only=True)


def _zipped(folder: Path) -> None:
    _package(folder)
    for variant in sorted(folder.iterdir()):
        files = _files(variant)
        with zipfile.ZipFile(variant / "package.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for path in files:
                archive.writestr(path.name, path.read_bytes())
        for path in files:
            path.unlink()


def _read_zipped(folder: Path) -> None:
    _restored(registry.make("restorers", "bioimageio_model", path=str(folder / "package.zip"), threads=1))


def _restored(restorer: Any) -> None:
    (done,) = restorer([Frames(drawn(3)[None, :48, :64], contrast=Contrast(0, 255))])
    assert done.counts.shape == (48, 64)


def _layout(kind: str, folder: Path) -> None:
    from refocal.microscope.simulate import Plan, Shares, kinds, replay

    plan = Plan(mfovs=2, beams=7, tiles=3, grids=2, height=16, width=24, shares=Shares(rejected=0.5), variants=2)
    made = kind if kind in kinds() else "folder"
    replay(made, folder / "scope", plan, truth=folder.parent / "truth.jsonl")
    for path in _files(folder / "scope"):
        if path.suffix in (".bmp", ".tif"):
            path.write_bytes(b"")  # layouts never open an image


def _damage_layout(rng: random.Random, folder: Path) -> None:
    texts = [path for path in _files(folder) if path.stat().st_size]
    for path in rng.sample(texts, min(len(texts), rng.choice((1, 2)))):
        path.write_bytes(damaged(rng, path.read_bytes(), path.name))
    names = [path for path in _files(folder) if not path.stat().st_size]
    for path in rng.sample(names, min(len(names), 2)):
        name = damaged(rng, path.name.encode(), "name.txt")[:120].replace(b"/", b"").replace(b"\0", b"")
        if name not in (b"", b".", b".."):
            path.rename(path.with_name(os.fsdecode(name)))


def _read_layout(kind: str, folder: Path) -> None:
    layout = registry.make("layouts", kind)
    layout.matches(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_dir():
            layout.descends(name)
            layout.known(folder, name)
        else:
            layout.place(name)
    layout.known(folder, "")


def _recordings(folder: Path) -> None:
    from refocal.parts.formats import create_image

    (folder / "a" / "strip").mkdir(parents=True)
    for name, size in (("f1.tif", 32), ("f2.tif", 32), ("s1.tif", 48)):
        counts = drawn(1)[:size, :size]
        create_image(folder / "a" / "strip" / name, [counts], ImageInfo((1, *counts.shape), counts.dtype, 4.0))


def _read_recordings(folder: Path) -> None:
    from refocal.learn.pairs.recordings import sequences

    sequences(folder)


def _scheduler(folder: Path) -> None:
    (folder / "a").mkdir()
    (folder / "a" / "scheduler.yaml").write_text(
        "scheduler: slurm\nworkers: 4\nleast: 1\nthreads: 2\nmemory: 8GiB\ngpus: false\nbatch: 2\nwalltime: '12:00'\n"
        "queue: short\naccount: lab\ninterface: ib0\ndirectives: ['--exclusive']\n"
    )


def _read_scheduler(folder: Path) -> None:
    from refocal.engine.volumes.scheduler import read_scheduler

    read_scheduler(folder / "scheduler.yaml").pool()


def _records(folder: Path) -> None:
    (folder / "a").mkdir()
    shutil.copytree(LEGACY / "restored.zarr.refocal", folder / "a" / "v.zarr.refocal")


def _read_records(folder: Path) -> None:
    from refocal.engine.volumes.records import BlockRecords

    found = BlockRecords(store(folder / "v.zarr"))
    found.job()
    for record in found.records():
        assert isinstance(record, dict)
    found.write_log()


def _checkpoint(folder: Path) -> None:
    import torch

    net = registry.make("nets", "student", channels=1, width=4, blocks=1).state_dict()
    (folder / "a").mkdir()
    content = {
        "recipe": "{}",
        "step": 3,
        "net": net,
        "mean": None,
        "scores": {"psnr": 30.0},
        "optimiser": {"state": {}},
    }
    torch.save(content, folder / "a" / "last.ckpt")


def _read_checkpoint(folder: Path) -> None:
    from refocal.learn import checkpoints

    checkpoints.read(folder / "last.ckpt")


def _experiments(folder: Path) -> None:
    _copies(folder, *sorted((RECIPES / "experiment").glob("s*.yaml")), name="experiment.yaml")


def _read_experiment(folder: Path) -> None:
    from refocal.learn.experiment.plan import load_experiment

    load_experiment(folder / "experiment.yaml")


def _recipes(folder: Path) -> None:
    _copies(folder, *sorted((RECIPES).glob("[!e]*/*.yaml")), name="recipe.yaml")


READERS: dict[str, Reader] = {
    **{f"formats {k}": Reader(partial(_image_files, k), _read_image) for k in registry.names("formats")},
    **{f"volume_formats {k}": Reader(partial(_volume, k), _read_volume) for k in registry.names("volume_formats")},
    **{
        f"layouts {k}": Reader(partial(_layout, k), partial(_read_layout, k), _damage_layout)
        for k in registry.names("layouts")
    },
    "log": Reader(lambda folder: _copies(folder, LEGACY / "out" / "log.jsonl"), _read_log),
    "recipe": Reader(_recipes, _read_recipe),
    "experiment": Reader(_experiments, _read_experiment),
    "arguments": Reader(_arguments, _read_argument, _damage_override),
    "scheduler": Reader(_scheduler, _read_scheduler),
    "records": Reader(_records, _read_records),
    "recordings": Reader(_recordings, _read_recordings),
    "checkpoint": Reader(_checkpoint, _read_checkpoint),
    "calibration": Reader(_calibration, _read_calibration, _damage_calibration),
    "model torch": Reader(_model, partial(_read_model, "torch"), _damage_model),
    "model openvino": Reader(_model, partial(_read_model, "openvino"), _damage_model),
    "model onnx": Reader(_model, partial(_read_model, "onnx"), _damage_model),
    "bioimageio folder": Reader(_package, _read_package, _damage_package),
    "bioimageio zip": Reader(_zipped, _read_zipped),
}
"""Every reader by name."""


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())
