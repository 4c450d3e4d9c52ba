"""False-alarm rate and power of the statistics, on simulated microscopes whose truth is known."""

import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refocal.core.errors import BadOptionError
from refocal.microscope.monitor import Monitor, Rules
from refocal.microscope.monitor.sections import rising

START = datetime(2026, 1, 5, 8, tzinfo=UTC)


@dataclass
class Scope:
    """A multi-beam microscope: section, mFoV, beam and tile all scatter; beams have a small fixed pattern."""

    seed: int = 0
    beams: int = 19
    fields: int = 3
    softer: Mapping[int, float] = field(default_factory=dict)
    astigmatic: Mapping[int, float] = field(default_factory=dict)
    dead: frozenset[int] = frozenset()
    faulty: frozenset[int] = frozenset()
    drift_px: float = 0.0
    retakes: float = 0.005
    tile_px: float = 0.15
    trouble_from: int = 0

    def section(self, number: int) -> Iterator[dict[str, Any]]:
        rng = np.random.default_rng((self.seed, number))
        pattern = np.clip(0.04 * np.random.default_rng(self.seed).standard_normal(self.beams), -0.1, 0.1)
        here = 0.9 + 0.08 * rng.standard_normal() + self.drift_px * max(0, number - self.trouble_from)
        tissue = 2 * math.pi * rng.random()  # fibres run one way in a section
        on = number >= self.trouble_from
        for mfov in range(1, self.fields + 1):
            focus = here + 0.1 * rng.standard_normal()
            for beam in range(1, self.beams + 1):
                sigma = focus + pattern[beam - 1] + self.tile_px * rng.standard_normal()
                x, y = 0.1 * np.array([math.cos(tissue), math.sin(tissue)]) + 0.08 * rng.standard_normal(2)
                if on:
                    sigma, x = sigma + self.softer.get(beam, 0.0), x + self.astigmatic.get(beam, 0.0)
                blank = rng.random() < 0.02 or (on and beam in self.dead)
                retake = rng.random() < self.retakes
                yield {
                    "event": "tile",
                    "key": f"b_20260105_08-00-00/{number:03d}_S{number}R1/{mfov:06d}/{beam:03d}.bmp",
                    "section": f"S{number}R1",
                    "field": mfov,
                    "beam": beam,
                    "taken": f"2026-{number:06d}",
                    "decision": "no_content" if blank else "retake" if retake else "kept",
                    "sigma_px": None if blank else max(sigma, 0.2),
                    "anisotropy": None if blank else math.hypot(x, y),
                    "angle_deg": None if blank else math.degrees(math.atan2(y, x)) / 2 % 180,
                    "reason": "rows shifted by 14 px" if on and beam in self.faulty and mfov == 1 else "soft",
                }
        yield {"event": "section", "section": f"S{number}R1", "state": "complete", "tiles": 0, "counts": {}}


def alerts(scope: Scope, sections: int, blame: Monitor | None = None) -> list[dict[str, Any]]:
    """Run a microscope and return what was alerted, with the number of the section."""
    blame = blame or Monitor()
    return [{**alert, "at": n} for n in range(sections) for event in scope.section(n) for alert in blame.add(event)]


def kinds(found: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(a["kind"], a["subject"]) for a in found if a["active"]}


@pytest.mark.parametrize("seed", [0, 1])
def test_a_healthy_microscope_is_left_alone(seed: int) -> None:
    """500 sections of 57 tiles each: at most one alert."""
    found = alerts(Scope(seed), 500)
    assert len([a for a in found if a["active"]]) <= 1, Counter(a["kind"] for a in found)


@pytest.mark.parametrize(("softer", "fields"), [(0.4, 16), (0.8, 12)])
def test_a_beam_that_turns_soft_is_found_within_a_few_mfovs(softer: float, fields: int) -> None:
    """The median over ten microscopes, after 40 mFoVs that were well; no other beam is ever named."""
    taken = []
    for seed in range(10):
        scope, blame = Scope(seed, fields=1, softer={7: softer}, trouble_from=40), Monitor()
        found = [alert for alert in alerts(scope, 100, blame) if alert["kind"] == "bad_beam"]
        assert {alert["subject"] for alert in found} == {"beam 7"}
        taken.append(found[0]["at"] - 39)
    assert np.median(taken) <= fields, taken


def test_a_beam_that_was_repaired_is_cleared_once() -> None:
    blame, before = Monitor(), Scope(1, softer={3: 0.5})
    found = alerts(before, 30, blame)
    after = Scope(1)
    found += [a for n in range(30, 60) for event in after.section(n) for a in blame.add(event)]
    about = [a["active"] for a in found if a["subject"] == "beam 3"]
    assert about == [True, False]


def test_an_astigmatic_beam_is_told_from_fibres_that_run_one_way() -> None:
    found = alerts(Scope(2, astigmatic={11: 0.2}), 20)
    assert kinds(found) == {("astigmatism", "beam 11")}
    angle = float(next(a for a in found)["message"].split(" at ")[1].split()[0])
    assert min(angle, 180 - angle) < 15
    assert alerts(Scope(2, astigmatic={11: 0.2}, fields=1), 5) == []  # never from a few tiles


def test_dead_beams_and_beams_with_scan_faults_are_named() -> None:
    found = kinds(alerts(Scope(3, dead=frozenset({5}), faulty=frozenset({8})), 20))
    assert {("blank", "beam 5"), ("scan_fault", "beam 8")} <= found


def test_a_rising_trend_is_found_and_its_end_is_told() -> None:
    scope = Scope(4, drift_px=0.05, trouble_from=30)
    found = [a for a in alerts(scope, 55) if a["kind"] == "trend"]
    assert [a["active"] for a in found] == [True]
    assert 35 < found[0]["at"] < 50


