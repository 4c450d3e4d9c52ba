"""Options of parts are of the type that the part declares; names are those of installed parts."""

import numpy as np
import pytest

from refocal.core import registry
from refocal.core.errors import BadOptionError, UnknownPartError


@pytest.mark.parametrize("value", ["1.5", "x" * 10_000, True, None, [1.0], {"a": 1}])
def test_an_option_of_another_type_is_refused_by_name(value):
    with pytest.raises(BadOptionError, match="amount takes a number, got") as refused:
        registry.make("restorers", "unsharp", amount=value)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("value", [1, 1.5, np.float32(1.5), np.int64(2)])
def test_numbers_of_any_kind_are_taken(value):
    assert registry.make("restorers", "unsharp", amount=value)


@pytest.mark.parametrize(
    "kind", ["os.system", "../unsharp", "_tiling", "refocal.parts.restorers.unsharp", "", "x" * 10_000]
)
def test_names_are_never_paths_of_imports(kind):
    with pytest.raises(UnknownPartError) as refused:
        registry.make("restorers", kind)
    assert len(str(refused.value)) < 600
