"""Hand-off from logs as runs and watches write them: what is imaged again, what is stitched, what is left alone."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from refocal.core.errors import UsageError
from refocal.eventlog.log import Log
from refocal.microscope.handoff import HandoffRequest, HandoffResult, hand_off

Tile = dict[str, Any]
BATCH, LATER = "run_20260105_08-00-00", "run_20260107_09-30-00"


def multisem(section: int, mfov: int, beam: int, batch: str = BATCH, **facts: Any) -> Tile:
    """A tile of a multi-beam microscope, 8 x 10 pixels of 4 nm that overlap by 2."""
    day = batch.split("_")[1]
    taken = f"{day[:4]}-{day[4:6]}-{day[6:]}T08000{mfov}1234567"
    path = f"{batch}/{section:03d}_S{section}R1/{mfov:06d}/{section:03d}_{mfov:06d}_{beam:03d}_{taken}.bmp"
    return {
        "event": "tile", "key": path, "path": path, "page": 0, "section": f"S{section}R1", "region": 1,
        "tile": f"m{mfov:06d}_b{beam:03d}", "field": mfov, "beam": beam, "grid": None, "taken": taken,
        "decision": "kept", "reason": "sharp", "sigma_px": 0.7, "pixel_nm": 4.0, "height": 8, "width": 10,
        "mode": "uint8", "stage_x_nm": 1000.0 + 32 * beam, "stage_y_nm": -500.0 + 24 * mfov, "size": 80,
        "mtime_ns": 1, **facts,
    }  # fmt: skip


def sbem(tile: int, slice_: int, **facts: Any) -> Tile:
    """A tile of SBEMimage."""
    path = f"tiles/g0001/t{tile:04d}/stack_g0001_t{tile:04d}_s{slice_:05d}.tif"
    return {**multisem(1, 1, tile), "key": path, "path": path, "section": f"s{slice_:05d}", "region": None,
            "tile": f"g0001.t{tile:04d}", "field": None, "beam": None, "grid": 1, "taken": "", **facts}  # fmt: skip


Run = Callable[..., Path]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Write a run: the raw tiles, its log, and those outputs that a run would leave."""

    def write(*events: Tile, carried: bool = True) -> Path:
        raw, out = tmp_path / "raw", tmp_path / "out"
        out.mkdir(exist_ok=True)
        with Log(out / "log.jsonl") as log:
            log.start({"gate": "sharpness"}, inputs=[str(raw)])
            for event in events:
                log.append(event)
                if event["event"] != "tile":
                    continue
                for root in (raw, out) if carried else (raw,):
                    path = root / event["path"]
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(root.name.encode())
        return out

    return write


def document(out: Path, **wanted: Any) -> list[dict[str, Any]]:
    hand_off(out, HandoffRequest(**wanted))
    sections: list[dict[str, Any]] = json.loads((out / "retake.json").read_text())["sections"]
    return sections


def stitched(out: Path, folder: Path, **wanted: Any) -> tuple[HandoffResult, dict[str, list[list[str]]]]:
    """Hand over to FEABAS and return its coordinate files as rows of fields."""
    handed = hand_off(out, HandoffRequest(feabas=folder, **wanted))
    files = sorted((folder / "stitch" / "stitch_coord").glob("*.txt"))
    return handed, {file.stem: [line.split("\t") for line in file.read_text().splitlines()] for file in files}


def test_a_section_is_imaged_again_when_too_many_tiles_must_be(run: Run) -> None:
    soft = {"decision": "retake", "reason": "blur 4.1 px above 3.2 px", "sigma_px": 4.1}
    good = [multisem(2, m, b) for m in (1, 2) for b in range(1, 11)]
    bad = [multisem(10, 1, b, **(soft if b < 3 else {})) for b in range(1, 11)]
    two, ten = document(run(*bad, *good))
    assert (two["section"], two["decision"], two["retake_share"], two["retakes"]) == ("S2R1", "keep", 0, [])
    assert (ten["section"], ten["decision"], ten["retake_share"], ten["fields"]) == ("S10R1", "retake", 0.2, [1])
    assert ten["causes"] == {"SOFT-FOCUS": 2}
    assert [tile["beam"] for tile in ten["retakes"]] == [1, 2]
    assert ten["retakes"][0]["reason"] == soft["reason"]


