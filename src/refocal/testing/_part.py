"""What the contracts of all families share: which parts are tested, how they are made, and what every part promises."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError


class PartContract:
    """Tests that hold for any part; the contract of a family adds its own.

    A subclass sets `kind`, or `kinds` to test several parts alike.
    """

    family: ClassVar[str]
    kind: ClassVar[str] = ""
    kinds: ClassVar[Sequence[str]] = ()

    def options(self, kind: str) -> Mapping[str, Any]:
        """Return the options that a part cannot do without; override it where there are any."""
        return {}

    def make(self, kind: str, **more: Any) -> Any:
        """Make the part with its options."""
        return registry.make(self.family, kind, **{**self.options(kind), **more})

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Run every test that asks for a kind with each of them."""
        if "kind" in metafunc.fixturenames:
            if not (self.kinds or self.kind):
                raise pytest.UsageError(f"{type(self).__name__} tests no part: set kind, the name of its entry point")
            metafunc.parametrize("kind", self.kinds or (self.kind,), scope="class")

    def test_it_is_found_and_says_what_it_is(self, kind: str) -> None:
        """`refocal list` shows the first line of the docstring."""
        assert kind in registry.names(self.family)
        assert (registry.load(self.family, kind).__doc__ or "").strip().partition("\n")[0]

    def test_it_refuses_an_option_that_it_does_not_take(self, kind: str) -> None:
        with pytest.raises(BadOptionError, match="nonsense"):
            registry.make(self.family, kind, nonsense=1)
