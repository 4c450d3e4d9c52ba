"""The report of every kind of log: empty, failures only, hostile, huge; and what its parts say."""

import json
import re

import cv2
import numpy as np
import pytest

from refocal.core.errors import WriteError
from refocal.ui.report import choose, write_report
from refocal.ui.report.drawing import blur_step, positions
from refocal.ui.report.summary import summarise


def event(key, decision="kept", **more):
    facts = {"event": "tile", "key": key, "path": key, "page": 0, "decision": decision, "verdict": "keep"}
    return {**facts, "reason": "sharp", "sigma_px": 0.7, "noise": 3.0, "height": 64, "width": 64, **more}


def write_log(folder, *events):
    (folder / "log.jsonl").write_text("".join(json.dumps(e) + "\n" for e in events))
    return folder


def page(folder, **options):
    return write_report(folder, folder / "report.html", **options).read_text()


def test_an_empty_log_and_a_missing_one(tmp_path):
    assert "holds no tiles" in page(tmp_path)
    assert "holds no tiles" in page(write_log(tmp_path))
    assert "holds no tiles" in page(write_log(tmp_path, {"event": "job", "job": {}}))


def test_failures_only(tmp_path):
    bad = [event(f"{i}.tif", "failed", sigma_px=None, noise=None, error="disk full") for i in range(3)]
    text = page(write_log(tmp_path, *bad, event("x.tif", "unreadable", sigma_px=None, noise=None, height=None)))
    assert text.count("disk full") >= 3
    assert "tiles with tissue" not in text
    assert "No picture" in text


def test_nothing_is_loaded_from_elsewhere(tmp_path):
    text = page(write_log(tmp_path, event("a.tif")))
    addresses = re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"'\s>)]+)""", text)
    assert all(a.startswith(("#", "data:")) or a == "retake.csv" for a in addresses)
    assert "default-src 'none'" in text


@pytest.mark.parametrize(
    "name",
    ["<script>alert(1)</script>.tif", '"><img src=x onerror=alert(1)>.tif', "</script><b>.tif", "a\x00\udcff.tif"],
)
def test_hostile_names_are_escaped(tmp_path, name):
    text = page(write_log(tmp_path, event(name, "retake", reason=name), {"event": "job", "job": {"model": name}}))
    for opening in ("<script>alert", "<img src=x", "</script><b>"):
        assert opening not in text
    assert text.count("<script") == 2


def test_hostile_values_are_ignored(tmp_path):
    wrong = event("a.tif", "no such decision", sigma_px="1", noise=[1], height=True, output=7, page="x", stage_x_nm={})
    text = page(
        write_log(tmp_path, wrong, {"event": "tile"}, {"event": "tile", "key": 4}, event("b.tif", sigma_px=1e300))
    )
    assert "a.tif" in text
    assert "NaN" not in text


def test_five_thousand_tiles(tmp_path):
    rng = np.random.default_rng(0)
    decisions = rng.choice(["kept", "restored", "retake"], 5000, p=[0.6, 0.38, 0.02])
    many = [
        event(f"s{i // 500}/r{i % 500 // 25}_c{i % 25}.tif", d, sigma_px=rng.gamma(3, 0.4))
        for i, d in enumerate(decisions)
    ]
    text = page(write_log(tmp_path, *many), max_pictures=6)
    assert len(text) < 6e6
    assert text.count('class="tile"') == 6
    assert text.count('class="map"') == 10
    assert "6 of 5,000 tiles are shown" in text


def test_the_last_event_of_a_key_counts_and_runs_are_timed():
    job = {"event": "job", "time": "2026-01-01T00:00:00+00:00"}
    found = summarise(
        [
            job,
            event("a.tif", "retake", time="2026-01-01T00:00:03+00:00"),
            {**job, "time": "2026-01-02T00:00:00+00:00"},
            event("a.tif", "kept", time="2026-01-02T00:00:04+00:00"),
            event("b.tif", "no_content", time="2026-01-02T00:00:05+00:00"),
        ]
    )
    assert found.counts["kept"] == 1
    assert found.counts["retake"] == 0
    assert found.seconds == pytest.approx(8)
    assert found.retake_share == 0
    assert found.megapixels == pytest.approx(2 * 64 * 64 / 1e6)


