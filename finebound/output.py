"""Bounds as JSON (a contract) and as tables for people."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

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
_SEQUENCE = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])"
    r"|\x9b[0-?]*[ -/]*[@-~]"
)
# Controls but tab and line feed; marks that turn the direction of what follows.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


def printable(text: str) -> str:
    """Text from a file as a terminal, a table or a page may show it.

    Without escape sequences, control characters (tab and line feed stay) and overrides of the
    direction; half a surrogate pair, which no UTF-8 can hold, becomes U+FFFD.
    """
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", _CONTROL.sub("", _SEQUENCE.sub("", text)))


def exact_as_json(solution: Exact | None) -> dict[str, float] | None:
    """The true gaps in nats, or None where no closed form exists."""
    if solution is None:
        return None
    return {
        "safety_gap": float(solution.safety_gap),
        "proxy_safety_gap": float(solution.proxy_safety_gap),
        "capability_gap": float(solution.capability_gap),
    }


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
    return entry


def strategy_as_json(strategy: Strategy) -> dict[str, float | str]:
    """The strategy as the command line names it: its kind and the values given."""
    kinds = {"LossConstraint": "loss", "ParameterConstraint": "parameter", "Hybrid": "hybrid"}
    values = {name: value for name, value in vars(strategy).items() if value is not None}
    return {"kind": kinds[type(strategy).__name__], **values}


def number(value: float) -> str:
    """A number for people: four significant digits, no noise."""
    if math.isnan(value):
        return "-"
    if math.isinf(value):
        return "inf" if value > 0 else "-inf"
    return "0" if value == 0 else f"{value:.4g}"


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
            number(bound.value),
            bound.unit,
            f"{bound.statement}{form}",
            str(bound.status),
            made_of if len(bound.terms) > 1 else "",
        )
    return table
