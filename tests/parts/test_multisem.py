"""MultiSEM: what its logs and side-cars say, whole or half-written, and what is imaged again."""

import builtins
import json
from pathlib import Path

import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError
from refocal.core.layout import TileLocation
from refocal.microscope.simulate import Plan, Shares, replay

SECTION = "name_20260105_08-00-00/021_S56R1"
MFOV = f"{SECTION}/000001"
TILE = "021_000001_{:03d}_2026-01-05T0800021234567.bmp"


@pytest.fixture
def layout():
    return registry.make("layouts", "multisem")


@pytest.fixture
def root(tmp_path):
    (tmp_path / MFOV).mkdir(parents=True)
    return tmp_path


def put(root, name, text, mode="wb"):
    with open(root / name, mode) as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def line(beam, x=0.0, y=0.0, prefix=""):
    return f"{prefix}{TILE.format(beam)}\t{x:.3f}\t{y:.3f}\t0\r\n"


@pytest.mark.parametrize(
    ("name", "place"),
    [
        (f"{MFOV}/{TILE.format(3)}", TileLocation("S56R1", "m000001_b003", 1, 1, 3, taken="2026-01-05T0800021234567")),
        (
            f"w03/{MFOV}/{TILE.format(91)}",
            TileLocation("w03.S56R1", "m000001_b091", 1, 1, 91, taken="2026-01-05T0800021234567"),
        ),
        (
            f"_20150930_21-50-13/002_/000007/{TILE.format(1)}",
            TileLocation("002", "m000001_b001", None, 1, 1, taken="2026-01-05T0800021234567"),
        ),
        (
            f"_20150930_21-50-13/002/000007/{TILE.format(1)}",
            TileLocation("002", "m000001_b001", None, 1, 1, taken="2026-01-05T0800021234567"),
        ),
        (f"000001/{TILE.format(1)}", TileLocation("021", "m000001_b001", None, 1, 1, taken="2026-01-05T0800021234567")),
        (f"{MFOV}/thumbnail_{TILE.format(3)}", None),
        (f"{MFOV}/metadata.txt", None),
        (f"{SECTION}/AFASFailure/{TILE.format(1)}", None),
    ],
)
def test_identity(layout, name, place):
    assert layout.place(name) == place


def test_only_what_may_hold_tiles_is_entered(layout):
    for folder in ("", "w03", "imaging/msem/scan_003", "a_20260105_08-00-00", SECTION, MFOV, f"w03/{MFOV}", "003"):
        assert layout.descends(folder), folder
    for folder in (
        f"{SECTION}/AFASFailure",
        f"{MFOV}/x",
        f"{SECTION}/logs",
        "a_20260105_08-00-00/retakes",
        ".git",
        "$X",
    ):
        assert not layout.descends(folder), folder


def test_a_tile_is_complete_when_a_coordinate_file_names_it(layout, root):
    assert layout.known(root, MFOV).complete == frozenset()
    put(root, f"{MFOV}/image_coordinates.txt", line(1, 10, 20) + line(2, 30, 40))
    known = layout.known(root, MFOV)
    assert known.complete == {TILE.format(1), TILE.format(2)}
    assert known.stage_nm[TILE.format(2)] == (120, 160)
    assert known.pixel_nm == 4
    assert not known.closed


@pytest.mark.parametrize("end", [1, 20, 49, 50, 52, 60])
def test_a_torn_line_waits_for_its_end(layout, root, end):
    whole = line(1, 10, 20) + line(2, 1234.5, 6789.25)
    cut = len(line(1, 10, 20)) + end
    put(root, f"{MFOV}/image_coordinates.txt", whole[:cut])
    assert layout.known(root, MFOV).stage_nm.get(TILE.format(2)) in (None, (4938, 27157))
    put(root, f"{MFOV}/image_coordinates.txt", whole[cut:], "ab")
    assert layout.known(root, MFOV).stage_nm == {TILE.format(1): (40, 80), TILE.format(2): (4938, 27157)}


def test_of_doubled_lines_the_last_counts(layout, root):
    put(root, f"{MFOV}/image_coordinates.txt", line(1, 9, 9) + line(2, 1, 1) + line(1, 5, 6))
    known = layout.known(root, MFOV)
    assert len(known.complete) == 2
    assert known.stage_nm[TILE.format(1)] == (20, 24)


