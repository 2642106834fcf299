"""T7: what a radius can gain on the task, from both sides."""

from __future__ import annotations

from collections.abc import Iterable
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
    bounds = []
    if isinstance(strategy, ParameterConstraint):
        trivial = np.log(problem.responses) if isinstance(problem, TabularProblem) else np.inf
        bounds += [
            _upper(
                terms,
                form=form,
                assumptions=(MINIMISER, assumption),
                trivial=trivial,
            )
            for form, (terms, assumption) in task_upper_forms(problem, task, radius).items()
        ]
    else:
        bounds.append(_upper_needs_case_two())
    forms = {
        "convex": (
            convex_lower(task.gap.lower, task.gradient.upper, task.modulus, radius),
            "f_f is convex",
        ),
        "smooth, local": (
            smooth_local_lower(task.gap.lower, task.gradient.upper, task.smoothness, radius),
            "f_f is beta_f-smooth",
        ),
        "smooth": (root_lower(task.gap.lower, task.smoothness, radius), "f_f is beta_f-smooth"),
    }
    if isinstance(problem, TabularProblem):
        forms["(A-J)"] = (slope_lower(task.gap.lower, 2.0 * TABULAR_J, radius), LOGITS)
    bounds += [
        _lower(
            terms,
            form=form,
            assumptions=(IN_BALL, assumption),
        )
        for form, (terms, assumption) in forms.items()
    ]
    if isinstance(problem, QuadraticProblem):
        failed = "(A-J): a quadratic model has no logits"
        bounds.append(_lacks(failed, direction=LOWER, form="(A-J)"))
    return bounds


def _upper_needs_case_two() -> Bound:
    failed = "needs a parameter constraint alone: the minimiser of another objective gains less"
    return _lacks(failed)


def task_upper_forms(
    problem: TabularProblem | QuadraticProblem, task: LossLandscape, radius: Array
) -> dict[str, tuple[Terms, str]]:
    """form -> (terms, assumption): the capability gap that some point of the ball attains."""
    rest = {"below float resolution": task.unresolved} if np.any(task.unresolved > 0) else {}
    forms = {
        "convex": (
            convex_upper(
                task.gap.upper,
                task.distance.upper,
                task.modulus,
                radius,
                at_least=task.distance.lower,
            ),
            "f_f is convex",
        ),
        "smooth": (
            smooth_upper(task.gap.upper, task.gradient.lower, task.smoothness, radius),
            "f_f is beta_f-smooth",
        ),
    }
    if isinstance(problem, QuadraticProblem):
        forms["Polyak-Lojasiewicz"] = (
            root_upper(task.gap.upper, task.modulus, radius),
            "(A-PL) of f_f",
        )
    return {form: (terms | rest, assumption) for form, (terms, assumption) in forms.items()}


def convex_upper(
    gap: Array | float,
    distance: Array | float,
    modulus: Array | float,
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


def slope_lower(gap: Array | float, slope: Array | float, radius: Array | float) -> Terms:
    """``G_0 - L radius``, not below 0."""
    gap = down(gap)
    return {_TASK_START: gap, "slope": -np.minimum(up(product(slope, radius)), gap)}


def _capability_of_constants(
    problem: Constants, strategy: Strategy, radius: Array, moved: tuple[Constant, ...]
) -> list[Bound]:
    start = problem.get("capability_gap_at_aligned")
    if start is None or np.isinf(start.value):
        failed = "needs capability_gap_at_aligned, finite"
        return [_lacks(failed, direction=direction) for direction in (UPPER, LOWER)]
    gradient, smoothness = problem.get("gradient_norm_task"), problem.get("smoothness_task")
    modulus = problem.get("strong_convexity_task")
    if isinstance(strategy, ParameterConstraint):
        bounds = _capability_upper(problem, start, strategy.radius)
    else:
        bounds = [_upper_needs_case_two()]
    gap = start.value
    forms: dict[str, tuple[Terms, Iterable[Constant], str]] = {}
    if gradient is not None and modulus is not None:
        forms["convex"] = (
            convex_lower(gap, gradient.value, modulus.value, radius),
            (gradient, modulus),
            "f_f is convex",
        )
    if smoothness is not None:
        smooth = "f_f is beta_f-smooth"
        if gradient is not None:
            forms["smooth, local"] = (
                smooth_local_lower(gap, gradient.value, smoothness.value, radius),
                (gradient, smoothness),
                smooth,
            )
        forms["smooth"] = (root_lower(gap, smoothness.value, radius), (smoothness,), smooth)
    if "logit_lipschitz" in problem:
        logits = problem["logit_lipschitz"]
        forms["(A-J)"] = (slope_lower(gap, 2.0 * logits.value, radius), (logits,), LOGITS)
    if not forms:
        failed = "needs gradient_norm_task, smoothness_task or logit_lipschitz"
        bounds.append(_lacks(failed, direction=LOWER))
    return bounds + [
        _lower(
            terms,
            form=form,
            assumptions=(IN_BALL, assumption),
            constants=(start, *constants, *moved),
        )
        for form, (terms, constants, assumption) in forms.items()
    ]


def _capability_upper(problem: Constants, start: Constant, radius: Array | float) -> list[Bound]:
    slack = problem.get("optimality_slack", Constant(0.0))
    deviation = problem.get("uniform_deviation_task", Constant(0.0))
    gap = start.value
    forms: dict[str, tuple[Terms, Iterable[Constant], str]] = {}
    if "strong_convexity_task" in problem and "distance_to_task_optimum" in problem:
        modulus, distance = problem["strong_convexity_task"], problem["distance_to_task_optimum"]
        forms["convex"] = (
            convex_upper(gap, distance.value, modulus.value, radius),
            (modulus, distance),
            "f_f is convex",
        )
    if "gradient_norm_task" in problem and "smoothness_task" in problem:
        gradient, smoothness = problem["gradient_norm_task"], problem["smoothness_task"]
        forms["smooth"] = (
            smooth_upper(gap, gradient.value, smoothness.value, radius),
            (gradient, smoothness),
            "f_f is beta_f-smooth",
        )
    if "pl_task" in problem:
        pl = problem["pl_task"]
        forms["Polyak-Lojasiewicz"] = (root_upper(gap, pl.value, radius), (pl,), "(A-PL) of f_f")
    if not forms:
        failed = (
            "needs strong_convexity_task (0 if merely convex) with distance_to_task_optimum, "
            "gradient_norm_task with smoothness_task, or pl_task"
        )
        return [_lacks(failed)]
    return [
        _upper(
            {
                **terms,
                "optimiser slack": slack.value,
                "finite samples": 2.0 * deviation.value,
            },
            form=form,
            assumptions=(MINIMISER, assumption),
            trivial=trivial_gap(problem),
            constants=(start, slack, deviation, *constants),
        )
        for form, (terms, constants, assumption) in forms.items()
    ]
