"""T7: what a radius can gain on the task, from both sides."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from theory.bound import Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array
from theory.landscape import (
    IN_BALL,
    LOGITS,
    MINIMISER,
    TABULAR_J,
    LossLandscape,
    Terms,
    down,
    no_radius,
    product,
    reach,
    task_landscape,
    up,
)
from theory.loss_constraint.common import trivial_gap
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.statement import statement
from theory.strategy import ParameterConstraint, Strategy

UPPER, LOWER = Direction.UPPER, Direction.LOWER
_upper = partial(bound, "T7", Quantity.CAPABILITY_GAP, UPPER)
_lower = partial(bound, "T7", Quantity.CAPABILITY_GAP, LOWER)
_lacks = partial(not_applicable, "T7", Quantity.CAPABILITY_GAP)
_TASK_START = "capability gap at the aligned model"
_NEEDS_CASE_TWO = (
    "needs a parameter constraint alone: the minimiser of another objective gains less"
)
# form -> what it assumes of the task loss, or of the logits.
_ASSUMED = {
    "convex": "f_f is convex",
    "smooth": "f_f is beta_f-smooth",
    "smooth, local": "f_f is beta_f-smooth",
    "Polyak-Lojasiewicz": "(A-PL) of f_f",
    "(A-J)": LOGITS,
}


@statement("T7", Quantity.CAPABILITY_GAP)
def capability_within_radius(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T7: what a move of at most ``radius`` can gain on the task, from both sides, nats.

    With ``G_0 = G_f(theta_s)``, ``g = |grad f_f(theta_s)|``, ``R`` the distance to the task's
    minimisers and ``t = min(1, radius / R)``. Upper, for Case II only: convex of modulus mu
    ``(1 - t) G_0 - mu / 2 t (1 - t) R^2``; smooth ``G_0 - g s + beta s^2 / 2``,
    ``s = min(radius, g / beta)``; (A-PL) ``(sqrt G_0 - radius sqrt(mu / 2))_+^2``. Lower, for
    every theta in the ball, hybrids included: convex ``G_0 - g s + mu s^2 / 2``,
    ``s = min(radius, g / mu)``; smooth ``G_0 - g radius - beta radius^2 / 2`` and
    ``(sqrt G_0 - radius sqrt(beta / 2))_+^2``; (A-J) ``G_0 - 2 J radius``. For constants
    ``displacement`` stands in for the radius in the lower ones. Source: T7.
    """
    within = reach(problem, strategy)
    if within is None:
        return [_lacks(no_radius(problem))]
    if isinstance(problem, Constants):
        return _capability_of_constants(problem, strategy, *within)
    radius, task = within[0], task_landscape(problem)
    if isinstance(strategy, ParameterConstraint):
        bounds = _upper_on_problem(problem, task, radius)
    else:
        bounds = [_lacks(_NEEDS_CASE_TWO)]
    gap = task.gap.lower
    forms = {
        "convex": convex_lower(gap, task.gradient.upper, task.modulus, radius),
        "smooth, local": smooth_local_lower(gap, task.gradient.upper, task.smoothness, radius),
        "smooth": root_lower(gap, task.smoothness, radius),
    }
    if isinstance(problem, TabularProblem):
        forms["(A-J)"] = logit_lower(gap, TABULAR_J, radius)
    bounds += [
        _lower(terms, form=form, assumptions=(IN_BALL, _ASSUMED[form]))
        for form, terms in forms.items()
    ]
    if isinstance(problem, QuadraticProblem):
        failed = "(A-J): a quadratic model has no logits"
        bounds.append(_lacks(failed, direction=LOWER, form="(A-J)"))
    return bounds


