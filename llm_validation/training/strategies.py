"""The strategies a run can have: theory's hard ones, the soft parameter constraint, or none."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from finebound.errors import InputError
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint
from theory.strategy import Strategy as HardStrategy


@dataclass(frozen=True)
class SoftParameterConstraint:
    """Case II as a penalty: ``min f_f + strength / 2 |theta - theta_s|^2``.

    With ``fisher`` every trained number is weighted by the diagonal of the empirical Fisher
    information of the proxy's rows at theta_s (elastic weight consolidation). ``strength`` is in
    nats per token and squared length, with ``fisher`` without a unit.
    """

    strength: float
    fisher: bool = False

    def __post_init__(self) -> None:
        if not (is_number(self.strength) and 0 < self.strength < math.inf):
            raise ValueError(f"strength is {self.strength}: it must be greater than 0.")


Strategy: TypeAlias = HardStrategy | SoftParameterConstraint | None
"""None is the unconstrained fine-tune."""


_STRATEGY_OPTIONS = {
    "none": (),
    "loss": ("lam", "epsilon"),
    "parameter": ("radius",),
    "hybrid": ("lam", "radius"),
    "soft": ("strength", "fisher"),
}


def make_strategy(
    kind: str = "none",
    *,
    lam: float | None = None,
    epsilon: float | None = None,
    radius: float | None = None,
    strength: float | None = None,
    fisher: bool | None = None,
) -> Strategy:
    """The strategy of a configuration: none, loss, parameter, hybrid or soft.

    Raises InputError for an option that the kind does not take (a lambda with a parameter
    constraint would be ignored silently), for one that is missing and for one out of range.
    """
    options = {
        "lam": lam,
        "epsilon": epsilon,
        "radius": radius,
        "strength": strength,
        "fisher": fisher,
    }
    given = {name: value for name, value in options.items() if value is not None}
    if kind not in _STRATEGY_OPTIONS:
        raise InputError(
            f"there is no strategy {kind!r}.", remedy=f"Use one of {', '.join(_STRATEGY_OPTIONS)}."
        )
    takes = _STRATEGY_OPTIONS[kind]
    if extra := [name for name in given if name not in takes]:
        what = f"takes {' and '.join(takes)}" if takes else "takes no option"
        raise InputError(
            f"{extra[0]} is given with the strategy {kind!r}, which {what}.",
            remedy=f"Leave {extra[0]} out, or use {_home_of(extra[0], given)}.",
        )
    make = {
        "none": lambda: None,
        "loss": lambda **o: LossConstraint(**o),
        "parameter": lambda **o: ParameterConstraint(**o),
        "hybrid": lambda **o: Hybrid(**o),
        "soft": lambda **o: SoftParameterConstraint(**o),
    }[kind]
    try:
        return make(**given)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"the strategy {kind!r} cannot be made: {error}", remedy=f"It takes {', '.join(takes)}."
        ) from error


def strategy_as_dict(strategy: Strategy) -> dict[str, Any]:
    """``make_strategy``'s arguments for this strategy."""
    if strategy is None:
        return {"kind": "none"}
    kinds = {
        LossConstraint: "loss",
        ParameterConstraint: "parameter",
        Hybrid: "hybrid",
        SoftParameterConstraint: "soft",
    }
    plain = {f.name: getattr(strategy, f.name) for f in dataclasses.fields(strategy)}
    return {
        "kind": kinds[type(strategy)],
        **{name: value for name, value in plain.items() if value is not None},
    }


def _home_of(option: str, given: Mapping[str, Any]) -> str:
    if option == "lam" and "radius" in given:
        return "'hybrid'"
    homes = [f"{kind!r}" for kind, options in _STRATEGY_OPTIONS.items() if option in options]
    return " or ".join(homes)


def is_number(value: Any) -> bool:
    """Whether ``value`` is a number and not a truth value."""
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