def test_the_retake_rate_is_held_against_two_per_cent() -> None:
    assert ("retake_rate", "tiles") in kinds(alerts(Scope(5, retakes=0.08), 40))
    assert ("retake_rate", "tiles") not in kinds(alerts(Scope(5, retakes=0.01), 200))


def test_bad_sections_in_a_row_are_one_alert() -> None:
    found = [a for a in alerts(Scope(6, retakes=0.4), 12) if a["kind"] == "bad_sections"]
    assert len(found) == 1
    assert found[0]["at"] == 2
    assert found[0]["severity"] == "critical"


def test_a_queued_tile_counts_once_and_its_failed_restoring_as_a_retake() -> None:
    scope, blame = Scope(7, fields=8), Monitor()
    tiles = [event for event in scope.section(0) if event["event"] == "tile"]
    for tile in tiles:
        blame.add({**tile, "decision": "queued"})
    once = blame.beams()
    found = [alert for tile in tiles for alert in blame.add({**tile, "decision": "retake"})]
    assert blame.beams() == once
    assert kinds(found) == {("retake_rate", "tiles")}


def beats(**given: Any) -> Iterator[dict[str, Any]]:
    """Two hours of beats, one every ten seconds; values are constants or functions of the second."""
    for second in range(0, 7200, 10):
        values = {name: value(second) if callable(value) else value for name, value in given.items()}
        yield {"event": "beat", "time": (START + timedelta(seconds=second)).isoformat(), **values}


@pytest.mark.parametrize(
    ("given_", "kind", "flips"),
    [
        ({"seen": lambda s: s * 25}, "silence", []),
        ({"seen": lambda s: min(s, 1800) * 25}, "silence", [True]),
        ({"seen": lambda s: s if not 1800 < s < 3600 else 1800}, "silence", [True, False]),
        ({"lag_seconds": lambda s: 600 * math.sin(s / 7200 * math.pi) ** 2, "lag_tiles": 9}, "lag", [True, False]),
        ({"free_bytes": lambda s: 1.2e12 - 2e8 * s, "bytes_per_s": 2e8}, "output_full", [True, True]),
        ({"free_bytes": 9e12, "bytes_per_s": 2e8}, "output_full", []),
        ({"share_free_bytes": 1e9}, "share_full", [True]),
        ({"free_bytes": "many", "lag_seconds": None, "time": "noon", "seen": None}, "lag", []),
    ],
)  # fmt: skip
def test_beats_tell_silence_lag_and_full_disks(given_: dict[str, Any], kind: str, flips: list[bool]) -> None:
    blame = Monitor()
    found = [alert for beat in beats(**given_) for alert in blame.add(beat)]
    assert [a["active"] for a in found if a["kind"] == kind] == flips


def test_a_clock_that_is_set_back_is_not_silence() -> None:
    blame = Monitor()
    found = []
    for second in (0, 10, 86400 * 30, 20, 30, 40):
        found += blame.add({"event": "beat", "time": (START + timedelta(seconds=second)).isoformat(), "seen": second})
    assert found == []


def test_a_replayed_log_leaves_the_alerts_that_are_on() -> None:
    scope, log, blame = Scope(8, softer={2: 0.6}), [], Monitor()
    for n in range(20):
        for event in scope.section(n):
            log += [event, *blame.add(event)]
    assert any(event["event"] == "alert" for event in log)
    again = Monitor.resume(json.loads(json.dumps(log)))
    assert alerts(scope, 5, again) == []  # on already: not told again
    assert again.beams()[1]["softer_px"] == pytest.approx(0.6, abs=0.15)


def test_memory_does_not_grow_with_sections() -> None:
    import tracemalloc

    scope, blame = Scope(9, beams=9, fields=1), Monitor(Rules(tiles=200))
    tracemalloc.start()
    alerts(scope, 100, blame)
    before, _ = tracemalloc.get_traced_memory()
    alerts(scope, 100, blame)
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert after < before + 100_000


JUNK = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.lists(st.integers(), max_size=2)
)
NAMES = ("time", "key", "section", "field", "beam", "grid", "region", "taken", "decision", "sigma_px", "anisotropy",
         "angle_deg", "reason", "error", "state", "seen", "lag_seconds", "lag_tiles", "bytes_per_s", "free_bytes",
         "kind", "subject", "active", "severity")  # fmt: skip


@given(st.lists(st.fixed_dictionaries(
    {"event": st.sampled_from(["tile", "section", "beat", "alert", "job", "x"])},
    optional=dict.fromkeys(NAMES, JUNK),
), max_size=30))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_no_event_of_a_log_can_stop_it(events: list[dict[str, Any]]) -> None:
    blame = Monitor()
    for event in events:
        for alert in blame.add(event):
            json.dumps(alert)


@given(st.lists(st.floats(-5, 5), min_size=3, max_size=12))
@settings(deadline=None)
def test_the_trend_agrees_with_kendall(values: list[float]) -> None:
    from scipy.stats import kendalltau, theilslopes

    got, errors = rising(np.array(values))
    assert got == pytest.approx(theilslopes(values).slope, abs=1e-9)
    if len(set(values)) > 1:
        tau = kendalltau(range(len(values)), values).statistic
        assert errors == 0 or math.copysign(1, errors) == math.copysign(1, tau)


def test_rules_that_cannot_be_judged_by_are_refused() -> None:
    with pytest.raises(BadOptionError, match="sections >= 8"):
        Rules(sections=3)
    with pytest.raises(BadOptionError, match="least_fields"):
        Rules(fields=4)