def test_blank_tiles_do_not_water_the_share_down(run: Run) -> None:
    tiles = [
        multisem(1, 1, b, decision="no_content" if b < 9 else "retake" if b == 9 else "kept") for b in range(1, 11)
    ]
    assert document(run(*tiles))[0]["retake_share"] == 0.5


def test_the_newest_imaging_of_a_section_wins_as_a_whole(run: Run, tmp_path: Path) -> None:
    before = [multisem(5, m, b, decision="retake") for m in (1, 2) for b in (1, 2)]
    after = [multisem(5, 1, b, LATER) for b in (1, 2)]
    out = run(*after, *before)  # the log need not be in order of time
    (section,) = document(out)
    assert (section["tiles"], section["superseded"], section["decision"]) == (2, 4, "keep")
    _, files = stitched(out, tmp_path / "feabas")
    assert files["S5R1"][0][1].endswith(f"{LATER}/005_S5R1")
    assert len(files["S5R1"]) == 5


def test_the_operators_word_beats_the_gate_until_the_file_changes(run: Run) -> None:
    tiles = [multisem(1, 1, b) for b in range(1, 5)]
    words = [
        {"event": "override", "key": tiles[0]["key"], "verdict": "retake", "note": "fold", "by": "ann"},
        {"event": "override", "key": tiles[1]["key"], "verdict": "retake", "note": "", "by": "ann"},
        {"event": "override", "key": tiles[1]["key"], "verdict": "keep", "note": "no", "by": "bob"},
        {"event": "override", "key": tiles[2]["key"], "verdict": "retake", "note": "", "by": "ann"},
        {**tiles[2], "mtime_ns": 2},  # written anew since
    ]
    (section,) = document(run(*tiles, *words))
    assert [(tile["beam"], tile["by"]) for tile in section["retakes"]] == [(1, "operator")]


def test_a_tile_that_the_operator_wants_restored_is_waited_for(run: Run) -> None:
    tile = multisem(1, 1, 1)
    word = {"event": "override", "key": tile["key"], "verdict": "restore", "note": "", "by": "ann"}
    (section,) = document(run(tile, word, {**tile, "decision": "queued", "override": "restore"}))
    assert section["waiting"] == 1


def test_causes_are_told_apart(run: Run) -> None:
    tiles = [
        multisem(1, 1, 1, decision="retake", reason="rows shifted by 12 px"),
        multisem(1, 1, 2, decision="unreadable", sigma_px=None, reason=None, error="truncated"),
        multisem(1, 1, 3, decision="retake", reason="blur"),
        multisem(1, 1, 4, decision="retake", reason="blur"),
        multisem(1, 1, 5, decision="retake", reason="saturated", sigma_px=None),
        {"event": "alert", "kind": "astigmatism", "subject": "beam 4", "active": True},
        {"event": "alert", "kind": "astigmatism", "subject": "beam 3", "active": True},
        {"event": "alert", "kind": "astigmatism", "subject": "beam 3", "active": False},
    ]
    (section,) = document(run(*tiles))
    assert [t["cause"] for t in section["retakes"]] == ["SCAN-FAULT", "UNREADABLE", "SOFT-FOCUS", "BAD-STIG", "RETAKE"]


def test_multisem_flags_stand_in_a_tree_of_their_own_and_go_when_the_section_is_good(run: Run, tmp_path: Path) -> None:
    bad = [multisem(3, 1, b, decision="retake") for b in (1, 2)]
    out = run(*bad, *[multisem(4, 1, b) for b in (1, 2)])
    hand_off(out, HandoffRequest(multisem_flags=True))
    flags = out / "handoff" / "multisem" / BATCH / "003_S3R1"
    assert (flags / "yesretake").read_bytes() == b""
    assert (flags / "user_comment.txt").read_text() == "[SOFT-FOCUS] refocal: 2 of 2 tiles (2 SOFT-FOCUS)\n"
    assert not flags.with_name("004_S4R1").exists()
    assert not list((tmp_path / "raw").rglob("yesretake"))
    run(*[{**tile, "decision": "kept"} for tile in bad])
    hand_off(out, HandoffRequest(multisem_flags=True))
    assert list(flags.iterdir()) == []