def _upper_on_problem(
    problem: TabularProblem | QuadraticProblem, task: LossLandscape, radius: Array
) -> list[Bound]:
    """The capability gap that some point of the ball attains."""
    gap = task.gap.upper
    reached = task.distance
    forms = {
        "convex": convex_upper(gap, task.modulus, reached.upper, radius, at_least=reached.lower),
        "smooth": smooth_upper(gap, task.gradient.lower, task.smoothness, radius),
    }
    if isinstance(problem, QuadraticProblem):
        forms["Polyak-Lojasiewicz"] = root_upper(gap, task.modulus, radius)
    rest = {"below float resolution": task.unresolved} if np.any(task.unresolved > 0) else {}
    trivial = np.log(problem.responses) if isinstance(problem, TabularProblem) else np.inf
    return [
        _upper(terms | rest, form=form, assumptions=(MINIMISER, _ASSUMED[form]), trivial=trivial)
        for form, terms in forms.items()
    ]


def convex_upper(
    gap: Array | float,
    modulus: Array | float,
    distance: Array | float,
    radius: Array | float,
    *,
    at_least: Array | None = None,
) -> Terms:
    """``(1 - t) G_0 - mu / 2 t (1 - t) R^2`` as two summands that cannot cancel.

    The distance ``R`` is at most ``distance`` and ``at_least`` that (default: the same).
    """
    gap, distance = np.asarray(gap), np.asarray(distance)
    nearest = distance if at_least is None else np.asarray(at_least)
    with np.errstate(invalid="ignore", divide="ignore"):
        left = np.where(
            np.isinf(distance),
            1.0,
            np.where(distance > radius, (distance - radius) / distance, 0.0),
        )
        bent = np.where(np.isinf(distance), 0.0, product(0.5, modulus, np.square(nearest)))
        flat = np.where(np.isinf(gap), np.inf, np.maximum(up(gap) - bent, 0.0))
    return {
        "comparator on the way to the task optimum": up(product(left, flat)),
        "strong convexity": up(product(np.square(left), bent)),
    }


def smooth_upper(
    gap: Array | float, gradient: Array | float, smoothness: Array | float, radius: Array | float
) -> Terms:
    """``G_0 - g s + beta s^2 / 2`` at the best descent step ``s <= radius``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        best = np.where(np.asarray(smoothness) > 0, gradient / np.asarray(smoothness), np.inf)
    step = np.minimum(radius, best)
    gain = product(gradient, step) - product(0.5, smoothness, np.square(step))
    return {_TASK_START: up(up(gap)), "descent step": -np.minimum(gain, gap)}


def root_upper(gap: Array | float, pl: Array | float, radius: Array | float) -> Terms:
    """``(sqrt G_0 - radius sqrt(mu / 2))_+^2``: gradient flow along a PL landscape."""
    root = np.maximum(up(np.sqrt(gap)) - product(radius, np.sqrt(0.5 * np.asarray(pl))), 0.0)
    return {"left after gradient flow": np.square(root)}


def convex_lower(
    gap: Array | float, gradient: Array | float, modulus: Array | float, radius: Array | float
) -> Terms:
    """``G_0 - g s + mu s^2 / 2`` at ``s = min(radius, g / mu)``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        turn = np.where(np.asarray(modulus) > 0, gradient / np.asarray(modulus), np.inf)
    step, gap = np.minimum(radius, turn), down(gap)
    loss = up(product(gradient, step)) - product(0.5, modulus, np.square(step))
    return {_TASK_START: gap, "slope": -np.minimum(loss, gap)}


def smooth_local_lower(
    gap: Array | float, gradient: Array | float, smoothness: Array | float, radius: Array | float
) -> Terms:
    """``G_0 - g radius - beta radius^2 / 2``, not below 0."""
    slope = up(product(gradient, radius))
    bend = up(product(0.5, smoothness, np.square(radius)))
    gap = down(gap)
    slope = np.minimum(slope, gap)
    with np.errstate(invalid="ignore"):
        left = np.where(np.isinf(gap), np.inf, gap - slope)
    return {_TASK_START: gap, "slope": -slope, "curvature": -np.minimum(bend, left)}