def test_corrected_coordinates_are_preferred(layout, root):
    put(root, f"{MFOV}/image_coordinates.txt", line(1, 1, 1) + line(2, 1, 1) + line(3, 1, 1))
    put(root, f"{SECTION}/full_image_coordinates.txt", line(1, 2, 2, "000001\\") + line(2, 2, 2, "000001\\"))
    # The corrected file has no line end behind its last line.
    put(root, f"{SECTION}/full_image_coordinates_corrected.txt", line(1, 3, 3, "000001\\").strip())
    stage = layout.known(root, MFOV).stage_nm
    assert [stage[TILE.format(beam)] for beam in (1, 2, 3)] == [(12, 12), (8, 8), (4, 4)]


def test_a_file_written_anew_is_read_anew(layout, root):
    put(root, f"{MFOV}/image_coordinates.txt", line(1) + line(2) + line(3))
    assert len(layout.known(root, MFOV).complete) == 3
    put(root, f"{MFOV}/image_coordinates.txt", line(4))
    assert layout.known(root, MFOV).complete == {TILE.format(4)}
    (root / MFOV / "image_coordinates.txt").unlink()
    assert layout.known(root, MFOV).complete == {TILE.format(4)}, "a share that answers badly changes nothing"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_encodings(layout, root, encoding):
    put(root, f"{MFOV}/image_coordinates.txt", (line(1, 10, 20) + line(2, 1, 1)).encode(encoding))
    assert layout.known(root, MFOV).complete == {TILE.format(1), TILE.format(2)}


def test_decimal_commas_and_allocated_zeros(layout, root):
    put(root, f"{MFOV}/image_coordinates.txt", line(1, 10.5, 20).replace(".000", ",000").replace("10.500", "10,500"))
    put(root, f"{MFOV}/image_coordinates.txt", b"\0" * 4096, "ab")
    assert layout.known(root, MFOV).stage_nm == {TILE.format(1): (42, 80)}


@pytest.mark.parametrize(
    "stop",
    [
        '1: stop region "S56R1": 812.3 [s]; mFoVs: 27; AF/AS success: 5/5',
        '01/05/2026 08:11:12: stop region "S56R1"; 812.3 [s]; mFoVs: 27; Number of Support Points: 5; AF: 5; AS: 5',
        'x: stop region "021_S56R1"',
    ],
)
def test_stop_region_closes_the_section(layout, root, stop):
    batch = SECTION.partition("/")[0]
    log = f"{batch}/experiment_log.txt"
    put(root, log, 'x: stop region "S5R1": 3 [s]\r\n')
    assert not layout.known(root, SECTION).closed
    assert not layout.known(root, MFOV).closed
    put(root, log, stop, "ab")
    assert layout.known(root, SECTION).closed
    assert layout.known(root, MFOV).closed
    assert not layout.known(root, batch).closed
    put(root, log, f"\r\n{stop.replace('stop', 'start')}\r\n", "ab")
    assert not layout.known(root, SECTION).closed
    put(root, log, "x: stop experiment\r\n", "ab")
    assert layout.known(root, SECTION).closed
    assert layout.known(root, batch).closed


def test_an_mfov_closes_when_it_is_whole_and_the_next_begins(layout, root):
    put(root, f"{MFOV}/image_coordinates.txt", line(1) + line(2))
    put(root, f"{MFOV}/metadata.txt", "Width:\t3128px\r\nPixelsize:\t3.5nm\r\n")
    put(root, f"{MFOV}/{TILE.format(1)}", b"x")
    (root / SECTION / "000002").mkdir()
    assert not layout.known(root, MFOV).closed, "a listed file is not there yet"
    put(root, f"{MFOV}/{TILE.format(2)}", b"x")
    known = layout.known(root, MFOV)
    assert known.closed
    assert known.pixel_nm == 3.5


def test_without_a_pixel_size_there_are_no_positions(root):
    put(root, f"{MFOV}/image_coordinates.txt", line(1, 10, 20))
    known = registry.make("layouts", "multisem", pixel_nm=None).known(root, MFOV)
    assert known.complete == {TILE.format(1)}
    assert known.stage_nm == {}
    assert known.pixel_nm is None
    with pytest.raises(BadOptionError, match="pixel_nm"):
        registry.make("layouts", "multisem", pixel_nm=0)


