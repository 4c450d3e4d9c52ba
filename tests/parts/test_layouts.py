"""The contract of every layout, and that the microscopes here play layouts that are read."""

from refocal.core import registry
from refocal.microscope.simulate import kinds
from refocal.testing import LayoutContract


class TestEveryLayout(LayoutContract):
    kinds = registry.names("layouts")


def test_what_a_microscope_writes_has_a_layout():
    assert set(kinds()) <= set(registry.names("layouts"))
