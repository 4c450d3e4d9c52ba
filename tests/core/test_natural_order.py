"""One order of names for listings, watches and the handoff."""

from itertools import permutations

import pytest

from refocal.core.natural_order import natural


@pytest.mark.parametrize(
    "ordered",
    [
        ["s", "s1/2", "S9", "s10"],
        ["S2", "S10", "s10", "S11"],
        ["S001", "S01", "S1", "S2"],
        ["a", "a/b", "a/b/c", "a-b", "b"],
        ["", "1", "a", "a1", "a1b"],
        ["x2/t10", "x10/t2"],
    ],
)
def test_the_order_is_natural_and_does_not_depend_on_that_of_finding(ordered: list[str]) -> None:
    assert all(sorted(given, key=natural) == ordered for given in permutations(ordered))
