"""The model zoo: every net of the family is in it, its costs are those of the design, its scores those of evaluate."""

import json
from pathlib import Path

import pytest

from program import Program
from refocal.core import registry
from refocal.learn.evaluate import net_costs


def test_every_net_is_an_entry_in_every_form() -> None:
    found = net_costs.entries()
    assert {entry.kind for entry in found} == set(registry.names("nets"))
    assert {"sgpn", "sgpn-lite", "deblurgan_v2", "deblurgan_v2-mobilenet_v2"} <= {entry.name for entry in found}
    assert [entry.name for entry in net_costs.entries(["sgpn-lite", "gran"])] == ["gran", "sgpn-lite"]


@pytest.mark.parametrize(
    ("name", "parameters", "giga"),
    [("sgpn", 19_344_833, 152.8), ("srn", 8_056_609, 89), ("gran", 3_193_473, None)],
)
def test_costs_are_those_of_the_design(name: str, parameters: int, giga: float | None, monkeypatch) -> None:
    monkeypatch.setattr(net_costs, "_seconds", lambda *_: 2.0)
    (entry,) = net_costs.entries([name]) if name != "sgpn" else [e for e in net_costs.entries() if e.name == "sgpn"]
    row = net_costs.measure(entry, (256, 256), batch=2, rounds=1)
    assert row["parameters"] == parameters
    assert row["cpu_seconds"] == 1.0
    assert row["cpu_mpx_per_s"] == pytest.approx(0.065536)
    if giga is not None:
        assert row["macs_per_px"] * 256**2 / 1e9 == pytest.approx(giga, rel=0.01)


def test_the_command_writes_a_table_with_scores(inside: Program, tmp_path: Path) -> None:
    (tmp_path / "scores").mkdir()
    (tmp_path / "scores" / "table.csv").write_text(
        "group,restorer,count,psnr,ssim\na,deblurgan_v2-mobilenet_v2,3,30,0.8\nb,deblurgan_v2-mobilenet_v2,3,20,0.6\n"
    )
    said = inside(
        "bench", "zoo", "--net", "deblurgan_v2-mobilenet_v2", "--net", "contour", "--size", "120x128", "--rounds", 1,
        "--scores", tmp_path / "scores", "-o", tmp_path / "zoo.md",
    )  # fmt: skip
    page = (tmp_path / "zoo.md").read_text()
    assert said.out == page
    first, second = (line.split(" | ") for line in page.splitlines()[2:4])
    assert first[:2] == ["| `deblurgan_v2-mobilenet_v2`", "2,105,473"]
    assert first[-2:] == ["25.00", "0.700 |"]
    assert second[-2:] == ["-", "- |"]
    assert "128x128" in page
    said = inside("bench", "zoo", "--net", "contour", "--size", "32x32", "--rounds", 1, "--json")
    assert json.loads(said.out)["cpu_seconds"] > 0


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("bench zoo --net grn", "Did you mean 'gran'?"),
        ("bench zoo --scores nowhere", "no table.csv"),
        ("bench zoo --size 12", "HEIGHTxWIDTH"),
    ],
)
def test_wrong_requests(inside: Program, command: str, words: str) -> None:
    assert words in inside(*command.split(), code=2).line
