"""Requests that cannot be: exit code 2, one line that says what to do, and nothing made."""

from pathlib import Path

import pytest

from drawn import SOFT, save, texture
from program import Program, state
from refocal.models import header

RECIPE = "name: tiny\nnet: gran\nnet_options: {channels: 1, blocks: 2, width: 8}\ndegradation: defocus\nsteps: 2\n"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one raw tile, a recipe, and models that are damaged."""
    lab = tmp_path_factory.mktemp("lab")
    save(lab / "raw" / "a.tif", [texture(SOFT)])
    save(lab / "raw" / "sub" / "b.tif", [texture(SOFT)])
    save(lab / "other" / "a.tif", [texture(SOFT)])
    (lab / "nothing").mkdir()
    (lab / "recipe.yaml").write_text(RECIPE)
    (lab / "broken.yaml").write_text("name: [")
    shipped = header.find("gran-em")
    content = bytearray(shipped.read_bytes())
    content[len(content) // 2] ^= 1
    (lab / "flipped.safetensors").write_bytes(content)
    (lab / "newer.safetensors").write_bytes(
        shipped.read_bytes().replace(rb"\"format_version\":1", rb"\"format_version\":7", 1)
    )
    (lab / "alone.safetensors").write_bytes(shipped.read_bytes())
    (lab / "text.safetensors").write_text("not a model")
    return lab


RESTORE = "restore raw -o out "
CASES = {
    "restore raw -o raw": "is the input itself",
    "restore raw -o raw/new": "inside the input",
    "restore raw/sub -o raw": "inside the output",
    "restore raw other -o out --restorer unsharp": "a.tif",
    "restore none -o out": "none: no such file",
    "restore nothing -o out": "no images",
    "restore raw": "--out",
    "restor raw -o out": "Did you mean 'restore'",
    RESTORE + "--modle x": "--model",
    RESTORE + "--model gran-me": "Did you mean 'gran-em'?",
    RESTORE + "--model flipped.safetensors": "damaged",
    RESTORE + "--model newer.safetensors": "format 7",
    RESTORE + "--model alone.safetensors": "alone.onnx",
    RESTORE + "--model text.safetensors": "not a refocal model",
    RESTORE + "--backend openvno": "Did you mean 'openvino'?",
    RESTORE + "--restorer unsharpp": "Did you mean 'unsharp'?",
    RESTORE + "--restorer unsharp:strength=4": "no option 'strength'",
    RESTORE + "--restorer wiener:sigma_px=-1": "sigma_px",
    RESTORE + "--restorer unsharp:[": "kind:option=value",
    RESTORE + "--gate sharpnes": "Did you mean 'sharpness'?",
    RESTORE + "--gate sharpness:keep=1": "Did you mean 'keep_px'?",
    RESTORE + "--gate sharpness:keep_px=4": "below retake_px",
    RESTORE + "--contrast 5": "LOW,HIGH",
    RESTORE + "--contrast 9,3": "LOW,HIGH",
    RESTORE + "--contrast 0,inf": "LOW,HIGH",
    RESTORE + "--contrast a,b": "LOW,HIGH",
    RESTORE + "--shard 2/2 --restorer unsharp": "no shard 2",
    RESTORE + "--shard 1/0 --restorer unsharp": "no shard 1 of 0",
    RESTORE + "--shard 1": "I/N",
    RESTORE + "--carry move": "copy or link or symlink or skip",
    "grade raw --gate blur": "no gate named 'blur'",
    "degrade raw -o out --degradation defocus:sigma=2": "no option 'sigma'",
    "degrade raw -o out --degradation fog": "no degradation named 'fog'",
    "degrade raw -o out --degradation quantise --seed -1": "--seed",
    "demo -o out --seed -1": "--seed",
    "evaluate raw --seed -1": "--seed",
    "restore raw -o one.zarr": "name of one volume",
    "restore raw -o one.tif": "name of one volume",
    "list gate": "Did you mean 'gates'?",
    "info gran": "Did you mean 'gran-em'?",
    "report nothing": "log.jsonl",
    "bench speed": "'restore'",
    "bench restore --size 12": "HEIGHTxWIDTH",
    "bench restore --size 0x5": "HEIGHTxWIDTH",
    "bench restore --rounds 0": "--rounds",
    "bench restore --model gran-me": "Did you mean 'gran-em'?",
    "burst raw -o out --window 9,3": "--window is LOW,HIGH with LOW below HIGH",
    "burst raw -o out --window 0,inf": "--window is LOW,HIGH with LOW below HIGH",
    "pair raw -o out": "SHARP and BLURRY, got 1",
    "pair raw other --stream -o out": "one folder of sequences, got 2",
    "pair raw other -o out --frames 3": "--frames has no effect without --stream",
    "pair raw --stream -o out --test-share 0.1": "--test-share has no effect with --stream",
    "cluster in.zarr -o out.zarr --scheduler none.yaml": "cannot read none.yaml",
    "cluster in.zarr -o out.zarr --scheduler broken.yaml": "broken.yaml is not YAML",
    "cluster in.zarr -o out.zarr --scheduler recipe.yaml": "recipe.yaml has a key 'name' that is not known",
    "cluster in.zarr -o out.zarr --script": "expected slurm or lsf",
    "calibrate raw -o c.json --costs bd=1": "--costs has no 'bd'. Did you mean 'bad'?",
    "calibrate raw -o c.json --costs budget=2": "--costs budget is a number from 1e-06 to 1; got '2'",
    "calibrate raw -o c.json --samples each=3": "--samples each is a whole number of at least 8; got '3'",
    "calibrate raw -o c.json --samples crop=1e3": "--samples crop is a whole number",
    "watch raw -o out --settings settle": "--settings settle is a number of at least 0; got ''",
    "replay multisem out --plan mfov=3": "Did you mean 'mfovs'?",
    "replay multisem out --plan beams=0": "--plan beams is a whole number of at least 1; got '0'",
    "evaluate raw/*.png": "no image matches",
    "evaluate raw -r unsharpp": "no model file and no shipped model 'unsharpp'",
    "evaluate raw -r unsharp -m snr": "Did you mean 'psnr'?",
    "evaluate raw -r oracle_wiener --degradation quantise": "kernel",
    "evaluate raw --crop 0": "--crop",
    "train recipe.yaml": "--data",
    "train none.yaml -d raw": "none.yaml",
    "train broken.yaml -d raw": "not YAML",
    "train recipe.yaml step=4 -d raw": "Did you mean 'steps'?",
    "train recipe.yaml steps=0 -d raw": "'steps'",
    "train recipe.yaml lr -d raw": "key=value",
    "train recipe.yaml net=grann -d raw": "Did you mean 'gran'?",
    "train recipe.yaml patch=4000 -d raw -o out": "no image of at least",
    "train recipe.yaml patch=16 start=none.safetensors -d raw -o out": "none.safetensors",
}


@pytest.mark.parametrize("command", CASES)
def test_a_wrong_request_is_refused_in_one_line(inside: Program, lab: Path, command: str) -> None:
    before = state(lab)
    said = inside(*command.split(), code=2, cwd=lab)
    assert CASES[command] in said.line, said.line
    assert len(said.line) < 500
    assert not said.out
    assert {k: v for k, v in state(lab).items() if not k.startswith(str(lab / "out"))} == before
    assert not [p for p in (lab / "out").rglob("*") if p.suffix in (".tif", ".part", ".safetensors")]


@pytest.mark.parametrize("command", ["restor raw -o out", RESTORE + "--model gran-me"])
def test_the_program_refuses_in_one_line(program: Program, lab: Path, command: str) -> None:
    said = program(*command.split(), code=2, cwd=lab)
    assert CASES[command] in said.line
    assert not said.out


def test_without_arguments_help_is_shown(program: Program) -> None:
    assert "Every day" in program().out
