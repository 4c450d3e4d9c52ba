"""The installed program: what it says, and the files that it leaves."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

PROGRAM = Path(sys.executable).with_name("refocal")
TIMEOUT = 240


@dataclass(frozen=True)
class Said:
    """What the program said."""

    code: int
    out: str
    err: str

    @property
    def line(self) -> str:
        """The one line of an error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        assert lines[0].startswith("refocal: ")
        return lines[0]


Program = Callable[..., Said]


def files(folder: Path) -> dict[str, bytes]:
    """Return the visible files of a tree by their relative names, without log and report."""
    made = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    own = {"log.jsonl", "retake.csv", "report.html"}
    return {n: p.read_bytes() for n, p in made.items() if n not in own and not n.startswith(".refocal/")}


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return the modification time and the bytes of every file of a tree."""
    return {str(p): (p.stat().st_mtime_ns, p.read_bytes()) for p in folder.rglob("*") if p.is_file()}
