"""Every reader meets damaged inputs: it reads them, or refuses them in one line, within seconds and a bound on memory.

`pytest tests/fuzzing --fuzz-seconds 3600` searches for that long, in child processes.
"""

import pytest

from fuzzing.campaign import Row, campaign, child, tally
from fuzzing.readers import READERS

FIRST = 1_000_000
"""Seeds of the short run are the same each time; a search goes on behind them."""


@pytest.mark.timeout(0)
@pytest.mark.parametrize("name", READERS)
def test_damaged_inputs(name: str, request: pytest.FixtureRequest) -> None:
    seconds = request.config.getoption("--fuzz-seconds")
    if seconds is None:
        row = campaign(name, 0, 60, 0.7)
    else:
        row = Row(name)
        row.add(child(name, FIRST, 1 << 62, seconds / len(READERS)))
    assert row.inputs, "not one input was read in time"
    assert not row.wrong, "\n" + tally([row])
