"""Which events count: the latest, the newest imaging, the operator over the gate."""

import pytest

from refocal.eventlog import fields
from refocal.eventlog.current import Current, decided, imaging, is_newer, latest


def tile(key: str, decision: str = "kept", **more: object) -> dict[str, object]:
    return {"event": "tile", "key": key, "decision": decision, **more}


def word(key: object, verdict: object) -> dict[str, object]:
    return {"event": "override", "key": key, "verdict": verdict}


def test_the_latest_event_of_a_key_counts_in_the_order_of_the_first_ones() -> None:
    events = [tile("a"), tile("b"), {"event": "beat"}, tile("a", "retake")]
    assert list(latest(events)) == ["a", "b"]
    assert Current(events).tiles == latest(events)
    assert latest(events)["a"]["decision"] == "retake"


@pytest.mark.parametrize(
    ("events", "verdict"),
    [
        ([tile("a", size=1), word("a", "keep")], "keep"),
        ([tile("a", size=1), word("a", "keep"), word("a", "retake")], "retake"),
        ([tile("a", size=1), word("a", "keep"), tile("a", size=1)], "keep"),
        ([tile("a", size=1), word("a", "keep"), tile("a", size=2)], None),
        ([tile("a", size=1), word("a", "keep"), tile("a", size=2), tile("a", size=1)], None),
        ([word("a", "keep"), tile("a", size=1)], None),
        ([tile("a"), word("a", "perhaps"), word("b", "keep"), word(3, "keep"), word("a", ["keep"])], None),
    ],
)
def test_an_operator_s_verdict_holds_as_long_as_the_file_is_the_same(
    events: list[dict[str, object]], verdict: str | None
) -> None:
    assert Current(events).verdicts.get("a") == verdict


def test_the_operator_beats_the_gate() -> None:
    assert decided("retake", "keep") == "kept"
    assert decided("kept", "retake") == "retake"
    assert decided("kept", "restore") == decided("kept", None) == "kept"


def test_imagings_of_a_multi_beam_section_are_told_apart_by_its_folder() -> None:
    assert imaging("run/S1/000001/t.bmp", {"field": 1}) == "run/S1"
    assert imaging("000001/t.bmp", {"field": 1}) == "."
    assert imaging("t.bmp", {"field": 1}) == "."
    assert imaging("run/S1/t.bmp", {}) == ""


def test_of_two_imagings_of_one_time_the_later_one_in_the_log_counts() -> None:
    assert is_newer("2026-01-01T00:00:01", "2026-01-01T00:00:00")
    assert is_newer("", "")
    assert not is_newer("", "2026-01-01T00:00:00")


@pytest.mark.parametrize("odd", [None, True, "3", [], {}, float("nan"), float("inf"), 10**400, 1e30])
def test_odd_values_of_fields_are_none(odd: object) -> None:
    assert fields.number(odd) is None
    assert fields.whole_number(odd) is None
    assert fields.seconds(odd) is None
    assert fields.stage_nm({"stage_x_nm": odd, "stage_y_nm": 1}) is None


@pytest.mark.parametrize("reason", ["scan fault", "rows are shifted", "row constant", "frozen", "incomplete frame"])
def test_scan_faults_are_told_by_the_field_the_reason_or_the_error(reason: str) -> None:
    assert fields.scan_fault({"reason": reason})
    assert fields.scan_fault({"error": f"a.tif: {reason.upper()} at 3"})
    assert fields.scan_fault({"scan_fault": 0.2})
    assert not fields.scan_fault({"reason": "too soft", "error": None})
