"""A stream beside stopped frames: the simulated experiment, and folders shaped like the published data."""

import json
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from refocal.core import registry
from refocal.core.errors import BadOptionError, UsageError
from refocal.core.values import UNIT, Example, Frames, ImageInfo
from refocal.engine.streams.source import propose_window
from refocal.learn.examples.bursts import RecordedBursts, SharpBursts, burst_tiles
from refocal.learn.examples.tiles import draw_examples
from refocal.learn.pairs.recordings import cells, sequences, split
from refocal.learn.pairs.streams import SUFFIX, Coupler, couple_all, write_pair
from refocal.learn.recipe import make_recipe
from refocal.microscope.simulate.tem_strip import Microscope, calibration_grid, record, tissue, write
from refocal.parts.formats import create_image, open_image

SCOPE = Microscope(edge_px=96, step_px=10, exposure=0.2, electrons=100, walk_px=0.5)


def cloth(height: int, width: int, rng: np.random.Generator) -> np.ndarray:
    cells_ = ndimage.gaussian_filter(rng.standard_normal((height, width)), 5)
    return (0.85 - 0.5 * np.exp(-((cells_ / 0.015) ** 2))).astype(np.float32)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two sequences over grid cells, as the published experiment: a stream, and stopped frames of twice the edge."""
    folder = tmp_path_factory.mktemp("recorded")
    for number in range(2):
        image = cloth(700, 300, np.random.default_rng(number))
        write(record(tissue([image], cells=330), SCOPE, 5, (number,)), folder / f"sequence_{number}")
    return folder


@pytest.fixture(scope="module")
def pairs(root):
    made = {}
    for sequence in sequences(root):
        coupler = Coupler(sequence.stream, propose_window(list(sequence.stream)), frames=4)
        made[sequence.name] = list(couple_all(coupler, sequence.stopped))
    return made


def test_the_experiment_follows_from_its_seed():
    one, two, other = (record(calibration_grid(), SCOPE, 2, (seed,)) for seed in (1, 1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(one.stream(), two.stream(), strict=True))
    assert not np.array_equal(next(one.stream()), next(other.stream()))
    stopped = next(one.stopped())
    assert (stopped.shape, stopped.dtype) == ((192, 192), np.uint16)


def test_more_electrons_and_less_motion_come_nearer_to_the_truth():
    def error(**settings: float) -> float:
        scope = Microscope(edge_px=96, step_px=10, gain=6000 / settings["electrons"], **settings)
        strip = record(calibration_grid(), scope, 1, (3,))
        frame = next(strip.stream()).astype(float)
        y, x = (int(v) for v in np.rint(strip.at_px[0]))
        truth = strip.world.reshape(strip.world.shape[0] // 2, 2, -1, 2).mean((1, 3))[y : y + 96, x : x + 96]
        return 1 - float(np.corrcoef(frame.ravel(), truth.ravel())[0, 1])

    calm = {"walk_px": 0.0, "sway_px": 0.0, "uneven": 0.0, "nyquist": 0.9}
    assert error(electrons=1e5, exposure=0.0, **calm) < 0.1
    assert error(electrons=1e5, exposure=0.0, **calm) < error(electrons=1e5, exposure=0.8, **calm)
    assert error(electrons=1e5, exposure=0.0, **calm) < error(electrons=10, exposure=0.0, **calm)


def test_sequences_are_told_by_the_sizes_of_their_images(root: Path, tmp_path: Path):
    found = sequences(root)
    assert [sequence.name for sequence in found] == ["sequence_0", "sequence_1"]
    truth = json.loads((root / "sequence_0" / "truth.json").read_text())
    assert (len(found[0].stream), len(found[0].stopped)) == (len(truth["at_px"]), 5)
    # The same, with the two kinds in folders of their own and one file a frame.
    for kind, edge in (("blurry", 32), ("hq", 64)):
        for number in range(3):
            (tmp_path / "a" / kind).mkdir(parents=True, exist_ok=True)
            page = np.zeros((edge, edge), np.uint16)
            create_image(tmp_path / "a" / kind / f"{number}.tif", [page], like=ImageInfo((1, edge, edge), page.dtype))
    (found,) = sequences(tmp_path)
    assert (found.name, len(found.stream), len(found.stopped)) == ("a", 3, 3)
    with pytest.raises(UsageError, match="expected folders that hold"):
        sequences(tmp_path / "a" / "hq")
    with pytest.raises(UsageError, match="no such folder"):
        sequences(tmp_path / "b")


def test_stopped_frames_get_the_frames_that_show_them(pairs):
    for made in pairs.values():
        good = [pair for pair in made if not isinstance(pair, str)]
        assert len(good) == 5
        for pair in good:
            assert len(pair.frames) + len(pair.left_out) == 4
            assert pair.gain == pytest.approx(1, abs=0.15)
        seen = [(p.frames[0], p.frames.mean(0), p.truth) for p in good]
        one, mean = (np.mean([np.square(s[i] - s[2].astype(float)).mean() for s in seen]) for i in (0, 1))
        assert mean < one < 255**2 * 0.02


def test_a_sequence_and_a_cell_are_kept_apart(pairs):
    shown = cells(pairs["sequence_1"])
    assert max(max(s, default=0) for s in shown) >= 2
    cell = min(min(s) for s in shown if s)
    parts = split(pairs, "sequence_0", ("sequence_1", cell))
    assert {name for name, _ in parts["test"]} == {"sequence_0"}
    assert len(parts["test"]) == 5
    assert sum(map(len, parts.values())) == 10
    rows = {part: [(p.place, p.place + p.truth.shape[0]) for _, p in parts[part]] for part in ("train", "valid")}
    assert rows["train"]
    for start, stop in rows["valid"]:
        cells_of = [cells(pairs["sequence_1"])[pairs["sequence_1"].index(p)] for _, p in parts["train"]]
        assert all(cell not in touched for touched in cells_of), (start, stop)
    with pytest.raises(UsageError, match="no sequence 'nine'"):
        split(pairs, "nine", ("sequence_1", 1))


def test_recorded_bursts_are_learned_from_without_the_grid(pairs, tmp_path: Path):
    for name, made in pairs.items():
        for number, pair in enumerate(made):
            write_pair(pair, tmp_path / f"{name}_{number}{SUFFIX}")
    with open_image(tmp_path / f"sequence_0_0{SUFFIX}") as image:
        assert image.info.pixel_nm == pytest.approx(31.25)
    source = RecordedBursts([tmp_path], 24, 3)
    assert source.hashes().keys() == {f.name for f in source.files}
    nothing = registry.make("degradations", "chain")
    for seed in range(4):
        batch = draw_examples(source, nothing, 3, (seed,), frames=(2, 3))
        counts = {len(example.frames.counts) for example in batch}
        assert len(counts) == 1
        assert counts <= {2, 3}
        for example in batch:
            assert example.truth.shape == (24, 24)
            assert np.corrcoef(example.frames.counts.mean(0).ravel(), example.truth.ravel())[0, 1] > 0.6
            # Two dark components of fewer pixels than a bar may be there.
            assert (example.truth == 0).mean() < 0.3
    again = draw_examples(source, nothing, 3, (0,), frames=(2, 3))
    first = draw_examples(source, nothing, 3, (0,), frames=(2, 3))
    assert all(np.array_equal(a.frames.counts, b.frames.counts) for a, b in zip(again, first, strict=True))
    with pytest.raises(BadOptionError, match="no burst of 9 frames"):
        RecordedBursts([tmp_path], 24, 9)


def test_sharp_tiles_become_bursts_of_a_number_of_frames_drawn_for_each_step(tmp_path: Path):
    page = (cloth(260, 260, np.random.default_rng(0)) * 255).astype(np.uint8)
    create_image(tmp_path / "a.tif", [page], like=ImageInfo((1, *page.shape), page.dtype))
    recipe = make_recipe(
        {"name": "a", "net": "burst", "degradation": "stream", "steps": 1, "patch": 32, "frames": [3, 5]}
    )
    source = burst_tiles(recipe, [tmp_path])
    assert isinstance(source, SharpBursts)
    stream = registry.make("degradations", "stream")
    counts = [{len(e.frames.counts) for e in draw_examples(source, stream, 2, (s,), frames=(3, 5))} for s in range(20)]
    assert {len(found) for found in counts} == {1}
    assert set.union(*counts) == {3, 4, 5}


def test_frames_of_the_degradation_are_registered_to_its_truth():
    image = cloth(120, 120, np.random.default_rng(2))
    calm = {"length_px": 0.0, "walk_px": 0.0, "electrons": 1e7, "nyquist": 1.0, "read": 0.0, "slack_px": 0.0}
    example = Example(Frames(np.broadcast_to(image, (5, *image.shape)), 2, UNIT), image)
    seen = registry.make("degradations", "stream", **calm)(example, np.random.default_rng(1))
    inner = np.s_[:, 10:-10, 10:-10]
    errors = np.abs(seen.frames.counts - image)[inner].mean((1, 2))
    assert errors[2] < 1e-3
    # Fractions of a pixel cost what interpolation costs, and not a shift.
    assert errors.max() < 0.02
    assert np.abs(ndimage.shift(image, (0, 0.5)) - image)[10:-10, 10:-10].mean() > 1.5 * errors.max()
