"""Warnings of a run, gathered: one line for each kind, however many tiles it was said of."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from refocal.eventlog.fields import Event, printable

_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_MOST_KINDS = 100


@dataclass(slots=True)
class _Kind:
    text: str
    first: str
    count: int = 0
    path: object = None


class Warnings:
    """What was said of tiles; texts that differ in numbers only are of one kind."""

    def __init__(self, events: Iterable[Event] = ()) -> None:
        self.kinds: dict[str, _Kind] = {}
        """By text, its numbers masked."""
        self.left_out = 0
        """Warnings of further kinds, which are not kept: a hundred are."""
        for event in events:
            self.add(event)

    def add(self, event: Event) -> None:
        """Take the `warnings` of an event, if it has any; the pages of a stack count once, one after the other."""
        said = event.get("warnings")
        for text in said if isinstance(said, list | tuple) else ():
            if isinstance(text, str):
                self.say(text, event.get("path", ""))

    def say(self, text: str, path: object) -> None:
        """Take one warning about a file."""
        text = printable(text)
        shape = _NUMBER.sub("#", text)
        kind = self.kinds.get(shape)
        if kind is None:
            if len(self.kinds) >= _MOST_KINDS:
                self.left_out += 1
                return
            kind = self.kinds[shape] = _Kind(text, printable(path))
        if kind.path != path:
            kind.count, kind.path = kind.count + 1, path

    def joined(self, others: "Warnings") -> "Warnings":
        """Return these and others as one."""
        both = Warnings()
        for kinds in (self, others):
            both.left_out += kinds.left_out
            for shape, kind in kinds.kinds.items():
                one = both.kinds.setdefault(shape, _Kind(kind.text, kind.first))
                one.count, one.path = one.count + kind.count, kind.path
        return both

    def rows(self) -> list[Mapping[str, Any]]:
        """Return `text`, `count` and `first` (the name of the first file) of each kind, the most frequent first."""
        kinds = sorted(self.kinds.values(), key=lambda kind: -kind.count)
        return [{"text": kind.text, "count": kind.count, "first": kind.first} for kind in kinds]

    def lines(self) -> list[str]:
        """Return a line for each kind."""
        found = [_line(row) for row in self.rows()]
        return [*found, f"{self.left_out} warnings of other kinds; the log has them"] if self.left_out else found

    def __len__(self) -> int:
        return len(self.kinds)


def _line(row: Mapping[str, Any]) -> str:
    if not row["first"]:
        return str(row["text"])
    if row["count"] == 1:
        return f"{row['first']}: {row['text']}"
    return f"{row['count']} files, first {row['first']}: {row['text']}"
