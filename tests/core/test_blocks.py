"""Boxes and blocks: write boxes tile, read boxes hold the halo."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from refocal.core.blocks import Box, plan

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@st.composite
def plans(draw):
    axes = draw(st.integers(1, 3))
    edge = {1: 60, 2: 30, 3: 10}[axes]
    return tuple(tuple(draw(st.lists(st.integers(low, edge), min_size=axes, max_size=axes))) for low in (0, 1, 0))


@quick
@given(plans())
def test_write_boxes_tile_exactly_and_keys_are_unique(args):
    shape, size, halo = args
    times = np.zeros(shape, int)
    blocks = list(plan(shape, size, halo))
    for block in blocks:
        times[block.write.slices] += 1
        assert all(1 <= n <= s for n, s in zip(block.write.shape, size, strict=True))
    assert (times == 1).all()
    assert len({b.key for b in blocks}) == len(blocks)


@quick
@given(plans())
def test_read_boxes_hold_all_of_the_halo_that_exists(args):
    shape, size, halo = args
    index = np.arange(np.prod(shape)).reshape(shape)
    for block in plan(shape, size, halo):
        read = index[block.read.slices]
        np.testing.assert_array_equal(read[block.write.inside(block.read)], index[block.write.slices])
        for a, b, low, high, h, n in zip(
            block.write.start, block.write.stop, block.read.start, block.read.stop, halo, shape, strict=True
        ):
            assert (low, high) == (max(0, a - h), min(n, b + h))


def test_plan_is_in_c_order_and_named():
    assert [b.key for b in plan((4, 4), (2, 2), (0, 0), "v")] == ["v@0,0", "v@0,2", "v@2,0", "v@2,2"]
    assert Box((1, 2), (4, 4)).shape == (3, 2)


@pytest.mark.parametrize("args", [((4, 4), (2,), (0, 0)), ((4,), (0,), (0,)), ((4,), (2,), (-1,))])
def test_plan_refuses_nonsense(args):
    with pytest.raises(ValueError, match="plan needs"):
        list(plan(*args))
