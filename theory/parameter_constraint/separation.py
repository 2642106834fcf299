"""Where the two constraints part ways: T8 and the radius at which their guarantees cross."""

from __future__ import annotations

from functools import partial, reduce

import numpy as np

from theory.bound import Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array, mass_sum, tv
from theory.exact import exact
from theory.landscape import (
    IN_BALL,
    LOGITS,
    TABULAR_J,
    down,
    isolated_growth,
    no_radius,
    product,
    reach,
    task_landscape,
    up,
)
from theory.limits import front_floor
from theory.loss_constraint import floor_terms
from theory.loss_constraint.common import MINIMISER as PENALISED
from theory.loss_constraint.common import TABULAR
from theory.parameter_constraint.capability import logit_lower
from theory.parameter_constraint.safety import safety_within_radius
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.quadratic import orthogonal, solve, start
from theory.statement import statement
from theory.strategy import LossConstraint, Strategy

LOWER, EQUALITY = Direction.LOWER, Direction.EQUALITY
_lower = partial(bound, "T8", Quantity.CAPABILITY_GAP, LOWER)
_ZERO = "(a) zero gaps"
_PRICE = "(b) price of the radius"
_FRONT = "(c) Pareto front"
_FORCED = "(d) forced radius"
_GROWTH = "(A-QG) of f_s at its only minimiser theta_s"
_REACHED = "the capability gap is at most the target"


