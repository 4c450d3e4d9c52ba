"""Documents that others wrote: plain data comes out as written, anything else is refused soon, in one line."""

import json
import resource
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from refocal.core.documents import MOST_BYTES, DocumentError, read_json, read_yaml

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdefgh_é", max_size=5), inner, max_size=4),
    max_leaves=20,
)  # fmt: skip


def doubling(line: str, last: str) -> str:
    """Return 30 anchors, each of which holds the one before it three times."""
    lines = [f"a{n + 1}: &a{n + 1} " + line.replace("*", f"*a{n}") for n in range(30)]
    return "\n".join(["a0: &a0 {k: 1}", *lines, last])


@given(PLAIN)
def test_plain_data_comes_back(value: object) -> None:
    assert read_json(json.dumps(value)) == value
    assert read_yaml(yaml.safe_dump(value)) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: 2024-13-45", "2024-13-45"),
        ("a: 2024-01-02", "2024-01-02"),
        ("a: 04:00", "04:00"),
        ("a: 1e-4", 1e-4),
        ("a: 0x1F", 31),
        ("a: 010", 8),
        ("a: =", "="),
        ("a:", None),
        ("a: yes", True),
        ("b: &x {k: 1}\na: *x", {"k": 1}),
        ("b: &x {k: 1, l: 2}\na: {<<: *x, l: 3}", {"k": 1, "l": 3}),
    ],
)
def test_scalars_of_yaml(text: str, value: object) -> None:
    assert read_yaml(text)["a"] == value


def test_text_only_keeps_what_is_written() -> None:
    assert read_yaml("a: 010\nb: no\nc: 24:00", text_only=True) == {"a": "010", "b": "no", "c": "24:00"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("a: 1\na: 2", "line 2: the key 'a' is given twice"),
        ("a: !!timestamp x", "tag"),
        ("a: !!binary x", "tag"),
        ("a: !!python/object/apply:os.system [x]", "tag"),
        ("a: !own x", "tag"),
        ("a: !!bool x", "tag"),
        ("a: &x [*x]", "alias"),
        ("a: *x", "alias"),
        ("a: .nan", "finite"),
        ("a: -.inf", "finite"),
        ("a: 1e999", "finite"),
        ("a: " + "9" * 5000, "too large"),
        ("a: 0x" + "f" * 50_000, "too large"),
        ("b: 2\na: 09", "line 2"),
        ('a: "\\ud800"', "line 1"),
        ("{[1]: 2}", "key"),
        ("? {a: 1}\n: 2", "key"),
        ("a: 1\n---\nb: 2", "document"),
        ("a: {<<: 3}", "merg"),
        ("[" * 900_000, "depth"),
        ("- " * 400_000, "deep"),
        (doubling("[*, *, *]", "z: *a30"), "values"),
        (doubling("{<<: [*, *, *]}", "z: 1"), "values"),
        ("#" * (MOST_BYTES + 1), "bytes"),
        (b"a: \xff", "UTF-8"),
        ("a: \udcff", "UTF-8"),
        ("a: \x07", "control"),
    ],
    ids=range(27),
)
def test_refused_yaml(text: str | bytes, why: str) -> None:
    began, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(DocumentError, match=why) as refused:
        read_yaml(text)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300
    assert time.process_time() - began < 3
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # KiB


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"a": 1, "a": 2}', "'a' is given twice"),
        ('{"a": NaN}', "no number"),
        ('{"a": -Infinity}', "no number"),
        ('{"a": 1e999}', "finite"),
        ("9" * 5000, "too large"),
        ('{"a": "\\ud800"}', "Unicode"),
        ('{"\\ud800": 1}', "Unicode"),
        ('["\\ud800"]', "Unicode"),
        ("[" * 100_000, "deep"),
        ("[" * 100 + "]" * 100, "deep"),
        ('{"a":' * 100 + "1" + "}" * 100, "deep"),
        ('{"a":\n 1,}', "line 2"),
        ("", "line 1"),
        (b"\xff", "UTF-8"),
        (" " * (MOST_BYTES + 1), "bytes"),
        ("{" + ",".join(f'"{n}": 1' for n in [*range(60_000), 59_999]) + "}", "'59999' is given twice"),
    ],
    ids=range(16),
)
def test_refused_json(text: str | bytes, why: str) -> None:
    began = time.process_time()
    with pytest.raises(DocumentError, match=why) as refused:
        read_json(text)
    assert "\n" not in str(refused.value)
    assert time.process_time() - began < 3


def test_numbers_that_are_not_finite_where_they_may_be() -> None:
    assert read_yaml("[-.inf, 1]", finite=False) == [float("-inf"), 1]
    assert read_json("[-Infinity, 1]", finite=False) == [float("-inf"), 1]