def tiles(*events):
    return summarise(events).tiles


def test_positions_from_the_stage_first():
    found = tiles(
        *(event(f"t{i}.tif", stage_x_nm=x, stage_y_nm=y) for i, (x, y) in enumerate([(0, 0), (930, 3), (4, 925)]))
    )
    np.testing.assert_allclose(positions(found), [(0, 0), (1, 0), (0, 1)], atol=0.01)


def test_positions_from_names_then_by_order():
    assert positions(tiles(*(event(f"a/tile_r{r}_c{c}.tif") for r, c in [(3, 5), (4, 5), (3, 6)]))) == [
        (0, 0),
        (0, 1),
        (1, 0),
    ]
    assert positions(tiles(*(event(f"{i}.tif") for i in range(4)))) == [(0, 0), (1, 0), (0, 1), (1, 1)]
    same_place = tiles(*(event(f"{i}.tif", stage_x_nm=0, stage_y_nm=0) for i in range(2)))
    assert len(positions(same_place)) == 2


def test_chosen_tiles_are_the_softest_the_sharpest_and_others():
    found = tiles(*(event(f"{i}.tif", "restored", sigma_px=i / 10) for i in range(100)))
    chosen = {t.name for t in choose(found, 9)}
    assert len(chosen) == 9
    assert {"99.tif", "98.tif", "97.tif", "0.tif", "1.tif", "2.tif"} <= chosen
    assert len(choose(found, 0)) == 0
    assert len(choose(found, 100)) == 100


def test_blur_colours():
    assert blur_step(None) is None
    assert blur_step(0.0) == 0
    assert blur_step(99.0) == 8


def save(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)


@pytest.fixture
def run(tmp_path, rng):
    """A restored tile with its truth: the change is largest at the lower right."""
    truth = cv2.GaussianBlur(rng.integers(0, 255, (300, 400), np.uint8), (0, 0), 3)
    truth[200:, 300:] = rng.integers(0, 255, (100, 100), np.uint8)
    before = cv2.GaussianBlur(truth, (0, 0), 2)
    for folder, image in (("raw", before), ("out", truth), ("truth", truth)):
        save(tmp_path / folder / "s" / "a.png", image)
    done = event("s/a.png", "restored", output="s/a.png", height=300, width=400)
    return write_log(
        tmp_path / "out", {"event": "job", "inputs": [str(tmp_path / "raw")], "job": {"contrast": None}}, done
    )


def test_pictures_and_scores(run, tmp_path):
    text = page(run, truth=tmp_path / "truth")
    assert text.count("data:image/jpeg") == 3
    assert text.count("data:image/png") == 8
    assert "largest change" in text
    assert "PSNR" in text
    left, top = (float(v) for v in re.search(r'class="box" style="left:([\d.]+)%;top:([\d.]+)%', text).groups())
    assert left + 40 > 90
    assert top + 53 > 90


def test_inputs_can_be_named_and_missing_files_are_told(run, tmp_path):
    write_log(run, event("s/a.png", "restored", output="s/a.png"))
    assert "data:image/png" not in page(run)
    assert "data:image/png" in page(run, inputs=tmp_path / "raw")
    assert "data:image/png" in page(run, inputs=[tmp_path, tmp_path / "raw"])
    (run / "s" / "a.png").unlink()
    assert "no longer where the log says" in page(run, inputs=tmp_path / "raw")


def test_nothing_but_the_report_is_written(run):
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    page(run)
    (run / "report.html").unlink()
    assert before == {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}


def test_an_unwritable_place(tmp_path):
    with pytest.raises(WriteError, match="cannot be written"):
        write_report(tmp_path, tmp_path / "no" / "report.html")
