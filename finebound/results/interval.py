"""An estimate with its interval, as every result and view has it, and a value in words."""

from __future__ import annotations

import math

from finebound.base.text import printable
from theory.confidence import Interval

__all__ = ["Interval", "Value", "shown"]

Value = str | float | int | Interval | None


def shown(value: Value) -> str:
    """A cell for people: three decimals, an interval with its ends, text without controls.

    An interval that is the whole line says that there are too few items for one.
    """
    if isinstance(value, Interval):
        if math.isnan(value.estimate):
            return "-"
        if math.isinf(value.lower) or math.isinf(value.upper):
            return f"{_number(value.estimate)} (n too small)"
        return f"{_number(value.estimate)} [{_number(value.lower)}, {_number(value.upper)}]"
    if isinstance(value, float):
        return _number(value)
    return "" if value is None else printable(str(value))


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
