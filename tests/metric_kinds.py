"""Which metrics compare images, and which label images."""

import inspect

from refocal.core import registry
from refocal.core.values import Labels


def _takes_labels(kind: str) -> bool:
    first = next(iter(inspect.signature(registry.load("metrics", kind)).parameters.values()))
    return bool(first.annotation == Labels)


OF_LABELS = [kind for kind in registry.names("metrics") if _takes_labels(kind)]
OF_IMAGES = [kind for kind in registry.names("metrics") if not _takes_labels(kind)]
