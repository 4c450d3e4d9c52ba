"""Alerts with hysteresis: one event when something begins, one when it is over, none in between."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from refocal.eventlog.log import Event

Severity = Literal["info", "warning", "critical"]
_RANK = {"info": 0, "warning": 1, "critical": 2}
_MOST = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one subject; `bad` switches its alert on, `good` off, neither leaves it as it is."""

    kind: str
    subject: str
    value: float
    bad: bool
    good: bool
    message: str
    severity: Severity = "warning"
    section: str | None = None


class Alarms:
    """Which alerts are on; bounded, because the alert that began first is forgotten beyond 4096."""

    def __init__(self) -> None:
        self._on: dict[tuple[str, str], Severity] = {}

    def on(self, kind: str, subject: str) -> bool:
        """Say whether an alert is on."""
        return (kind, subject) in self._on

    def remember(self, event: Mapping[str, Any]) -> None:
        """Take over the state of a logged alert."""
        key = (str(event.get("kind")), str(event.get("subject")))
        if event.get("active"):
            severity = event.get("severity")
            self._on[key] = "critical" if severity == "critical" else "info" if severity == "info" else "warning"
        else:
            self._on.pop(key, None)

    def judge(self, findings: Iterable[Finding]) -> list[Event]:
        """Return the alert events that follow from findings."""
        return [event for finding in findings for event in self._judge(finding)]

    def _judge(self, finding: Finding) -> Iterable[Event]:
        key = (finding.kind, finding.subject)
        severity = self._on.get(key)
        if finding.bad and (severity is None or _RANK[finding.severity] > _RANK[severity]):
            self._on[key] = finding.severity
            if len(self._on) > _MOST:
                del self._on[next(iter(self._on))]
            yield _event(finding, active=True)
        elif severity is not None and finding.good:
            del self._on[key]
            yield _event(finding, active=False)


def _event(finding: Finding, *, active: bool) -> Event:
    return {
        "event": "alert",
        "kind": finding.kind,
        "subject": finding.subject,
        "section": finding.section,
        "message": finding.message if active else f"over: {finding.message}",
        "severity": finding.severity,
        "value": round(finding.value, 4),
        "active": active,
    }
