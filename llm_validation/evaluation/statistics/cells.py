"""One cell of a table: for people, and for a spreadsheet that must take no text for a formula."""

from __future__ import annotations

import math

from finebound.base.text import printable
from theory.confidence import Interval

Value = str | float | int | Interval | None
_FORMULA = ("=", "+", "-", "@", "\t")


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


def csv_cells(value: Value, *, wide: bool) -> list[object]:
    """A cell with full precision; three in a column of intervals."""
    if isinstance(value, Interval):
        return [_exact(x) for x in (value.estimate, value.lower, value.upper)]
    cells = [_exact(value)]
    return [*cells, "", ""] if wide else cells


def csv_text(text: str) -> str:
    """Text that a spreadsheet shows and does not compute: a leading = + - @ is quoted.

    Source: OWASP, "CSV injection".
    """
    plain = printable(text).replace("\n", " ")
    return f"'{plain}" if plain.lstrip(" ").startswith(_FORMULA) else plain


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    if value and abs(value) < 0.001:
        return f"{value:.1e}"
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"


def _exact(value: object) -> object:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return ""
    if isinstance(value, str):
        return csv_text(value)
    return repr(value) if isinstance(value, float) else value