def test_the_microscopes_tree_is_only_added_to(run: Run, tmp_path: Path) -> None:
    out = run(multisem(3, 1, 1, decision="retake"), multisem(4, 1, 1, decision="retake"))
    theirs = tmp_path / "raw" / BATCH / "003_S3R1" / "user_comment.txt"
    theirs.write_text("looks fine to me")
    handed = hand_off(out, HandoffRequest(multisem_into=tmp_path / "raw"))
    assert theirs.read_text() == "looks fine to me"
    assert "S3R1" in handed.problems[0]
    assert (theirs.parent / "yesretake").is_file()
    assert (tmp_path / "raw" / BATCH / "004_S4R1" / "user_comment.txt").read_text().startswith("[SOFT-FOCUS]")
    with pytest.raises(UsageError, match="folder that was watched"):
        hand_off(out, HandoffRequest(multisem_into=tmp_path / "elsewhere"))


def test_sbemimage_gets_grid_and_tile(run: Run) -> None:
    out = run(sbem(4, 12, decision="retake"), sbem(65, 12, decision="unreadable"), sbem(5, 12), sbem(4, 13))
    hand_off(out, HandoffRequest(sbemimage=True))
    assert (out / "handoff" / "sbemimage" / "s00012.txt").read_text() == "1.4\n1.65\n"
    assert (out / "handoff" / "sbemimage" / "s00013.txt").read_text() == ""


def test_feabas_gets_pixels_and_the_names_of_the_microscope(run: Run, tmp_path: Path) -> None:
    out = run(*[multisem(7, m, b) for m in (1, 2) for b in (1, 2)])
    handed, files = stitched(out, tmp_path / "feabas")
    assert handed.problems == []
    root, resolution, size, *rows = files["S7R1"]
    assert root == ["{ROOT_DIR}", str(out / BATCH / "007_S7R1")]
    assert (resolution, size) == (["{RESOLUTION}", "4"], ["{TILE_SIZE}", "8", "10"])
    assert [row[1:] for row in rows] == [["0", "0"], ["8", "0"], ["0", "6"], ["8", "6"]]
    for row, mfov in zip(rows, (1, 1, 2, 2), strict=True):
        assert (Path(root[1]) / row[0]).is_file()
        assert int(row[0].split("/")[0]) == mfov == int(Path(row[0]).name.split("_")[1])
    assert not (tmp_path / "feabas" / "section_order.txt").exists()


def test_the_order_of_sections_is_told_where_the_alphabet_is_wrong(run: Run, tmp_path: Path) -> None:
    order = tmp_path / "feabas" / "section_order.txt"
    out = run(multisem(2, 1, 1), multisem(10, 1, 1))
    stitched(out, tmp_path / "feabas", only=frozenset({"S10R1"}))
    assert order.read_text() == "S10R1\n"
    stitched(out, tmp_path / "feabas")
    assert order.read_text() == "S2R1\nS10R1\n"
    order.write_text("S10R1\nS2R1\n")  # somebody's own order
    run(multisem(11, 1, 1))
    handed, _ = stitched(out, tmp_path / "feabas")
    assert order.read_text() == "S10R1\nS2R1\n"
    assert "does not name S11R1" in handed.problems[0]


def test_tiles_that_cannot_be_read_leave_a_hole_that_is_told(run: Run, tmp_path: Path) -> None:
    out = run(multisem(1, 1, 1), multisem(1, 1, 2, decision="unreadable", error="truncated"))
    handed, files = stitched(out, tmp_path / "feabas")
    assert len(files["S1R1"]) == 4
    assert "1 tiles are missing" in handed.problems[0]


@pytest.mark.parametrize("how", ["link", "copy"])
def test_tiles_that_the_run_left_out_are_fetched(run: Run, tmp_path: Path, how: Any) -> None:
    out = run(multisem(1, 1, 1), multisem(1, 1, 2), carried=False)
    handed, _ = stitched(out, tmp_path / "feabas")
    assert "--link or --copy" in handed.problems[0]
    handed, files = stitched(out, tmp_path / "feabas", fetch=how)
    assert handed.problems == []
    for row in files["S1R1"][3:]:
        path = out / BATCH / "001_S1R1" / row[0]
        assert path.read_bytes() == b"raw"
        assert path.is_symlink() == (how == "link")