def root_lower(gap: Array | float, smoothness: Array | float, radius: Array | float) -> Terms:
    """``(sqrt G_0 - radius sqrt(beta / 2))_+^2``: sqrt G_f is sqrt(beta / 2)-Lipschitz."""
    slope = product(radius, np.sqrt(0.5 * np.asarray(smoothness)))
    return {"out of reach": np.square(np.maximum(down(np.sqrt(gap)) - slope, 0.0))}


def logit_lower(gap: Array | float, logit_lipschitz: Array | float, radius: Array | float) -> Terms:
    """``G_0 - 2 J radius``, not below 0."""
    gap = down(gap)
    slope = up(product(2.0 * np.asarray(logit_lipschitz), radius))
    return {_TASK_START: gap, "slope": -np.minimum(slope, gap)}


# form -> its formula, and the constants that stand between ``G_0`` and the radius there.
_Forms = dict[str, tuple[Callable[..., Terms], tuple[str, ...]]]
_UPPER_FORMS: _Forms = {
    "convex": (convex_upper, ("strong_convexity_task", "distance_to_task_optimum")),
    "smooth": (smooth_upper, ("gradient_norm_task", "smoothness_task")),
    "Polyak-Lojasiewicz": (root_upper, ("pl_task",)),
}
_LOWER_FORMS: _Forms = {
    "convex": (convex_lower, ("gradient_norm_task", "strong_convexity_task")),
    "smooth, local": (smooth_local_lower, ("gradient_norm_task", "smoothness_task")),
    "smooth": (root_lower, ("smoothness_task",)),
    "(A-J)": (logit_lower, ("logit_lipschitz",)),
}


def _known(
    forms: _Forms, problem: Constants, gap: float, radius: Array | float
) -> dict[str, tuple[Terms, tuple[Constant, ...]]]:
    """form -> its terms and constants, for those whose constants are known."""
    found: dict[str, tuple[Terms, tuple[Constant, ...]]] = {}
    for form, (formula, names) in forms.items():
        if all(name in problem for name in names):
            used = tuple(problem[name] for name in names)
            found[form] = (formula(gap, *(constant.value for constant in used), radius), used)
    return found


def _capability_of_constants(
    problem: Constants, strategy: Strategy, radius: Array, moved: tuple[Constant, ...]
) -> list[Bound]:
    start = problem.get("capability_gap_at_aligned")
    if start is None or np.isinf(start.value):
        failed = "needs capability_gap_at_aligned, finite"
        return [_lacks(failed, direction=direction) for direction in (UPPER, LOWER)]
    if isinstance(strategy, ParameterConstraint):
        bounds = _upper_of_constants(problem, start, strategy.radius)
    else:
        bounds = [_lacks(_NEEDS_CASE_TWO)]
    forms = _known(_LOWER_FORMS, problem, start.value, radius)
    if not forms:
        failed = "needs gradient_norm_task, smoothness_task or logit_lipschitz"
        bounds.append(_lacks(failed, direction=LOWER))
    return bounds + [
        _lower(
            terms,
            form=form,
            assumptions=(IN_BALL, _ASSUMED[form]),
            constants=(start, *constants, *moved),
        )
        for form, (terms, constants) in forms.items()
    ]


def _upper_of_constants(problem: Constants, start: Constant, radius: Array | float) -> list[Bound]:
    slack = problem.get("optimality_slack", Constant(0.0))
    deviation = problem.get("uniform_deviation_task", Constant(0.0))
    forms = _known(_UPPER_FORMS, problem, start.value, radius)
    if not forms:
        failed = (
            "needs strong_convexity_task (0 if merely convex) with distance_to_task_optimum, "
            "gradient_norm_task with smoothness_task, or pl_task"
        )
        return [_lacks(failed)]
    left = {"optimiser slack": slack.value, "finite samples": 2.0 * deviation.value}
    return [
        _upper(
            {**terms, **left},
            form=form,
            assumptions=(MINIMISER, _ASSUMED[form]),
            trivial=trivial_gap(problem),
            constants=(start, slack, deviation, *constants),
        )
        for form, (terms, constants) in forms.items()
    ]
