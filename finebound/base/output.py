"""Numbers and strategies as people read them and as JSON names them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from finebound.base.text import printable as printable
from finebound.base.text import show as show

if TYPE_CHECKING:
    from theory.strategy import Strategy


def strategy_as_json(strategy: Strategy) -> dict[str, float | str]:
    """The strategy as the command line names it: its kind and the values given."""
    kinds = {"LossConstraint": "loss", "ParameterConstraint": "parameter", "Hybrid": "hybrid"}
    values = {name: value for name, value in vars(strategy).items() if value is not None}
    return {"kind": kinds[type(strategy).__name__], **values}


def strategy_words(strategy: Strategy | None) -> str:
    """ "loss, lambda 0.5" and the like; None is the unconstrained fine-tune."""
    return given_words({"kind": "none"} if strategy is None else strategy_as_json(strategy))


def given_words(given: Mapping[str, float | str]) -> str:
    """``strategy_words`` of a strategy as records hold it."""
    if given["kind"] == "none":
        return "unconstrained"
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
