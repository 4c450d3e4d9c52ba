"""How a watch carries over what it does not restore, by default."""

from collections.abc import Callable
from pathlib import Path

from refocal.engine.tiles.links import refusal
from refocal.engine.tiles.tiles import Carry, check_output


def lightest(root: Path, out: Path, say: Callable[[str], None]) -> Carry:
    """Return the way that takes the least space of those that the output allows: by symbolic link, hard link or copy.

    Parameters
    ----------
    say
        Told in one line why it is not the first of them.

    Raises
    ------
    UsageError
        If the output cannot be one; see `refocal.engine.tiles.tiles.check_output`.
    """
    if not root.is_dir():
        return "symlink"  # the watch will refuse it
    check_output([root], out)
    why = refusal(out, hard=False)
    if why is None:
        return "symlink"
    links = root.stat().st_dev == out.stat().st_dev and refusal(out, hard=True) is None
    say(f"no symbolic links in {out} ({why}): tiles that are not restored are {'hard links' if links else 'copies'}")
    return "link" if links else "copy"
