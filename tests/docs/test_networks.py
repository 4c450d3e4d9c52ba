"""The table of networks is true."""

import re
from pathlib import Path

import pytest
import torch
import yaml

from refocal.core import registry

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| `(\w+)` \| (?:`(.*?)`)? ?\| ([\d,]+) \| (halo|window) (\d+)", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("kind", "options", "parameters", "word", "pixels"), ROWS)
def test_parameters_and_reach_are_those_of_the_net(kind, options, parameters, word, pixels) -> None:
    with torch.device("meta"):
        net = registry.make("nets", kind, **(yaml.safe_load(f"{{{options}}}") or {}))
    assert f"{sum(p.numel() for p in net.parameters()):,}" == parameters
    assert getattr(net.reach, word) == int(pixels)


def test_every_net_is_on_the_page_and_each_with_a_window_in_the_table() -> None:
    with torch.device("meta"):
        nets = {kind: registry.make("nets", kind) for kind in registry.names("nets")}
    assert [kind for kind in nets if f"`{kind}`" not in PAGE] == []
    windowed = {kind for kind, net in nets.items() if net.reach.window}
    assert windowed
    assert windowed <= {row[0] for row in ROWS}
