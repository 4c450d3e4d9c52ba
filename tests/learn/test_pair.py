"""From soft and sharp images to pairs, and from pairs to a model: nothing is silently kept, and no field leaks."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn import SHARP, SOFT, save, texture
from program import Program, state
from refocal.core.errors import BadOptionError, UsageError
from refocal.core.registry import make
from refocal.learn.examples.measured import MeasuredPairs, find_pairs, read_pairs
from refocal.learn.examples.tiles import draw_examples
from refocal.learn.pairs.tiles import PairPaths, find, split
from refocal.parts.formats import open_image

SIDE = (128, 144)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four sections of one field each, recorded sharp and soft with a shift; one soft image shows another field."""
    lab = tmp_path_factory.mktemp("lab")
    for n in range(4):
        field = texture(SHARP, n, (160, 176), noise=0)
        soft = texture(SOFT, n if n < 3 else 99, (160, 176), noise=0)
        save(lab / "sharp" / f"s{n}" / "tile.tif", [field[10:138, 12:156]])
        save(lab / "soft" / f"s{n}" / "tile.tif", [np.roll(soft, (-3, 5), (0, 1))[10:138, 12:156] // 2 + 40])
    return lab


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "pairs.csv").open() as file:
        return list(csv.DictReader(file))


def test_pairs_are_made_and_the_misfit_is_named(lab: Path, inside: Program, tmp_path: Path) -> None:
    before = state(lab)
    said = inside("pair", lab / "sharp", lab / "soft", "-o", tmp_path / "pairs", "--test-share", 0.3, "--json")
    assert state(lab) == before
    table = rows(tmp_path / "pairs")
    assert [row["verdict"] for row in table] == ["kept"] * 3 + ["rejected"]
    assert table[3]["reason"]
    assert table[3]["share"] == ""
    assert [json.loads(line)["name"] for line in said.out.splitlines()] == [row["name"] for row in table]
    assert "3 kept (2 train, 1 test), 1 rejected, 0 failed" in said.err
    assert "s3/tile" in said.err
    for row in table[:3]:
        assert float(row["shift_x_px"]) == pytest.approx(-5, abs=0.15)
        assert float(row["shift_y_px"]) == pytest.approx(3, abs=0.15)
        assert float(row["gain"]) == pytest.approx(0.5, abs=0.04)
    shares = {share: find_pairs(tmp_path / "pairs" / share) for share in ("train", "test")}
    assert {k: len(v) for k, v in shares.items()} == {"train": 2, "test": 1}
    names = sorted(pair.name for pairs in shares.values() for pair in pairs)
    assert names == [f"s{n}/tile.tif" for n in range(3)]
    for truth in read_pairs([str(tmp_path / "pairs" / "train")]):
        assert truth.pixel_nm == 8
        assert truth.counts.shape == truth.seen.shape
        raw = cv2.GaussianBlur(truth.counts.astype(float), (0, 0), SOFT)
        assert np.abs(raw - truth.seen)[8:-8, 8:-8].mean() < 2
    assert not list(tmp_path.glob(".*"))


def test_the_soft_image_is_cut_and_nothing_else(lab: Path, inside: Program, tmp_path: Path) -> None:
    inside("pair", lab / "sharp" / "s0", lab / "soft" / "s0", "-o", tmp_path / "pairs")
    with (
        open_image(lab / "soft" / "s0" / "tile.tif") as raw,
        open_image(tmp_path / "pairs" / "train" / "blurry" / "tile.tif") as cut,
    ):
        whole, part = raw.read(), cut.read()
    found = cv2.matchTemplate(whole, part, cv2.TM_SQDIFF)
    top, left = np.unravel_index(found.argmin(), found.shape)
    assert (whole[top : top + part.shape[0], left : left + part.shape[1]] == part).all()


def test_pairs_are_not_mixed_and_not_made_twice(lab: Path, inside: Program, tmp_path: Path) -> None:
    inside("pair", lab / "sharp" / "s0", lab / "soft" / "s0", "-o", tmp_path / "pairs")
    said = inside("pair", lab / "sharp" / "s1", lab / "soft" / "s1", "-o", tmp_path / "pairs", code=2)
    assert "there already" in said.line
    assert len(rows(tmp_path / "pairs")) == 1


def test_what_fails_is_named_and_the_others_are_done(lab: Path, inside: Program, tmp_path: Path) -> None:
    for side in ("sharp", "soft"):
        save(tmp_path / side / "a.tif", [texture(SHARP if side == "sharp" else SOFT, 1, SIDE)])
        save(tmp_path / side / "size.tif", [texture(SOFT, 2, SIDE if side == "sharp" else (128, 128))])
        (tmp_path / side / "torn.tif").write_bytes(b"II*\0")
    said = inside("pair", tmp_path / "sharp", tmp_path / "soft", "-o", tmp_path / "pairs", code=1)
    table = {row["name"]: row for row in rows(tmp_path / "pairs")}
    assert {name: row["verdict"] for name, row in table.items()} == {
        "a": "kept", "size": "rejected", "torn": "failed",
    }  # fmt: skip
    assert "sizes differ" in table["size"]["reason"]
    assert said.err.splitlines()[-1].startswith("refocal: 1 pairs could not be read")


def test_nothing_fits(lab: Path, inside: Program, tmp_path: Path) -> None:
    said = inside("pair", lab / "sharp" / "s3", lab / "soft" / "s3", "-o", tmp_path / "pairs", code=1)
    assert "no pair fits" in said.err.splitlines()[-1]
    assert not (tmp_path / "pairs" / "train").exists()
    assert rows(tmp_path / "pairs")[0]["verdict"] == "rejected"


CASES = {
    "pair sharp soft/s0 -o out": "have no partner of the same name",
    "pair sharp none -o out": "none: no such file",
    "pair sharp soft -o sharp/out": "inside the input",
    "pair sharp soft -o out --test-share 1": "--test-share",
    "pair sharp soft -o out --residual 2": "limits",
    "pair sharp/s0/tile.tif sharp/s0/tile.tif -o out": "no blurry image",
    "train measured.yaml --pairs none": "none holds no pairs",
    "train measured.yaml --pairs lonely": "1 images have no partner",
    "train measured.yaml --pairs unlike": "pairs have one shape",
    "train blurs.yaml --pairs lonely": "would add 'defocus'",
    "train measured.yaml --pairs lonely -d sharp": "--pairs",
    "train measured.yaml": "--data",
    "evaluate none --pairs": "holds no pairs",
}


@pytest.fixture(scope="module")
def wrong(lab: Path) -> Path:
    recipe = (
        "name: m\nnet: gran\nnet_options: {channels: 1, width: 4, blocks: 1}\nsteps: 1\npatch: 16\nprecision: 32-true\n"
    )
    (lab / "measured.yaml").write_text(recipe + "degradation: chain\n")
    (lab / "blurs.yaml").write_text(recipe + "degradation: defocus\n")
    save(lab / "lonely" / "sharp" / "a.tif", [texture(SHARP)])
    save(lab / "lonely" / "sharp" / "b.tif", [texture(SHARP)])
    save(lab / "lonely" / "blurry" / "b.tif", [texture(SOFT)])
    save(lab / "unlike" / "sharp" / "a.tif", [texture(SHARP)])
    save(lab / "unlike" / "blurry" / "a.tif", [texture(SOFT, size=(96, 96))])
    return lab


@pytest.mark.parametrize("command", CASES)
def test_a_wrong_request_is_refused_in_one_line(inside: Program, wrong: Path, command: str) -> None:
    assert CASES[command] in inside(*command.split(), code=2, cwd=wrong).line


def test_a_model_learns_from_measured_pairs(lab: Path, wrong: Path, inside: Program, tmp_path: Path) -> None:
    inside("pair", lab / "sharp", lab / "soft", "-o", tmp_path / "pairs")
    train, test = (tmp_path / "pairs" / share for share in ("train", "test"))
    said = inside("train", lab / "measured.yaml", "--pairs", train, "--valid", test, "-o", tmp_path / "run")
    assert "psnr" in said.err
    said = inside("evaluate", f"lab={test}", "--pairs", "-r", f"mine={said.out.strip()}", "--json")
    table = {row["restorer"]: row for row in map(json.loads, said.out.splitlines())}
    assert table.keys() == {"nothing", "mine"}
    (truth,) = read_pairs([str(test)])
    assert table["nothing"]["psnr"] == pytest.approx(
        -10 * np.log10(np.mean(((truth.counts.astype(float) - truth.seen) / 255) ** 2)), abs=1e-4
    )


def test_crops_of_a_pair_belong_together(tmp_path: Path) -> None:
    image = texture(SHARP, 0, (100, 120))
    for side, lift in (("sharp", 0), ("blurry", 10)):
        save(tmp_path / side / "a.tif", [image // 2 + lift])
    tiles = MeasuredPairs(find_pairs(tmp_path), [1], 32)
    assert sorted(tiles.hashes()) == ["blurry/a.tif", "sharp/a.tif"]
    for example in draw_examples(tiles, make("degradations", "chain"), 6, (0, 0)):
        assert example.truth.shape == (32, 32)
        assert np.allclose(example.frames.counts[0] - example.truth, 10 / 255, atol=1e-6)
    with pytest.raises(BadOptionError, match="at least 140x140"):
        MeasuredPairs(find_pairs(tmp_path), [1], 100)


def test_no_field_is_in_both_shares() -> None:
    path = Path("x.tif")
    many = [PairPaths(f"s{n}/t{k}", f"s{n}", f"s{n}/t{k % 3}", path, path) for n in range(10) for k in range(6)]
    shares = split(many, 0.2)
    tests = {two.section for two in many if shares[two.name] == "test"}
    assert len(tests) == 2
    assert not tests & {two.section for two in many if shares[two.name] == "train"}
    assert split(reversed(many), 0.2) == shares
    one = [replaced for replaced in many if replaced.section == "s0"]
    shares = split(one, 0.2)
    assert {two.field for two in one if shares[two.name] == "test"} & {
        two.field for two in one if shares[two.name] == "train"
    } == set()
    assert set(shares.values()) == {"train", "test"}
    assert set(split(one[:1], 0.5).values()) == {"train"}
    assert set(split(many, 0).values()) == {"train"}


def test_stacks_are_paired_page_by_page(tmp_path: Path) -> None:
    for side, count in (("a", 3), ("b", 3), ("c", 2)):
        save(tmp_path / side / "stack.tif", [texture(SHARP, n) for n in range(count)])
    assert [two.name for two in find(tmp_path / "a", tmp_path / "b")] == [f"stack-{n:04d}" for n in range(3)]
    with pytest.raises(UsageError, match="3 sharp and 2 blurry pages"):
        find(tmp_path / "a", tmp_path / "c")


def test_a_real_focus_series(data: Path, inside: Program, tmp_path: Path) -> None:
    """One sharp image of the series is paired with soft ones of its field, and not with one of another field."""
    series = data / "real" / "sem_focus_series"
    for name in ("richard3", "richard4", "Armin244"):
        image = cv2.imread(str(series / f"{name}.png"), cv2.IMREAD_GRAYSCALE)
        save(tmp_path / "series" / f"{name}.tif", [image[100:600, 200:800]])
    said = inside("pair", tmp_path / "series" / "richard3.tif", tmp_path / "series", "-o", tmp_path / "pairs")
    table = {row["name"]: row for row in rows(tmp_path / "pairs")}
    assert {name: row["verdict"] for name, row in table.items()} == {"Armin244": "rejected", "richard4": "kept"}
    assert float(table["richard4"]["residual"]) < 0.2
    assert float(table["richard4"]["shift_x_px"]) == pytest.approx(20.3, abs=1.5)
    assert "none is left for testing" in said.err
