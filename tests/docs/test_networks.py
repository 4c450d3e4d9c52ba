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


def test_every_net_with_a_window_is_in_the_table_of_what_nets_see() -> None:
    windowed = {
        kind
        for kind in registry.names("nets")
        if registry.make("nets", kind, **registry.load("nets", kind).small_options).reach.window is not None
    }
    assert windowed
    assert windowed <= {row[0] for row in ROWS}


def test_every_net_is_on_the_page() -> None:
    named = set(re.findall(r"^\| `(\w+)", PAGE, re.MULTILINE))
    assert set(registry.names("nets")) <= named
