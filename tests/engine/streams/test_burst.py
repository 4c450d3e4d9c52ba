"""Streams from the command line: restored frames, mosaics, growing folders, bad input."""

import threading
import time
from pathlib import Path

import mrcfile
import numpy as np
import pytest
import tifffile
from scipy import ndimage

from program import Program
from refocal.core.values import ImageInfo
from refocal.eventlog.log import read_log
from refocal.microscope.simulate.tem_strip import Microscope, record, tissue
from refocal.microscope.simulate.tem_strip import write as save
from refocal.parts.formats import create_image, open_image

EDGE = 128
SCOPE = Microscope(edge_px=EDGE, step_px=12, exposure=0.15, walk_px=0.5, electrons=150)


@pytest.fixture(scope="module")
def images() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    cells = ndimage.gaussian_filter(rng.standard_normal((900, 400)), 6)
    membranes = 0.85 - 0.5 * np.exp(-((cells / 0.012) ** 2))
    return [(membranes + 0.05 * ndimage.gaussian_filter(rng.standard_normal(cells.shape), 2)).astype(np.float32)]


@pytest.fixture(scope="module")
def strip(images):
    return record(tissue(images), SCOPE, 4, (5,))


@pytest.fixture(scope="module")
def frames(strip) -> np.ndarray:
    return np.stack(list(strip.stream()))


def write(path: Path, frames: np.ndarray, pixel_nm: float | None = 31.25) -> None:
    create_image(path, list(frames), like=ImageInfo(frames.shape, frames.dtype, pixel_nm))


def read(path: Path) -> np.ndarray:
    with open_image(path) as image:
        return image.read()


def events(out: Path, kind: str) -> list[dict]:
    return [event for event in read_log(out / "log.jsonl") if event["event"] == kind]


def test_a_stack_becomes_a_mosaic_with_positions_and_a_page(inside: Program, frames, strip, tmp_path: Path) -> None:
    write(tmp_path / "stream.tif", frames)
    inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out", "--mosaic")
    seen = events(tmp_path / "out", "frame")
    at = np.array([(e["y_px"], e["x_px"]) for e in seen])
    assert len(seen) == len(frames)
    # Each step is good to a fraction of a pixel.
    np.testing.assert_allclose(at, strip.at_px - strip.at_px[0], atol=1.0)
    with open_image(tmp_path / "out" / "mosaic.ome.tif") as image:
        mosaic, info = image.read(), image.info
    assert info.pixel_nm == pytest.approx(31.25)
    assert tifffile.TiffFile(tmp_path / "out" / "mosaic.ome.tif").is_ome
    assert (mosaic > 0).mean() > 0.85
    tiles = events(tmp_path / "out", "tile")
    truth = ndimage.zoom(ndimage.gaussian_filter(strip.world, 2), 0.5, order=1)
    top, left = (round(v) for v in np.min([e["at_px"] for e in tiles], axis=0) + strip.at_px[0])
    part = truth[top : top + mosaic.shape[0], left : left + mosaic.shape[1]]
    shared = mosaic > 0
    assert np.corrcoef(part[shared], mosaic[shared])[0, 1] > 0.85
    assert max(len(e["frames"]) for e in tiles) == 5
    assert (tmp_path / "out" / "positions.csv").read_text().count("\n") == len(tiles) + 1
    page = (tmp_path / "out" / "bursts.html").read_text()
    assert page.count("<figure>") >= 2 * len(tiles)
    again = inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out", "--mosaic")
    assert f"{len(tiles)} skipped" in again.err
    assert len(events(tmp_path / "out", "frame")) == len(frames)


def test_a_run_that_was_stopped_goes_on(inside: Program, frames, tmp_path: Path) -> None:
    write(tmp_path / "stream.tif", frames)
    inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "whole", "--every", "3", "-q")
    inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out", "--every", "3", "-q")
    log = tmp_path / "out" / "log.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    torn = "".join(lines[: len(lines) // 2]) + lines[len(lines) // 2][:40]
    log.write_text(torn)
    inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out", "--every", "3", "-q")
    names = sorted(f.name for f in (tmp_path / "whole" / "frames").iterdir())
    assert sorted(f.name for f in (tmp_path / "out" / "frames").iterdir()) == names
    key = {e["key"]: (e["y_px"], e["x_px"]) for e in events(tmp_path / "whole", "frame")}
    for event in events(tmp_path / "out", "frame"):
        assert (event["y_px"], event["x_px"]) == pytest.approx(key[event["key"]], abs=0.02)


