"""Bounds as JSON (a contract) and as tables for people."""

from __future__ import annotations

import decimal
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from finebound.base.text import printable as printable
from finebound.base.text import show as show

if TYPE_CHECKING:
    from theory.bound import Bound
    from theory.exact import Exact
    from theory.strategy import Strategy

QUANTITY_WORDS = {
    "safety_gap": "safety gap G_s",
    "proxy_safety_gap": "proxy safety gap",
    "capability_gap": "capability gap G_f",
    "weighted_sum": "G_f + lambda G_s",
    "sqrt_sum": "sqrt G_f + sqrt G_s",
    "safety_loss_increase": "safety loss increase",
    "radius": "radius",
}
_SYMBOL = {"upper": "<=", "lower": ">=", "equality": "="}

_GAPS = ("safety_gap", "proxy_safety_gap", "capability_gap")


def exact_as_json(solution: Exact | None) -> dict[str, float | None] | None:
    """The true gaps in nats, or None where no closed form exists.

    A gap without a digit that holds is None; ``exact_limits_as_json`` has its limits.
    """
    if solution is None:
        return None
    between = (exact_limits_as_json(solution) or {}).get("between", {})
    return {n: None if n in between else float(getattr(solution, n)) for n in _GAPS}


def exact_limits_as_json(solution: Exact | None) -> dict[str, Any] | None:
    """How sure the true gaps of a quadratic problem are, nats; None for other problems.

    ``error``: how far each can be off. ``between``: the limits of a gap of which no digit holds.
    Where several points minimise and their safety gaps differ, ``minimiser`` says whose the gaps
    are and ``safety_gap_range`` what the others reach.
    """
    gaps = None if solution is None else solution.gaps
    if gaps is None:
        return None
    known = dict(zip(_GAPS, (gaps.safety, gaps.safety, gaps.capability), strict=True))
    told: dict[str, Any] = {"error": {name: float(gap.error) for name, gap in known.items()}}
    limits = {n: [float(g.lower), float(g.upper)] for n, g in known.items() if not g.resolved}
    if limits:
        told["between"] = limits
    if gaps.which:
        spread = gaps.safety_range
        told["minimiser"] = gaps.which
        told["safety_gap_range"] = [float(spread.lower), float(spread.upper)]
    return told


def exact_in_words(solution: Exact) -> str:
    """The true gaps for people: only digits that hold, and the range where it is not unique."""
    limits = exact_limits_as_json(solution) or {}
    parts = []
    for name, gap in exact_as_json(solution).items():
        if gap is None:
            between = _outwards(*limits["between"][name])
            parts.append(f"{name} not resolved in double precision (between {between})")
        else:
            parts.append(f"{name} {number(gap, limits.get('error', {}).get(name, 0.0))}")
    words = "exact: " + ", ".join(parts) + " nats"
    if "minimiser" in limits:
        others = _outwards(*limits["safety_gap_range"])
        words += f"; {limits['minimiser']}: others have a safety gap between {others}"
    return words


def _outwards(low: float, high: float) -> str:
    """``low and high`` in four digits, rounded away from each other."""
    return f"{_rounded(low, decimal.ROUND_FLOOR)} and {_rounded(high, decimal.ROUND_CEILING)}"


def _rounded(value: float, rounding: str) -> str:
    """Four significant digits that lie on the side given."""
    if not math.isfinite(value):
        return number(value)
    context = decimal.Context(prec=4, rounding=rounding)
    return number(float(context.create_decimal(decimal.Decimal(value))))


def bound_as_json(bound: Bound) -> dict[str, Any]:
    """One entry of the contract's ``bounds`` list."""
    entry = {
        "statement": bound.statement,
        "form": bound.form,
        "quantity": str(bound.quantity),
        "direction": str(bound.direction),
        "value": bound.value,
        "status": str(bound.status),
        "assumptions": list(bound.assumptions),
        "terms": dict(bound.terms),
        "unit": bound.unit,
    }
    if bound.failure_probability:
        entry["failure_probability"] = bound.failure_probability
    if bound.failed:
        entry["failed"] = bound.failed
    if bound.scope != "instance":
        entry["scope"] = bound.scope
    if bound.error and bound.status != "NOT_APPLICABLE":
        entry["error"] = bound.error
    return entry


def strategy_as_json(strategy: Strategy) -> dict[str, float | str]:
    """The strategy as the command line names it: its kind and the values given."""
    kinds = {"LossConstraint": "loss", "ParameterConstraint": "parameter", "Hybrid": "hybrid"}
    values = {name: value for name, value in vars(strategy).items() if value is not None}
    return {"kind": kinds[type(strategy).__name__], **values}


def strategy_words(strategy: Strategy | None) -> str:
    """ "loss, lambda 0.5" and the like; None is the unconstrained fine-tune."""
    if strategy is None:
        return "unconstrained"
    given = strategy_as_json(strategy)
    words = {"lam": "lambda"}
    named = [
        f"{words.get(name, name)} {value:g}" for name, value in given.items() if name != "kind"
    ]
    return ", ".join([str(given["kind"]), *named])


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


def _on_its_side(bound: Bound) -> str:
    """A bound's value in four digits that are no better than it."""
    if bound.direction == "equality":
        return number(bound.value, bound.error)
    upper = bound.direction == "upper"
    return _rounded(bound.value, decimal.ROUND_CEILING if upper else decimal.ROUND_FLOOR)


def bounds_table(bounds: Iterable[Bound], *, title: str):
    """A rich table of the bounds that apply, tightest first within quantity and direction."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(title), title_justify="left", header_style="bold")
    for column in ("quantity", "", "value", "unit", "statement", "status", "made of"):
        # Folded, as rich would cut what a narrow terminal has no room for.
        justify = "right" if column == "value" else "left"
        table.add_column(column, justify=justify, overflow="fold")
    order = list(QUANTITY_WORDS)

    def rank(bound: Bound):
        sign = -1.0 if bound.direction == "lower" else 1.0
        return (order.index(bound.quantity), str(bound.direction), sign * bound.value)

    applying = sorted((b for b in bounds if b.status != "NOT_APPLICABLE"), key=rank)
    for bound in applying:
        made_of = " + ".join(f"{number(v)} {name}" for name, v in bound.terms.items() if v)
        form = f" ({bound.form})" if bound.form else ""
        table.add_row(
            QUANTITY_WORDS[bound.quantity],
            _SYMBOL[bound.direction],
            _on_its_side(bound),
            bound.unit,
            f"{bound.statement}{form}",
            str(bound.status),
            made_of if len(bound.terms) > 1 else "",
        )
    return table
