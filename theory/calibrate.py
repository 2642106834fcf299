"""The inverse: which lambda, which radius keeps a promise about safety."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import OptimizeResult, minimize_scalar

from theory.bound import Bound, Direction, Quantity
from theory.evaluation import Best, best
from theory.evaluation import evaluate as evaluate_all
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
    that it reaches. ``unconstrained`` says that the least constraining of the range keeps it.
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
    evaluate: Callable[[Problem, Strategy], list[Bound]] | None = None,
) -> Calibration:
    """The smallest lambda, or largest radius, whose upper bound on ``quantity`` is <= ``budget``.

    ``strategy_kind`` is "loss", "parameter" or "hybrid" (which searches lambda at ``radius``);
    ``budget`` in nats. The bound need not be monotone (T5), so the range is scanned on a
    logarithmic grid, with a closer look where the bound turns just above the budget, and the first
    crossing refined by bisection, ending on the side that keeps the budget. ``evaluate`` may be
    replaced by bounds of one's own. Raises ValueError on a negative budget or an unknown kind.
    """
    if not budget >= 0 or not np.isfinite(budget):
        raise ValueError(f"the safety budget is {budget:g}: it must be finite and >= 0 nats.")
    quantity = Quantity(quantity)
    low, high = radius_range if strategy_kind == "parameter" else lam_range
    make = _maker(strategy_kind, radius)
    if evaluate is None:
        evaluate = _useful(problem, make(low), quantity)

    def bound_at(value: float) -> Best:
        bounds = evaluate(problem, make(value))
        return best(bounds, quantity, "upper", allow_estimated=allow_estimated)

    # From the least constraining to the strictest.
    grid = np.geomspace(low, high, _SCAN)
    if strategy_kind == "parameter":
        grid = grid[::-1]
    tried: list[tuple[float, Best]] = []
    for value in map(float, grid):
        reached = bound_at(value)
        tried.append((value, reached))
        kept = value if reached.value <= budget else _dip(bound_at, budget, tried[-3:])
        if kept is None:
            continue
        if len(tried) == 1:
            return Calibration(make(value), reached, budget, quantity, True)
        broken = tried[-2][0] if kept == value else tried[-3][0]
        kept = _refine(bound_at, budget, broken=broken, kept=kept)
        return Calibration(make(kept), bound_at(kept), budget, quantity, False)
    return Calibration(None, tried[-1][1], budget, quantity, False)


def _useful(
    problem: Problem, strategy: Strategy, quantity: Quantity
) -> Callable[[Problem, Strategy], list[Bound]]:
    """``evaluate`` of the statements that can bound the quantity from above."""
    names = {
        b.statement
        for b in evaluate_all(problem, strategy)
        if b.quantity == quantity and b.direction is not Direction.LOWER
    }
    return lambda problem, strategy: evaluate_all(problem, strategy, statements=names)


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
        case _:
            raise ValueError(f"unknown strategy {strategy_kind!r}: loss, parameter or hybrid.")


def _dip(
    bound_at: Callable[[float], Best], budget: float, tried: list[tuple[float, Best]]
) -> float | None:
    """A value that keeps the budget near the middle of three, where the bound turns (T5)."""
    if len(tried) < 3:
        return None
    start, end = tried[0][0], tried[2][0]
    before, lowest, after = (reached.value for _, reached in tried)
    # A parabola through three such points falls below the middle by less than the others rise.
    if not (lowest < before and lowest <= after and lowest - budget <= max(before, after) - lowest):
        return None
    found: OptimizeResult = minimize_scalar(
        lambda log: bound_at(float(np.exp(log))).value,
        bounds=sorted((np.log(start), np.log(end))),
        method="bounded",
        options={"xatol": 0.1 * _RESOLUTION},
    )
    return float(np.exp(found.x)) if found.fun <= budget else None


def _refine(
    bound_at: Callable[[float], Best], budget: float, *, broken: float, kept: float
) -> float:
    while abs(np.log(kept / broken)) > _RESOLUTION:
        middle = float(np.sqrt(kept * broken))
        if bound_at(middle).value <= budget:
            kept = middle
        else:
            broken = middle
    return kept
