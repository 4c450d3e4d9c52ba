"""Relative posix names, and which of them to ignore."""

from refocal.core import registry


def split(name: str) -> list[str]:
    """Return the parts of a relative posix name; none for the root itself."""
    return [part for part in name.split("/") if part not in ("", ".")]


def is_aside(part: str) -> bool:
    """Say whether a name is hidden, temporary, or the system's: `.x`, `~x`, `x~`, `$RECYCLE.BIN`, `@eaDir`."""
    return part.startswith((".", "~", "$", "@")) or part.endswith("~")


def is_image(file: str) -> bool:
    """Say whether a file's name is that of an image in a format that can be read."""
    return not is_aside(file) and registry.has_extension("formats", file)
