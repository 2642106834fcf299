"""Numbers as people read them."""

from __future__ import annotations

import math

from finebound.base.text import printable as printable
from finebound.base.text import show as show


def number(value: float, error: float = 0.0) -> str:
    """A number for people: four significant digits, fewer where ``error`` leaves fewer."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    for digits in (4, 3, 2, 1):
        low, high = f"{value - error:.{digits}g}", f"{value + error:.{digits}g}"
        if low == high:
            return low
    return f"{value:.3g} +- {error:.1g}"
