"""Replay: files as the microscopes write them, in their order, at the speed asked for, with the truth beside them."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile

from program import Program
from refocal.core import registry
from refocal.core.errors import BadOptionError, UnknownPartError, UnreadableError, UsageError
from refocal.core.values import Frames, ImageInfo
from refocal.microscope.simulate import Plan, Shares, kinds, replay
from refocal.parts.formats import create_image, open_image

SMALL = Plan(sections=1, mfovs=2, beams=7, tiles=3, height=64, width=66, variants=2)


def truth_of(done):
    return [json.loads(line) for line in done.truth.read_text().splitlines()]


def tiles_of(done):
    return [row for row in truth_of(done) if "quality" in row]


def test_multisem_tiles_are_top_down_bitmaps(tmp_path):
    done = replay("multisem", tmp_path / "a", SMALL)
    names = [row["name"] for row in tiles_of(done)]
    assert len(names) == done.tiles == 14
    data = (tmp_path / "a" / names[0]).read_bytes()
    assert data[:2] == b"BM"
    assert int.from_bytes(data[2:6], "little") == len(data) == 14 + 40 + 1024 + 64 * 68
    assert int.from_bytes(data[18:22], "little") == 66
    assert int.from_bytes(data[22:26], "little", signed=True) == -64
    with open_image(tmp_path / "a" / names[0]) as image:
        assert image.info.shape == (1, 64, 66)
        assert image.info.warnings == ()
        assert image.info.pixel_nm == pytest.approx(4)
    thumbnail = (tmp_path / "a" / names[0]).with_name("thumbnail_" + Path(names[0]).name)
    with open_image(thumbnail) as image:
        assert image.info.shape == (1, 4, 4)


def test_sbemimage_tiles_are_pyramids_with_a_pixel_size(tmp_path):
    done = replay("sbemimage", tmp_path / "a", replace(SMALL, height=256, width=320, pixel_nm=8))
    path = tmp_path / "a" / tiles_of(done)[0]["name"]
    with tifffile.TiffFile(path) as file:
        assert file.is_ome
        assert [level.shape for level in file.series[0].levels] == [(256, 320), (128, 160), (64, 80), (32, 40)]
    with open_image(path) as image:
        assert image.info.shape == (1, 256, 320)
        assert image.info.pixel_nm == pytest.approx(8)


@pytest.mark.parametrize("kind", kinds())
def test_the_same_seed_gives_the_same_bytes(tmp_path, kind):
    def written(root, plan):
        replay(kind, root, plan)
        return {path.relative_to(root): path.read_bytes() for path in root.rglob("*") if path.is_file()}

    first = written(tmp_path / "a", SMALL)
    assert written(tmp_path / "b", SMALL) == first
    assert written(tmp_path / "c", replace(SMALL, seed=1)) != first
    images = [data for path, data in first.items() if path.suffix in (".bmp", ".tif") and len(data) > 4000]
    assert len({bytes(data) for data in images}) >= min(3, len(images))


def test_shares_are_kept_and_known(tmp_path):
    shares = Shares(soft=0.3, noisy=0.1, blank=0.1, hopeless=0.1, slow=0.2, torn=0.1, missing=0.1)
    done = replay("multisem", tmp_path / "a", replace(SMALL, mfovs=8, beams=61, height=16, width=16, shares=shares))
    rows = truth_of(done)
    tiles = [row for row in rows if "quality" in row]
    count = {
        q: sum(row["quality"] == q for row in tiles) / len(tiles)
        for q in ("sharp", "soft", "noisy", "blank", "hopeless")
    }
    for quality, share in {"sharp": 0.4, "soft": 0.3, "noisy": 0.1, "blank": 0.1, "hopeless": 0.1}.items():
        assert count[quality] == pytest.approx(share, abs=0.07)
    assert sum(row["torn"] for row in tiles) / len(tiles) == pytest.approx(0.1, abs=0.05)
    assert sum(row.get("event") == "missing" for row in rows) / (8 * 61) == pytest.approx(0.1, abs=0.05)
    for row in tiles:
        stored = (tmp_path / "a" / row["name"]).stat().st_size
        assert (stored < row["bytes"]) == row["torn"] == (row["complete"] is None)


def test_a_torn_tile_cannot_be_read(tmp_path):
    done = replay("multisem", tmp_path / "a", replace(SMALL, shares=Shares(torn=1)))
    for row in tiles_of(done)[:2]:
        with pytest.raises(UnreadableError):
            open_image(tmp_path / "a" / row["name"])


def test_soft_tiles_are_softer(tmp_path):
    shares = Shares(soft=0.25, noisy=0, blank=0.25, hopeless=0.25)
    done = replay("folder", tmp_path / "a", replace(SMALL, sections=4, tiles=4, height=512, width=512, shares=shares))
    gate, verdicts = registry.make("gates", "sharpness"), {}
    for row in tiles_of(done):
        with open_image(tmp_path / "a" / row["name"]) as image:
            grade = gate(Frames(image.read()[None]))
        verdicts.setdefault(row["quality"], set()).add(grade.verdict)
    assert verdicts["sharp"] == {"keep"}
    assert "keep" not in verdicts["soft"]
    assert verdicts["hopeless"] == {"retake"}
    assert verdicts["blank"] == {"no_content"}


def test_given_images_are_used(tmp_path, rng):
    image = rng.integers(0, 60000, (80, 90), dtype=np.uint16)
    create_image(tmp_path / "mine.tif", [image], ImageInfo((1, 80, 90), image.dtype))
    shares = Shares(0, 0, 0, 0, 0)
    done = replay("folder", tmp_path / "a", replace(SMALL, shares=shares, images=(tmp_path / "mine.tif",)))
    with open_image(tmp_path / "a" / tiles_of(done)[0]["name"]) as written:
        got = written.read()
    assert np.corrcoef(got[1:].ravel(), image[1:64, :66].ravel())[0, 1] > 0.98


def test_the_pace_is_kept(tmp_path):
    done = replay("folder", tmp_path / "a", replace(SMALL, tiles=10, tiles_per_second=40))
    assert 0.22 <= done.seconds < 5
    times = [row["complete"] for row in tiles_of(done)]
    assert max(times) - min(times) > 0.15
    assert done.late_s >= 0


@pytest.mark.parametrize("kind", ["multisem", "sbemimage"])
def test_while_it_is_written_complete_means_complete(tmp_path, kind):
    root = tmp_path / "scope"
    plan = replace(
        SMALL, sections=3, mfovs=3, beams=19, tiles=6, tiles_per_second=250, shares=Shares(slow=0.4, rejected=0.5)
    )
    made = threading.Event()
    results = []
    writer = threading.Thread(target=lambda: results.append(replay(kind, root, plan, ready=made.set)))
    writer.start()
    made.wait(30)
    layout, seen, closed = registry.make("layouts", kind), set(), {}
    running = True
    while running:
        running = writer.is_alive()
        for folder in [path for path in root.rglob("*") if path.is_dir()] if root.exists() else []:
            name = folder.relative_to(root).as_posix()
            known = layout.known(root, name)
            for file in known.complete:
                seen.add((f"{name}/{file}", (folder / file).stat().st_size))
            files = frozenset(path.name for path in folder.rglob("*") if path.is_file())
            if name in closed:
                assert files == closed[name], "a closed folder has got a file"
            elif known.closed:
                closed[name] = files
        time.sleep(0.005)
    writer.join()
    tiles = tiles_of(results[0])
    assert seen == {(row["name"], row["bytes"]) for row in tiles}
    assert bool(closed) == (kind == "multisem")


def test_requests_that_are_wrong(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    for out, truth in (
        (tmp_path / "full", None),
        (tmp_path / "full" / "x", None),
        (tmp_path / "b", tmp_path / "b" / "t"),
    ):
        with pytest.raises(UsageError):
            replay("folder", out, SMALL, truth=truth)
    with pytest.raises(UnknownPartError, match="multisem"):
        replay("multisen", tmp_path / "b", SMALL)
    for wrong in ({"sections": 0}, {"height": 3}, {"tiles_per_second": -1}, {"pixel_nm": 0}, {"retakes": 9}):
        with pytest.raises(BadOptionError):
            replace(SMALL, **wrong)
    for wrong in ({"soft": 2}, {"soft": 0.5, "blank": 0.6}):
        with pytest.raises(BadOptionError):
            Shares(**wrong)


def test_command(inside: Program, tmp_path):
    out = tmp_path / "scope"
    done = inside("replay", "multisem", str(out), "--plan", "beams=7,mfovs=1", "--size", "64x48", "--json")
    row = json.loads(done.out)
    assert row["tiles"] == 14
    assert Path(row["truth"]).is_file()
    assert "new or empty" in inside("replay", "multisem", str(out), code=2).line
    for wrong, words in (("softt=1", "soft"), ("soft=x", "NAME=SHARE"), ("soft=3", "from 0 to 1")):
        assert words in inside("replay", "folder", str(tmp_path / "b"), "--share", wrong, code=2).line
    assert "WIDTHxHEIGHT" in inside("replay", "folder", str(tmp_path / "b"), "--size", "64", code=2).line
