"""The inverse: which lambda, which radius keeps a promise about safety."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theory.bound import Bound, Quantity
from theory.evaluation import Best, best, evaluate
from theory.problem import Problem
from theory.strategy import Hybrid, LossConstraint, ParameterConstraint, Strategy

# The search ends when the two sides of the answer are this close, well inside the 1 % promised.
_RESOLUTION = 1e-3
_SCAN = 241


@dataclass(frozen=True)
class Calibration:
    """The least constraining strategy whose bound keeps the budget, or why there is none.

    ``strategy`` is the smallest lambda (largest radius) found, erring on the safe side;
    ``None`` if even the strictest of the range misses the budget, and then ``best`` is the bound
    that it reaches. ``unconstrained`` says that the whole range keeps it.
    """

    strategy: Strategy | None
    best: Best
    budget: float
    quantity: Quantity
    unconstrained: bool


def calibrate(
    problem: Problem,
    budget: float,
    strategy_kind: str,
    *,
    radius: float | None = None,
    quantity: Quantity | str = Quantity.SAFETY_GAP,
    allow_estimated: bool = False,
    lam_range: tuple[float, float] = (1e-6, 1e6),
    radius_range: tuple[float, float] = (1e-6, 1e3),
    evaluate: Callable[[Problem, Strategy], list[Bound]] = evaluate,
) -> Calibration:
    """The smallest lambda, or largest radius, whose upper bound on ``quantity`` is <= ``budget``.

    ``strategy_kind`` is "loss", "parameter" or "hybrid" (which searches lambda at ``radius``);
    ``budget`` in nats. The bound need not be monotone (T5), so the range is scanned on a
    logarithmic grid and the first crossing refined by bisection, ending on the side that keeps
    the budget. ``evaluate`` may be replaced by bounds of one's own. Raises ValueError on a
    negative budget or an unknown kind.
    """
    if not budget >= 0 or not np.isfinite(budget):
        raise ValueError(f"the safety budget is {budget:g}: it must be finite and >= 0 nats.")
    quantity = Quantity(quantity)
    low, high = radius_range if strategy_kind == "parameter" else lam_range
    make = _maker(strategy_kind, radius)

    def bound_at(value: float) -> Best:
        bounds = evaluate(problem, make(value))
        return best(bounds, quantity, "upper", allow_estimated=allow_estimated)

    # From the least constraining to the strictest.
    grid = np.geomspace(low, high, _SCAN)
    if strategy_kind == "parameter":
        grid = grid[::-1]
    previous = None
    reached = None
    for value in grid:
        reached = bound_at(float(value))
        if reached.value <= budget:
            if previous is None:
                return Calibration(make(float(value)), reached, budget, quantity, True)
            kept = _refine(bound_at, budget, broken=previous, kept=float(value))
            return Calibration(make(kept), bound_at(kept), budget, quantity, False)
        previous = float(value)
    return Calibration(None, reached, budget, quantity, False)


def _maker(strategy_kind: str, radius: float | None) -> Callable[[float], Strategy]:
    match strategy_kind:
        case "loss":
            return lambda lam: LossConstraint(lam=lam)
        case "parameter":
            return ParameterConstraint
        case "hybrid" if radius is not None:
            return lambda lam: Hybrid(lam=lam, radius=radius)
        case "hybrid":
            raise ValueError("a hybrid is calibrated in lambda at a given radius.")
    raise ValueError(f"unknown strategy {strategy_kind!r}: loss, parameter or hybrid.")


def _refine(bound_at: Callable[[float], Best], budget: float, *, broken: float, kept: float):
    while abs(np.log(kept / broken)) > _RESOLUTION:
        middle = float(np.sqrt(kept * broken))
        if bound_at(middle).value <= budget:
            kept = middle
        else:
            broken = middle
    return kept
