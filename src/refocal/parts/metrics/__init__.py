"""Metrics: scores of results. Plain functions `(got, truth) -> float` on images in contrast units, or on label images.

A metric of labels says so in its signature: its first parameter is annotated as `refocal.core.values.Labels`, and what
it takes by keyword are the conventions, which belong to every score that is quoted.
"""

import inspect
from collections.abc import Callable
from typing import Any


def conventions(metric: Callable[..., float]) -> dict[str, Any]:
    """Return the keyword options of a metric with their defaults."""
    options = inspect.signature(metric).parameters.values()
    return {option.name: option.default for option in options if option.kind is option.KEYWORD_ONLY}