def test_sections_that_are_not_ready_are_named_and_the_others_handed_on(run: Run, tmp_path: Path) -> None:
    out = run(
        multisem(1, 1, 1, decision="queued"),
        multisem(2, 1, 1),
        {"event": "section", "section": "S2R1", "state": "open"},
        multisem(3, 1, 1, stage_x_nm=None),
        multisem(4, 1, 1, pixel_nm=None),
        multisem(5, 1, 1),
        multisem(5, 1, 2, width=20),
        multisem(6, 1, 1),
        {"event": "section", "section": "S6R1", "state": "complete"},
    )
    handed, files = stitched(out, tmp_path / "feabas")
    assert list(files) == ["S6R1"]
    words = ("wait to be restored", "still being imaged", "no stage position", "--pixel-nm", "different width: 10, 20")
    for problem, word in zip(handed.problems, words, strict=True):
        assert word in problem
    _, files = stitched(out, tmp_path / "feabas", unfinished=True, pixel_nm=4.0)
    assert list(files) == ["S1R1", "S2R1", "S4R1", "S6R1"]


def test_render_ws_gets_urls_and_shifts(run: Run, tmp_path: Path) -> None:
    out = run(sbem(4, 2), sbem(5, 2, mode="uint16"), sbem(4, 10))
    hand_off(out, HandoffRequest(render_ws=tmp_path / "specs" / "tiles.json"))
    specs = json.loads((tmp_path / "specs" / "tiles.json").read_text())
    assert [(spec["z"], spec["layout"]["sectionId"]) for spec in specs] == [(0, "s00002"), (0, "s00002"), (1, "s00010")]
    assert specs[1]["transforms"]["specList"][0]["dataString"] == "1 0 0 1 8.000 0.000"
    assert specs[1]["maxIntensity"] == 65535
    assert specs[0]["mipmapLevels"]["0"]["imageUrl"] == (out / sbem(4, 2)["path"]).as_uri()
    assert len({spec["tileId"] for spec in specs}) == 3


def test_a_log_cannot_lead_out_of_the_output(run: Run, tmp_path: Path) -> None:
    out = run(multisem(1, 1, 1))
    with Log(out / "log.jsonl") as log:
        log.append({**multisem(1, 1, 2), "key": "x", "path": "../../etc/passwd"})
        log.append({**multisem(1, 1, 3), "key": "y", "path": "/etc/passwd"})
    assert document(out)[0]["tiles"] == 1


def test_what_is_wrong_with_the_request_is_said(run: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no log"):
        hand_off(tmp_path, HandoffRequest())
    out = run(multisem(1, 1, 1))
    with pytest.raises(UsageError, match="no section 'S9R1'; it has S1R1"):
        hand_off(out, HandoffRequest(only=frozenset({"S9R1"})))


def test_the_same_log_gives_the_same_bytes(run: Run) -> None:
    out = run(*[multisem(1, 1, b, decision="retake") for b in range(1, 5)])
    hand_off(out, HandoffRequest())
    first = (out / "retake.json").read_bytes()
    hand_off(out, HandoffRequest())
    assert (out / "retake.json").read_bytes() == first
    assert not list(out.rglob("*.part"))


def test_positions_that_were_written_after_the_tiles_were_graded(run: Run, tmp_path: Path) -> None:
    late = {"stage_x_nm": None, "stage_y_nm": None, "pixel_nm": None}
    tiles = [multisem(1, 1, beam, **late) for beam in (1, 2)]
    out = run(*tiles)
    refused = hand_off(out, HandoffRequest(feabas=tmp_path / "f"))
    assert "no stage position" in refused.problems[0] or "pixel size" in refused.problems[0]
    folder = (tmp_path / "raw" / tiles[0]["path"]).parent
    lines = [f"{Path(tile['path']).name}\t{8 * beam}\t0\t0\n" for beam, tile in enumerate(tiles)]
    (folder / "image_coordinates.txt").write_text("".join(lines))
    handed = hand_off(out, HandoffRequest(feabas=tmp_path / "f", pixel_nm=4))
    assert not handed.problems
    written = (tmp_path / "f" / "stitch" / "stitch_coord" / "S1R1.txt").read_text()
    assert [line.split("\t")[1] for line in written.splitlines() if "\t" in line][-2:] == ["0", "8"]