@statement("T8", Quantity.CAPABILITY_GAP)
def separation(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T8: what each constraint can do that the other cannot, nats.

    (a) Case I: both gaps are 0 where task and proxy agree on every context that they share (for
    the safety gap also: same teacher, and every shared context of safety and task is covered).
    (b) A radius costs capability at any overlap: ``G_f >= G_f(theta_s) - 2 J radius``. (c) No
    point of the ball lies below the Pareto front, which Case I traces: ``G_f >= v(S)`` with S an
    upper bound on its safety gap (T6's best for a table, the exact gap for a quadratic). (d)
    Reaching ``G_f <= g`` forces ``|theta - theta_s| >= (G_f(theta_s) - g) / 2J`` and, under
    (A-QG), ``G_s >= mu_s (G_f(theta_s) - g)_+^2 / 8 J^2``; form "smooth" has
    ``(sqrt G_f(theta_s) - sqrt g) sqrt(2 / beta_f)`` for the radius. g is the constant
    ``capability_gap_target``, or what the exact minimiser reaches. Source: T8.
    """
    return [
        *_zero_gaps(problem, strategy),
        _price_of_radius(problem, strategy),
        _domination(problem, strategy),
        *_forced_radius(problem, strategy),
    ]


def _missing(quantity: Quantity, form: str, failed: str) -> Bound:
    return not_applicable("T8", quantity, failed, direction=LOWER, form=form)


def _zero_gaps(problem: Problem, strategy: Strategy) -> list[Bound]:
    if not isinstance(strategy, LossConstraint):
        failed = "needs a loss constraint: a radius leaves no room to fit the task for free"
        return [_missing(Quantity.CAPABILITY_GAP, _ZERO, failed)]
    if isinstance(problem, Constants):
        return _zero_gaps_of_constants(problem, strategy)
    if isinstance(problem, QuadraticProblem):
        # Only an exactly vanishing product proves that the ranges share no direction.
        capability_free = orthogonal(problem)
        safety_free = capability_free & _pins_safety(strategy)
        failed = (
            "the ranges of H_s and H_f are not orthogonal; or, for safety, epsilon > 0 leaves "
            "the safety directions free"
        )
        assumptions: tuple[str, ...] = ("H_s H_f = 0: no shared direction",)
    else:
        agreed = ((problem.disagreement == 0) | ~problem.overlap).all(axis=-1)
        capability_free = agreed
        safety_free = agreed & _kept_safe(problem) & _pins_safety(strategy)
        failed = (
            "task and proxy disagree on a shared context; or, for safety, teachers differ, a "
            "shared context of safety and task is not covered, the aligned model is off elsewhere, "
            "or epsilon > 0 leaves the safety contexts free"
        )
        assumptions = (TABULAR, "task and proxy targets agree on shared contexts")
    zero = np.zeros(np.broadcast_shapes(problem.batch_shape, np.shape(strategy.strength)))
    return [
        bound(
            "T8",
            quantity,
            EQUALITY,
            {"zero": zero},
            form=_ZERO,
            assumptions=(*assumptions, PENALISED),
            applies=applies,
            failed=failed,
        )
        for quantity, applies in (
            (Quantity.CAPABILITY_GAP, capability_free),
            (Quantity.SAFETY_GAP, safety_free),
        )
    ]


def _pins_safety(strategy: LossConstraint) -> np.ndarray | bool:
    """A loss constraint in epsilon > 0 need not use up what safety costs nothing."""
    return strategy.lam is not None or np.asarray(strategy.epsilon) == 0


def _kept_safe(problem: TabularProblem) -> np.ndarray:
    """Every safety context ends on its own target."""
    proxy, task = problem.proxy.context > 0, problem.task.context > 0
    target = problem.safety.target
    right = np.where(
        proxy,
        (problem.proxy.target == target).all(axis=-1),
        ~task & (problem.aligned == target).all(axis=-1),
    )
    return (right | (problem.safety.context == 0)).all(axis=-1)


def _zero_gaps_of_constants(problem: Constants, strategy: LossConstraint) -> list[Bound]:
    names = ("overlap_task_mass", "tv_teacher", "coverage_ratio")
    used = tuple(problem[name] for name in names if name in problem)
    zero = Constant(0.0)
    slack = problem.get("optimality_slack", zero)
    failed = ""
    if len(used) < len(names) or used[0].value > 0 or used[1].value > 0 or np.isinf(used[2].value):
        failed = "needs overlap_task_mass = 0, tv_teacher = 0 and a finite coverage_ratio"
    elif strategy.lam is None:
        failed = "needs lam: epsilon leaves the safety contexts free"
    elif slack.value > 0 or problem.get("uniform_deviation_task", zero).value > 0:
        failed = "optimality_slack or uniform_deviation_task > 0"
    elif problem.get("uniform_deviation_safety", zero).value > 0:
        failed = "uniform_deviation_safety > 0"
    quantities = (Quantity.CAPABILITY_GAP, Quantity.SAFETY_GAP)
    if failed:
        return [_missing(quantity, _ZERO, failed) for quantity in quantities]
    return [
        bound(
            "T8",
            quantity,
            EQUALITY,
            {"zero": np.zeros(np.shape(strategy.strength))},
            form=_ZERO,
            assumptions=("(A-R) task and proxy targets are realisable together", PENALISED),
            constants=(*used, slack),
        )
        for quantity in quantities
    ]


def _price_of_radius(problem: Problem, strategy: Strategy) -> Bound:
    within = reach(problem, strategy)
    if within is None:
        return _missing(Quantity.CAPABILITY_GAP, _PRICE, no_radius(problem))
    radius, moved = within
    if isinstance(problem, QuadraticProblem):
        failed = "(A-J): a quadratic model has no logits"
        return _missing(Quantity.CAPABILITY_GAP, _PRICE, failed)
    if isinstance(problem, TabularProblem):
        gap, logits, used = problem.capability_gap_at_aligned, TABULAR_J, ()
    else:
        names = ("capability_gap_at_aligned", "logit_lipschitz")
        if any(name not in problem for name in names) or np.isinf(problem[names[0]].value):
            failed = f"needs {' and '.join(names)}, finite"
            return _missing(Quantity.CAPABILITY_GAP, _PRICE, failed)
        used = (*(problem[name] for name in names), *moved)
        gap, logits = used[0].value, used[1].value
    return _lower(
        logit_lower(gap, logits, radius),
        form=_PRICE,
        assumptions=(IN_BALL, LOGITS),
        constants=used,
    )


def _domination(problem: Problem, strategy: Strategy) -> Bound:
    within = reach(problem, strategy)
    if within is None:
        return _missing(Quantity.CAPABILITY_GAP, _FRONT, no_radius(problem))
    if isinstance(problem, Constants):
        failed = "the front needs a tabular or a quadratic problem"
        return _missing(Quantity.CAPABILITY_GAP, _FRONT, failed)
    uppers = [
        np.asarray(b.value)
        for b in safety_within_radius(problem, strategy)
        if b.direction is Direction.UPPER
    ]
    if isinstance(problem, QuadraticProblem):
        uppers.append(solve(problem, strategy).safety_range.upper)
    return _lower(
        {"front": front_floor(problem, reduce(np.minimum, uppers))},
        form=_FRONT,
        assumptions=(IN_BALL,),
    )


def _forced_radius(problem: Problem, strategy: Strategy) -> list[Bound]:
    if isinstance(problem, Constants):
        return _forced_of_constants(problem)
    solution = exact(problem, strategy)
    if solution is None:
        failed = "no capability target: the gap that a tabular radius reaches has no closed form"
        return [_missing(Quantity.RADIUS, _FORCED, failed)]
    if isinstance(problem, TabularProblem):
        forced = _steps(problem.capability_gap_at_aligned, solution.capability_gap, TABULAR_J)
        failed = "(A-QG): a tabular f_s is flat along the logits of unused contexts and answers"
        return [
            _forced(Quantity.RADIUS, forced, f"{_FORCED}, logits", (LOGITS,), ()),
            _missing(Quantity.SAFETY_GAP, _FORCED, failed),
        ]
    forced = _strides(
        start(problem).gap.lower,
        solve(problem, strategy).capability.upper,
        task_landscape(problem).smoothness,
    )
    growth = isolated_growth(problem)
    safety = product(0.5, growth, np.square(forced))
    smooth = ("f_f is beta_f-smooth everywhere",)
    return [
        _forced(Quantity.RADIUS, forced, f"{_FORCED}, smooth", smooth, ()),
        _forced(
            Quantity.SAFETY_GAP,
            safety,
            f"{_FORCED}, smooth",
            (*smooth, _GROWTH),
            (),
            applies=growth > 0,
            failed="(A-QG): H_s is singular, theta_s is not isolated",
        ),
    ]


def _steps(start: Array | float, target: Array | float, logit_lipschitz: float) -> Array:
    """``(G_0 - g)_+ / 2J``; an infinite target forces nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        forced = (down(start) - target) / (2.0 * np.asarray(logit_lipschitz))
    return np.where(np.isfinite(target), np.maximum(np.nan_to_num(forced, posinf=np.inf), 0.0), 0.0)


def _strides(start: Array | float, target: Array | float, smoothness: Array | float) -> Array:
    """``(sqrt G_0 - sqrt g)_+ sqrt(2 / beta)``: sqrt G_f is sqrt(beta / 2)-Lipschitz."""
    with np.errstate(invalid="ignore", divide="ignore"):
        drop = np.maximum(down(np.sqrt(start)) - up(np.sqrt(target)), 0.0)
        forced = product(drop, np.sqrt(2.0 / np.asarray(smoothness, dtype=np.float64)))
    return down(forced)


def _forced(
    quantity: Quantity,
    value: Array,
    form: str,
    assumptions: tuple[str, ...],
    constants: tuple[Constant, ...],
    *,
    applies: bool | np.ndarray = True,
    failed: str = "",
) -> Bound:
    return bound(
        "T8",
        quantity,
        LOWER,
        {"forced by the capability target": value},
        form=form,
        assumptions=(_REACHED, *assumptions),
        constants=constants,
        unit="parameter units" if quantity is Quantity.RADIUS else "nats",
        applies=applies,
        failed=failed,
    )


def _forced_of_constants(problem: Constants) -> list[Bound]:
    start, target = problem.get("capability_gap_at_aligned"), problem.get("capability_gap_target")
    ways: dict[str, tuple[Array, tuple[Constant, ...], str]] = {}
    if start is not None and target is not None:
        if "logit_lipschitz" in problem:
            logits = problem["logit_lipschitz"]
            forced = _steps(start.value, target.value, logits.value)
            ways["logits"] = (forced, (start, target, logits), LOGITS)
        if "smoothness_task" in problem:
            bend = problem["smoothness_task"]
            smooth = "f_f is beta_f-smooth everywhere"
            forced = _strides(start.value, target.value, bend.value)
            ways["smooth"] = (forced, (start, target, bend), smooth)
    if not ways:
        failed = (
            "needs capability_gap_at_aligned and capability_gap_target, with logit_lipschitz or "
            "smoothness_task"
        )
        return [_missing(Quantity.RADIUS, _FORCED, failed)]
    growth = problem.get("quadratic_growth_safety")
    bounds = []
    for name, (forced, used, assumption) in ways.items():
        form = f"{_FORCED}, {name}"
        bounds.append(_forced(Quantity.RADIUS, forced, form, (assumption,), used))
        if growth is not None:
            safety = down(product(0.5, growth.value, np.square(forced)))
            bounds.append(
                _forced(Quantity.SAFETY_GAP, safety, form, (assumption, _GROWTH), (*used, growth))
            )
    if growth is None:
        bounds.append(_missing(Quantity.SAFETY_GAP, _FORCED, "needs quadratic_growth_safety"))
    return bounds


def crossover_radius(problem: Problem) -> float | Array:
    """The radius below which Case II's guarantee beats Case I's at any lambda.

    Case II guarantees ``G_s(theta_s) + 2 J r E TV(mu_s, P_theta_s) + J^2 r^2 / 2`` without data;
    Case I guarantees no less than its floor Phi (T5; a finite lambda may still end below it), or
    ``G_s(theta_s) + 2 B TV`` (T1). For constants the smaller limit known counts:
    ``sqrt(2 Phi) / J`` or ``2 sqrt(B TV) / J``.
    0 where Case I has no floor (a quadratic problem's proxy is perfect). ``[...]`` over the batch,
    in parameter units. Raises ValueError where constants lack ``logit_lipschitz`` or both limits.
    Source: crossover after T8.
    """
    if isinstance(problem, QuadraticProblem):
        return np.zeros(problem.batch_shape)[()]
    if isinstance(problem, TabularProblem):
        floor = sum(floor_terms(problem).values())
        start = problem.safety_gap_at_aligned
        off = mass_sum(problem.safety.context, tv(problem.safety.target, problem.aligned))
        return _crossing(floor, start, off, TABULAR_J)
    if "logit_lipschitz" not in problem or problem["logit_lipschitz"].value == 0:
        raise ValueError("a crossover radius needs logit_lipschitz > 0.")
    start = problem["safety_gap_at_aligned"].value if "safety_gap_at_aligned" in problem else 0.0
    limits = []
    if "proxy_floor" in problem:
        limits.append(problem["proxy_floor"].value)
    if "loss_range" in problem and "tv" in problem:
        limits.append(start + 2.0 * problem["loss_range"].value * problem["tv"].value)
    if not limits:
        raise ValueError("a crossover radius needs proxy_floor, or loss_range and tv.")
    off = 0.0 if start == 0 else 1.0
    return _crossing(min(limits), start, off, problem["logit_lipschitz"].value)


def _crossing(
    limit: Array | float, start: Array | float, off: Array | float, logit_lipschitz: float
) -> float | Array:
    """``r`` with ``start + 2 J r off + J^2 r^2 / 2 = limit``, 0 if the start is above it."""
    with np.errstate(invalid="ignore"):
        room = np.where(np.isfinite(start), np.maximum(np.asarray(limit) - start, 0.0), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        root = 2.0 * room / (2.0 * np.asarray(off) + np.sqrt(4.0 * np.square(off) + 2.0 * room))
    root = np.where(np.isinf(room), np.inf, np.where(room == 0, 0.0, root))
    return (root / logit_lipschitz)[()]
