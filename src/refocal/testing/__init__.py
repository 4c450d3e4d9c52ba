"""Contract tests of every family of parts, for parts that live in other packages; needs pytest.

A subclass that names a part inherits all tests of its family:

    import refocal.testing

    class TestMine(refocal.testing.NetContract):
        kind = "mine"

The part is found as everywhere, through the entry point `refocal.nets`. What a contract cannot know (options, a model,
an acquisition on disk) is given by overriding a method; `docs/extending.md` lists them.
"""

import importlib
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from refocal.testing.degradations import DegradationContract
    from refocal.testing.formats import FormatContract
    from refocal.testing.gates import GateContract
    from refocal.testing.label_metrics import LabelMetricContract
    from refocal.testing.layouts import LayoutContract
    from refocal.testing.metrics import MetricContract
    from refocal.testing.nets import NetContract
    from refocal.testing.objectives import ObjectiveContract
    from refocal.testing.restorers import RestorerContract
    from refocal.testing.segmenters import SegmenterContract
    from refocal.testing.volume_formats import VolumeFormatContract

__all__ = [
    "DegradationContract",
    "FormatContract",
    "GateContract",
    "LabelMetricContract",
    "LayoutContract",
    "MetricContract",
    "NetContract",
    "ObjectiveContract",
    "RestorerContract",
    "SegmenterContract",
    "VolumeFormatContract",
]

_HOMES = {
    "DegradationContract": "degradations",
    "FormatContract": "formats",
    "GateContract": "gates",
    "LabelMetricContract": "label_metrics",
    "LayoutContract": "layouts",
    "MetricContract": "metrics",
    "NetContract": "nets",
    "ObjectiveContract": "objectives",
    "RestorerContract": "restorers",
    "SegmenterContract": "segmenters",
    "VolumeFormatContract": "volume_formats",
}

# Without it, a failing assertion in a contract would not say what was compared.
pytest.register_assert_rewrite(*(f"{__name__}.{home}" for home in ("_part", *_HOMES.values())))


def __getattr__(name: str) -> Any:
    if name in _HOMES:  # a metric is tested without PyTorch
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
