"""The hybrid strategy: both constraints at once (T9)."""

from __future__ import annotations

from functools import partial

import numpy as np

from theory.bound import SAFETY_START, Bound, Direction, Quantity, bound, not_applicable
from theory.landscape import (
    ALIGNED_EXACT,
    ALIGNED_OPTIMAL,
    IN_BALL,
    LOGITS,
    TABULAR_J,
    product,
    reach,
    tabular_landscape,
    task_landscape,
    up,
)
from theory.loss_constraint.common import trivial_gap
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.statement import statement
from theory.strategy import LossConstraint, ParameterConstraint, Strategy

UPPER = Direction.UPPER
_upper = partial(bound, "T9", Quantity.SAFETY_GAP, UPPER)
_lacks = partial(not_applicable, "T9", Quantity.SAFETY_GAP)
_MINIMISER = "theta minimises f_f + lambda f_hat_s within the radius, to within delta"
_VALUE_GAP = "value gap / lambda"
_MISMATCH = "proxy mismatch"
_FINITE = "f_f or f_hat_s is infinite at theta_s, so the objective singles out no minimiser"


@statement("T9", Quantity.SAFETY_GAP)
def hybrid_safety(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T9: the proxy's help within a radius, where its mismatch costs only the radius, nats.

    Under (A-J) ``G_s <= G_s(theta_s) + (min{2 J radius, G_f(theta_s)} + delta) / lambda +
    4 J radius TV(D_s, D_hat_s)``; if ``P_theta_s = mu_s`` also ``J^2 radius^2 / 2``, without data.
    Form "tabular" uses the table's own constants: slope ``|grad f_f(theta_s)|`` by convexity and
    ``osc(h) <= 2 radius`` instead of ``4 J radius = 2 sqrt(2) radius``. A quadratic problem
    has a perfect proxy, so only the value gap is left, and half of it: at the minimiser
    ``0 <= <grad F, theta_s - theta> <= f_f(theta_s) - f_f(theta) - 2 lambda G_s``. The capability
    gap is at most that of
    theta_s plus ``lambda G_hat_s(theta_s)``. For constants, a loss constraint with a measured
    ``displacement`` is such a hybrid. Source: T9 of docs/theorems.md.
    """
    lam = None if isinstance(strategy, ParameterConstraint) else strategy.lam
    if isinstance(strategy, LossConstraint) and not isinstance(problem, Constants):
        lam = None
    within = None if lam is None else reach(problem, strategy)
    if lam is None or within is None:
        failed = "needs a hybrid: a penalty lambda together with a radius"
        return [_lacks(failed)]
    radius, used = within
    if isinstance(problem, Constants):
        return _of_constants(problem, np.asarray(lam), radius, used)
    if isinstance(problem, QuadraticProblem):
        return _of_quadratic(problem, np.asarray(lam), radius)
    return _of_table(problem, np.asarray(lam), radius)


def _of_table(problem: TabularProblem, lam: np.ndarray, radius: np.ndarray) -> list[Bound]:
    safety, proxy = problem.safety, problem.proxy
    start, capability = problem.safety_gap_at_aligned, problem.capability_gap_at_aligned
    joint = safety.context[..., None] * safety.target - proxy.context[..., None] * proxy.target
    mismatch = 0.5 * np.abs(joint).sum(axis=(-2, -1))
    task = tabular_landscape(problem.task, problem.aligned, capability)
    reachable = 2.0 * TABULAR_J * radius
    slopes = {
        "(A-J)": (np.minimum(reachable, capability), 2.0 * reachable, (LOGITS,)),
        "tabular": (
            np.minimum(task.gradient.upper * radius, capability),
            2.0 * np.asarray(radius),
            ("centred logits", "f_f is convex in the logits"),
        ),
    }
    finite = np.isfinite(capability) & np.isfinite(problem.proxy_gap_at_aligned)
    shared = {"trivial": np.log(problem.responses)}
    bounds = [
        _upper(
            {
                SAFETY_START: up(start),
                _VALUE_GAP: up(value_gap / lam),
                _MISMATCH: up(oscillation * mismatch),
            },
            form=form,
            assumptions=(_MINIMISER, IN_BALL, *assumptions),
            applies=finite,
            failed=_FINITE,
            **shared,
        )
        for form, (value_gap, oscillation, assumptions) in slopes.items()
    ]
    without_data = up(0.5 * np.square(TABULAR_J * np.asarray(radius)))
    used = safety.context > 0
    exactly = ((problem.aligned == safety.target).all(axis=-1) | ~used).all(axis=-1)
    bounds.append(
        _upper(
            {"curvature": without_data + np.zeros(problem.batch_shape)},
            form="(A-J), without data",
            assumptions=(IN_BALL, LOGITS, ALIGNED_EXACT),
            applies=exactly,
            failed=f"{ALIGNED_EXACT}: the aligned model is off the safety targets",
            **shared,
        )
    )
    terms = {
        "capability gap at the aligned model": up(capability),
        "lambda x proxy safety gap at the aligned model": up(
            product(lam, problem.proxy_gap_at_aligned)
        ),
    }
    return [*bounds, _capability(terms, trivial=np.log(problem.responses))]


def _of_quadratic(problem: QuadraticProblem, lam: np.ndarray, radius: np.ndarray) -> list[Bound]:
    task = task_landscape(problem)
    whole = up(task.gap.upper)
    gained = np.minimum(up(task.gradient.upper * radius), whole)
    failed = "(A-J): a quadratic model has no logits"
    return [
        _upper(
            {"half the value gap / lambda": up(0.5 * gained / lam)},
            form="quadratic, perfect proxy",
            assumptions=("theta minimises f_f + lambda f_s within the radius", IN_BALL),
        ),
        _lacks(failed, form="(A-J)"),
        _capability({"capability gap at the aligned model": whole}, trivial=np.inf),
    ]


def _capability(terms: dict[str, np.ndarray], *, trivial: float) -> Bound:
    return bound(
        "T9",
        Quantity.CAPABILITY_GAP,
        UPPER,
        terms,
        form="comparator theta_s",
        assumptions=(_MINIMISER,),
        trivial=trivial,
    )


def _of_constants(
    problem: Constants, lam: np.ndarray, radius: np.ndarray, moved: tuple[Constant, ...]
) -> list[Bound]:
    logits = problem.get("logit_lipschitz")
    if logits is None:
        return [_lacks("needs logit_lipschitz")]
    zero = Constant(0.0)
    start, slack = problem.get("safety_gap_at_aligned", zero), problem.get("optimality_slack", zero)
    deviation = problem.get("uniform_deviation_safety", zero)
    task_deviation = problem.get("uniform_deviation_task", zero)
    optimal = (ALIGNED_OPTIMAL,) if start.value == 0 else ()
    reachable = product(2.0, logits.value, radius)
    gained, used = reachable, (start, slack, deviation, task_deviation, logits, *moved)
    capability = problem.get("capability_gap_at_aligned")
    if capability is not None and np.isinf(capability.value):
        failed = "needs a finite capability_gap_at_aligned: else every point is a minimiser"
        return [_lacks(failed)]
    if capability is not None and np.any(capability.value < reachable):
        gained, used = np.minimum(reachable, capability.value), (*used, capability)
    common = {
        SAFETY_START: start.value,
        _VALUE_GAP: (gained + slack.value) / lam,
        "finite samples": 2.0 * deviation.value + 2.0 * task_deviation.value / lam,
    }
    mismatches: dict[str, tuple[dict[str, np.ndarray], tuple[Constant, ...]]] = {}
    if "tv" in problem:
        whole = problem["tv"]
        mismatches["(A-J)"] = ({_MISMATCH: product(2.0, reachable, whole.value)}, (whole,))
    if "tv_context" in problem and "tv_teacher" in problem:
        context, teacher = problem["tv_context"], problem["tv_teacher"]
        mismatches["(A-J), context and teacher"] = (
            {
                "context mismatch": product(2.0, reachable, context.value),
                "teacher mismatch": product(2.0, reachable, teacher.value),
            },
            (context, teacher),
        )
    bounds = [
        _upper(
            {**common, **terms},
            form=form,
            assumptions=(_MINIMISER, IN_BALL, LOGITS, *optimal),
            trivial=trivial_gap(problem),
            constants=(*used, *constants),
        )
        for form, (terms, constants) in mismatches.items()
    ]
    if not mismatches:
        failed = "needs tv, or tv_context and tv_teacher"
        bounds.append(_lacks(failed, form="(A-J)"))
    if start.value == 0:
        bounds.append(
            _upper(
                {"curvature": product(0.5, np.square(product(logits.value, radius)))},
                form="(A-J), without data",
                assumptions=(IN_BALL, LOGITS, ALIGNED_EXACT),
                trivial=trivial_gap(problem),
                constants=(logits, start, *moved),
            )
        )
    else:
        failed = f"{ALIGNED_EXACT}: safety_gap_at_aligned is not 0"
        bounds.append(_lacks(failed, form="(A-J), without data"))
    return bounds
