"""Layouts: how acquisition programs arrange tiles in folders, name them, and mark them as complete.

A layout reads identity from names, and completeness and stage positions from the logs and side-car files of the
program; it never writes, and never opens an image.
"""

from pathlib import Path

from refocal.core import registry

_ANY = "folder"


def recognise(root: Path) -> str:
    """Return the kind of layout that a folder has; `folder` where no acquisition program is recognised."""
    kinds = [kind for kind in registry.names("layouts") if kind != _ANY]
    return next((kind for kind in kinds if registry.make("layouts", kind).matches(Path(root))), _ANY)