def test_a_folder_and_an_mrc_stack_are_streams(inside: Program, frames, tmp_path: Path) -> None:
    (tmp_path / "frames").mkdir()
    for number, frame in enumerate(frames[:6]):
        write(tmp_path / "frames" / f"f{number}.tif", frame[None])
    with mrcfile.new(tmp_path / "stream.mrc") as stack:
        stack.set_data((frames[:6].astype(np.int32) - 500).astype(np.int16))
        stack.set_image_stack()
        stack.voxel_size = 312.5
    for stream in ("frames", "stream.mrc"):
        inside("burst", tmp_path / stream, "-o", tmp_path / f"out_{stream}", "-q", "--every", "6")
        (event,) = events(tmp_path / f"out_{stream}", "tile")
        assert len(event["frames"]) == 5
        assert event["left_out"] == {}


def test_a_growing_folder_is_followed(inside: Program, frames, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()

    def microscope() -> None:
        for number, frame in enumerate(frames[:8]):
            write(folder / f"f{number}.tif", frame[None])
            time.sleep(0.05)

    writer = threading.Thread(target=microscope)
    writer.start()
    inside("burst", folder, "-o", tmp_path / "out", "--follow", "--idle", "3", "--mosaic", "-q")
    writer.join()
    assert len(events(tmp_path / "out", "frame")) == 8
    assert len(events(tmp_path / "out", "window")) == 1
    assert (tmp_path / "out" / "mosaic.ome.tif").is_file()


def burst_of(inside: Program, frames: np.ndarray, folder: Path, *options: object, code: int = 0) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / "stream.tif", frames)
    inside("burst", folder / "stream.tif", "-o", folder / "out", "-q", *options, code=code)
    return folder / "out"


def test_one_frame_is_a_burst_of_one(inside: Program, frames, tmp_path: Path) -> None:
    out = burst_of(inside, frames[:1], tmp_path)
    (event,) = events(out, "tile")
    assert event["frames"] == ["stream.tif"]
    assert read(out / "frames" / "stream.tif").shape == (EDGE, EDGE)


def test_a_stage_that_does_not_move_gives_one_image(inside: Program, frames, images, tmp_path: Path) -> None:
    still = record(tissue(images), SCOPE, 1, (5,))
    still.at_px[:] = still.at_px[0]
    out = burst_of(inside, np.stack(list(still.stream())), tmp_path)
    (event,) = events(out, "tile")
    assert len(event["frames"]) == 5
    assert np.abs(event["shifts_px"]).max() < 0.5


def test_motion_beyond_a_frame_begins_a_new_segment_and_names_what_is_alone(inside: Program, images, tmp_path) -> None:
    jumps = [images[0][y : y + EDGE, 40 : 40 + EDGE] for y in (0, 180, 360, 540)]
    noise = np.random.default_rng(0).poisson(np.stack(jumps) * 400)
    out = burst_of(inside, noise.astype(np.uint16), tmp_path, "--mosaic")
    assert {e["segment"] for e in events(out, "frame")} == {0, 1, 2, 3}
    assert [len(e["frames"]) for e in events(out, "tile")] == [1, 1, 1, 1]
    assert len(list(out.glob("mosaic_*.ome.tif"))) == 4