def test_imqa_has_a_score_for_each_beam_below_its_last_column(layout, root):
    header = "MFoV Number;Storage Path;StagePositionXMonitor;StagePositionYMonitor;IMQA"
    put(
        root,
        f"{SECTION}/region_metadata.csv",
        f"sep=;\r\n{header}\r\n-1;;0;0;9;9;9\r\n1;D:\\a;1.0;2.0;51.5;NaN;48,25;\r\n2;D:\\a;1.0;2.0;1;2;3\r\n3;D:\\a;0;0;4",
    )
    assert layout.imqa(root / SECTION) == {(1, 1): 51.5, (1, 3): 48.25, (2, 1): 1, (2, 2): 2, (2, 3): 3}
    assert layout.imqa(root / MFOV) == {}


def test_an_old_section_is_forgotten_and_read_again(layout, root, monkeypatch):
    put(root, f"{MFOV}/image_coordinates.txt", line(1))
    before = layout.known(root, MFOV)
    opened, real = [], open

    def noted(path, *more, **named):
        opened.append(Path(path))
        return real(path, *more, **named)

    monkeypatch.setattr(builtins, "open", noted)
    assert layout.known(root, MFOV) == before
    assert opened == [], "what is remembered is not read again"
    for number in range(300):
        other = f"name_20260105_08-00-00/{number:03d}_S{number}R1/000001"
        (root / other).mkdir(parents=True, exist_ok=True)
        layout.known(root, other)
    opened.clear()
    assert layout.known(root, MFOV) == before
    assert root / MFOV / "image_coordinates.txt" in opened


def test_a_replay_is_read_back(layout, tmp_path):
    plan = Plan(
        sections=3,
        mfovs=2,
        beams=19,
        batches=2,
        retakes=1,
        wafer="w07",
        height=32,
        width=40,
        variants=1,
        shares=Shares(missing=0.1, doubled=0.3, torn=0.05),
    )
    root = tmp_path / "scope"
    done = replay("multisem", root, plan)
    truth = [json.loads(text) for text in done.truth.read_text().splitlines()]
    tiles = [row for row in truth if "quality" in row]
    assert any(row["complete"] is None for row in tiles)
    assert any(row.get("event") == "missing" for row in truth)
    assert len(tiles) == done.tiles
    newest = {}
    for row in tiles:
        folder, _, file = row["name"].rpartition("/")
        known = layout.known(root, folder)
        assert file in known.complete
        assert known.stage_nm[file] == (row["x_px"] * 4, row["y_px"] * 4)
        assert known.closed
        place = layout.place(row["name"])
        newest[place.section, place.tile] = max(
            newest.get((place.section, place.tile), ("", False)), (place.taken, row["retake"])
        )
        assert place.section == f"w07.{row['section']}"
    again = [layout.place(row["name"]) for row in tiles if row["retake"]]
    assert {place.section for place in again} == {"w07.S1R1"}
    assert {where for where, (_, retake) in newest.items() if retake} == {(p.section, p.tile) for p in again}
    scores = layout.imqa(root / tiles[0]["name"].rpartition("/")[0].rpartition("/")[0])
    quality = {
        (row["field"], row["beam"]): row["quality"] for row in tiles if "/001_" in row["name"] and not row["retake"]
    }
    assert scores.keys() == quality.keys()
    assert min(scores[key] for key in quality if quality[key] == "sharp") > max(
        (scores[key] for key in quality if quality[key] == "hopeless"), default=0
    )


def test_a_batch_or_a_section_may_be_the_root(layout, root):
    batch, section = SECTION.split("/")
    put(root, f"{MFOV}/image_coordinates.txt", line(1, 10, 20))
    put(root, f"{batch}/experiment_log.txt", 'x: stop region "S56R1"\r\n')
    assert layout.matches(root / batch)
    assert layout.matches(root / SECTION) is False, "nothing tells it from any other folder yet"
    put(root, f"{MFOV}/{TILE.format(1)}", b"x")
    assert layout.matches(root / SECTION)
    known = layout.known(root / batch, f"{section}/000001")
    assert known.closed
    assert known.complete == {TILE.format(1)}
    known = layout.known(root / SECTION, "000001")
    assert known.complete == {TILE.format(1)}
    assert not known.closed, "the log is outside of what is watched"
