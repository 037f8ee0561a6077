"""Numbers as JSON has them."""

import math
from typing import Any

from cals.metrics.bootstrap import Estimate

DIGITS = 5


def round_for_json(value: Any) -> Any:
    """Convert a value to what JSON can hold: rounded, NaN and infinity as None."""
    if isinstance(value, float):
        return round(value, DIGITS) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: round_for_json(item) for name, item in value.items()}
    return [round_for_json(item) for item in value] if isinstance(value, list | tuple) else value


def round_estimate(found: Estimate) -> list[float | None]:
    """Return an estimate as JSON has it: value, low, high, rounded."""
    return [None if value is None or math.isnan(value) else round(value, DIGITS) for value in found]