def test_hopeless_frames_are_left_out_with_a_reason(inside: Program, frames, tmp_path: Path) -> None:
    spoilt = frames[:9].copy()
    spoilt[2] = 0
    spoilt[4] = 65535
    spoilt[6] = np.rint(ndimage.uniform_filter1d(spoilt[6].astype(float), 41, axis=0))
    out = burst_of(inside, spoilt, tmp_path, "--window", "100,6500", "--every", "1", code=0)
    why = {e["key"]: e["left_out"] for e in events(out, "frame")}
    assert "blank" in why["stream.tif#2"]
    assert "saturated" in why["stream.tif#4"]
    tiles = {e["key"]: e for e in events(out, "tile")}
    assert tiles["stream.tif#2"]["decision"] == "no_content"
    assert tiles["stream.tif#4"]["decision"] == "retake"
    good = tiles["stream.tif#3"]
    assert not {"stream.tif#2", "stream.tif#4"} & set(good["frames"])
    assert "blurred" in tiles["stream.tif#5"]["left_out"]["stream.tif#6"]
    # The chain of positions goes on over frames that were left out.
    assert {e["segment"] for e in events(out, "frame")} == {0}


def test_frames_of_another_size_and_damaged_ones_are_named(inside: Program, frames, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number, frame in enumerate(frames[:6]):
        write(folder / f"f{number}.tif", (frame[:100, :90] if number == 2 else frame)[None])
    (folder / "f4.tif").write_bytes((folder / "f4.tif").read_bytes()[:3000])
    inside("burst", folder, "-o", tmp_path / "out", "-q")
    why = {e["key"]: e["left_out"] for e in events(tmp_path / "out", "frame") if e["left_out"]}
    assert "is 100 x 90 px; the stream is 128 x 128" in why["f2.tif"]
    assert "f4.tif" in why
    assert all(not {"f2.tif", "f4.tif"} & set(e["frames"]) for e in events(tmp_path / "out", "tile"))


def test_twelve_bits_and_negative_counts_make_the_same_picture(inside: Program, frames, tmp_path: Path) -> None:
    twelve = np.clip(frames[:5] // 4, 0, 4095).astype(np.uint16)
    made = [
        burst_of(inside, counts, tmp_path / str(number))
        for number, counts in enumerate((twelve, twelve.astype(np.int16) - 1500, twelve.astype(np.float32) / 7))
    ]
    pictures = [read(next((out / "frames").iterdir())).astype(int) for out in made]
    for other in pictures[1:]:
        assert np.abs(pictures[0] - other).mean() < 2


def test_wrong_requests_are_refused(inside: Program, frames, tmp_path: Path) -> None:
    write(tmp_path / "stream.tif", frames[:3])
    for options, words in (
        (("--window", "9,3"), "LOW below HIGH"),
        (("--motion", "sheared"), "translation or euclidean"),
        (("--follow",), "give just that"),
        (("--restorer", "magic"), "no restorer named"),
    ):
        said = inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out", *options, code=2)
        assert words in said.line, said.line
    (tmp_path / "twice").mkdir()
    for name in ("f1.tif", "f1.png"):
        tifffile.imwrite(tmp_path / "twice" / name, np.zeros((64, 64), np.uint8))
    said = inside("burst", tmp_path / "twice", "-o", tmp_path / "out", code=2)
    assert "would both be restored to frames/f1.tif" in said.line
    write(tmp_path / "flat.tif", np.full((3, 64, 64), 7, np.uint16))
    said = inside("burst", tmp_path / "flat.tif", "-o", tmp_path / "out", code=1)
    assert "no window can be proposed" in said.line


def test_streams_and_stopped_frames_become_pairs_to_learn_from(inside: Program, images, tmp_path: Path) -> None:
    scope = Microscope(edge_px=96, step_px=12, exposure=0.15, electrons=150)
    for number in range(2):
        save(record(tissue(images), scope, 2, (number,)), tmp_path / "recorded" / f"s{number}")
    said = inside("pair", tmp_path / "recorded", "--stream", "-o", tmp_path / "pairs", "--frames", "3", "--test", "s0")
    assert "2 test" in said.err
    rows = (tmp_path / "pairs" / "pairs.csv").read_text().splitlines()
    assert len(rows) == 5
    with open_image(next((tmp_path / "pairs" / "test").glob("*.burst.tif"))) as image:
        assert image.info.shape[0] == 4
    for options, words in (
        (("--valid", "s1"), "SEQUENCE:CELL"),
        (("--test", "s9"), "no sequence 's9'"),
        (("--test", "s1", "--valid", "s1:1"), "--valid needs another one"),
        (("-o", tmp_path / "pairs"), "not empty"),
    ):
        said = inside("pair", tmp_path / "recorded", "--stream", "-o", tmp_path / "more", *options, code=2)
        assert words in said.line  # one line: refused before any frame is looked at
    said = inside("pair", tmp_path / "recorded", "--stream", "-o", tmp_path / "more", "--valid", "s0:7")
    assert "warning: valid is empty: no stopped frame shows cell 7 of s0" in said.err


def test_stopped_frames_of_an_odd_size_are_named(inside: Program, frames, tmp_path: Path) -> None:
    for sequence in ("s0", "s1"):
        (tmp_path / "recorded" / sequence).mkdir(parents=True)
        write(tmp_path / "recorded" / sequence / "stream.tif", frames[:3])
        write(tmp_path / "recorded" / sequence / "stopped.tif", np.pad(frames[:1], ((0, 0), (0, 50), (0, 50)), "wrap"))
    said = inside("pair", tmp_path / "recorded", "--stream", "-o", tmp_path / "pairs", code=1)
    assert "s0/stopped.tif: is 178 x 178 px; expected a whole multiple of the stream's 128 x 128" in said.err
    assert "no stopped frame matches its stream" in said.err.splitlines()[-1]


def test_frames_that_come_at_once_are_followed_in_natural_order(inside: Program, frames, tmp_path: Path) -> None:
    folder = tmp_path / "frames"
    folder.mkdir()
    for number in (3, 11, 0, 7, 10, 5, 1, 8, 2, 9, 6, 4):
        write(folder / f"f{number}.tif", frames[number][None])
    inside("burst", folder, "-o", tmp_path / "out", "--follow", "--idle", "1", "-q", "--window", "100,6500")
    assert [e["key"] for e in events(tmp_path / "out", "frame")] == [f"f{number}.tif" for number in range(12)]


def test_what_only_the_window_clips_is_restored(inside: Program, frames, tmp_path: Path) -> None:
    high = float(np.percentile(frames[:3], 90))
    out = burst_of(inside, frames[:3], tmp_path, "--window", f"100,{high}", "--every", "1")
    assert [e["decision"] for e in events(out, "tile")] == ["restored"] * 3


def test_a_stream_that_cannot_be_read_says_why(inside: Program, frames, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "stream.tif", frames[:3].astype(np.int32), photometric="minisblack")
    said = inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out", code=1)
    assert "int32" in said.err
    assert "--window" not in said.err


def test_another_job_leaves_no_frames_or_mosaics_of_the_one_before(inside: Program, frames, tmp_path: Path) -> None:
    out = burst_of(inside, frames[:7], tmp_path, "--every", "2", "--mosaic")
    (out / "frames" / "mine.txt").write_text("not of this program")
    inside("burst", tmp_path / "stream.tif", "-o", out, "--every", "3", "--overwrite", "-q")
    names = {f.name for f in (out / "frames").iterdir()}
    assert names == {"stream_0000.tif", "stream_0003.tif", "stream_0006.tif", "mine.txt"}
    assert not list(out.glob("mosaic*"))
    assert "Restored images: 3," in (out / "bursts.html").read_text()


def test_the_page_of_a_stream_is_written_again_from_where_the_stream_is_now(inside: Program, frames, tmp_path) -> None:
    out = burst_of(inside, frames[:3], tmp_path, "--every", "1")
    page = (out / "bursts.html").read_text()
    (tmp_path / "moved").mkdir()
    (tmp_path / "stream.tif").rename(tmp_path / "moved" / "stream.tif")
    assert inside("report", out).out.strip() == str(out / "bursts.html")
    assert (out / "bursts.html").read_text().count("as recorded") == 0
    inside("report", out, "--inputs", tmp_path / "moved")
    assert (out / "bursts.html").read_text() == page
    inside("report", out, "--truth", tmp_path, code=2)


def test_what_was_left_out_is_said(inside: Program, frames, tmp_path: Path) -> None:
    spoilt = frames[:3].copy()
    spoilt[1] = 0
    write(tmp_path / "stream.tif", spoilt)
    assert "followed: 3, left out: 1" in inside("burst", tmp_path / "stream.tif", "-o", tmp_path / "out").err
