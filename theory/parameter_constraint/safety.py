"""T6: what a radius guarantees for safety."""

from __future__ import annotations

from functools import partial

import numpy as np

from theory.bound import SAFETY_START, Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array, mass_sum, tv
from theory.landscape import (
    ALIGNED_EXACT,
    ALIGNED_OPTIMAL,
    IN_BALL,
    LOGITS,
    MINIMISER,
    TABULAR_J,
    Terms,
    down,
    isolated_growth,
    no_radius,
    product,
    reach,
    tabular_landscape,
    task_landscape,
    up,
)
from theory.loss_constraint.common import trivial_gap
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.statement import statement
from theory.strategy import ParameterConstraint, Strategy

UPPER, LOWER = Direction.UPPER, Direction.LOWER
_upper = partial(bound, "T6", Quantity.SAFETY_GAP, UPPER)
_lower = partial(bound, "T6", Quantity.SAFETY_GAP, LOWER)
_lacks = partial(not_applicable, "T6", Quantity.SAFETY_GAP)
_no_growth = partial(_lacks, direction=LOWER, form="quadratic growth")


@statement("T6", Quantity.SAFETY_GAP)
def safety_within_radius(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T6: what a move of at most ``radius`` can cost in safety, without any proxy data, nats.

    Upper, for every theta in the ball, so for a hybrid too: ``G_s(theta_s) + L_s radius``;
    ``G_s(theta_s) + |grad f_s(theta_s)| radius + beta_s radius^2 / 2``; under (A-J)
    ``G_s(theta_s) + 2 J radius`` and ``G_s(theta_s) + J^2 radius^2 / 2 + 2 J radius
    E_rho_s TV(mu_s, P_theta_s)``, of which only the middle is left when ``P_theta_s = mu_s``.
    Lower, for Case II with (A-QG): ``mu_s / 2 times`` the squared distance that the minimiser is
    sure to move. For constants ``displacement`` stands in for the radius under any strategy.
    Source: T6 of docs/theorems.md.
    """
    within = reach(problem, strategy)
    if within is None:
        return [_lacks(no_radius(problem))]
    if isinstance(problem, Constants):
        return _safety_of_constants(problem, strategy, *within)
    radius = within[0]
    if isinstance(problem, QuadraticProblem):
        return _safety_of_quadratic(problem, strategy, radius)
    return _safety_of_table(problem, radius)


def _safety_of_table(problem: TabularProblem, radius: Array) -> list[Bound]:
    start = problem.safety_gap_at_aligned
    rho = problem.safety.context
    local = tabular_landscape(problem.safety, problem.aligned, start)
    lipschitz = np.minimum(np.sqrt(2.0 * (rho**2).sum(axis=-1)), np.sqrt(2.0))
    teacher = mass_sum(rho, tv(problem.safety.target, problem.aligned))
    step = TABULAR_J * np.asarray(radius)
    forms: dict[str, tuple[Terms, tuple[str, ...]]] = {
        "Lipschitz": ({"slope": up(lipschitz * radius)}, ("f_s is L_s-Lipschitz in the logits",)),
        "smooth": (
            {
                "slope": up(local.gradient.upper * radius),
                "curvature": up(0.5 * local.smoothness * np.square(radius)),
            },
            ("f_s is beta_s-smooth in the logits",),
        ),
        "(A-J)": (
            {
                "curvature": up(0.5 * np.square(step)),
                "aligned model off the safety data": up(2.0 * step * teacher),
            },
            (LOGITS,),
        ),
    }
    return [
        _upper(
            {SAFETY_START: up(start), **terms},
            form=form,
            assumptions=(IN_BALL, *assumptions),
            trivial=np.log(problem.responses),
        )
        for form, (terms, assumptions) in forms.items()
    ] + [
        _no_growth("(A-QG): a tabular f_s is flat along the logits of unused contexts and answers")
    ]


def _safety_of_quadratic(
    problem: QuadraticProblem, strategy: Strategy, radius: Array
) -> list[Bound]:
    n = problem.theta_s.shape[-1]
    largest = problem.spectrum_s[..., -1] * (1.0 + 8.0 * n * np.finfo(float).eps)
    bounds = [
        _upper(
            {"curvature": up(0.5 * largest * np.square(radius))},
            form="smooth",
            assumptions=(IN_BALL, "f_s is beta_s-smooth", ALIGNED_OPTIMAL),
        )
    ]
    growth = isolated_growth(problem)
    moved = np.minimum(radius, task_landscape(problem).distance.lower)
    if isinstance(strategy, ParameterConstraint):
        bounds.append(
            _lower(
                {"growth": down(0.5 * growth * np.square(moved))},
                form="quadratic growth",
                assumptions=("(A-QG) of f_s at an isolated theta_s", MINIMISER, "convex f_f"),
                applies=growth > 0,
                failed="(A-QG): H_s is singular, theta_s is not isolated",
            )
        )
    else:
        bounds.append(_growth_needs_case_two())
    return bounds


def _growth_needs_case_two() -> Bound:
    failed = "needs a parameter constraint: no other strategy is sure to move a known distance"
    return _no_growth(failed)


def _safety_of_constants(
    problem: Constants, strategy: Strategy, radius: Array, used: tuple[Constant, ...]
) -> list[Bound]:
    start = problem.get("safety_gap_at_aligned", Constant(0.0))
    optimal = start.value == 0
    because = (IN_BALL, ALIGNED_OPTIMAL) if optimal else (IN_BALL,)
    squared = np.square(radius)
    # form -> (terms, constants, assumption)
    forms: dict[str, tuple[Terms, tuple[Constant, ...], str]] = {}
    if "lipschitz_safety" in problem:
        slope = problem["lipschitz_safety"]
        terms = {"slope": product(slope.value, radius)}
        forms["Lipschitz"] = (terms, (slope,), "f_s is L_s-Lipschitz")
    slope = problem.get("gradient_norm_safety", Constant(0.0) if optimal else None)
    if "smoothness_safety" in problem and slope is not None:
        curvature = problem["smoothness_safety"]
        terms = {
            "slope": product(slope.value, radius),
            "curvature": product(0.5, curvature.value, squared),
        }
        forms["smooth"] = (terms, (slope, curvature), "f_s is beta_s-smooth")
    if "logit_lipschitz" in problem:
        logits = problem["logit_lipschitz"]
        terms = {"slope": product(2.0, logits.value, radius)}
        forms["(A-J), Lipschitz"] = (terms, (logits,), LOGITS)
        if optimal:
            terms = {"curvature": product(0.5, np.square(product(logits.value, radius)))}
            forms["(A-J)"] = (terms, (logits,), f"{LOGITS}; {ALIGNED_EXACT}")
    bounds = [
        _upper(
            {SAFETY_START: start.value, **terms},
            form=form,
            assumptions=(*because, *assumption.split("; ")),
            trivial=trivial_gap(problem),
            constants=(start, *constants, *used),
        )
        for form, (terms, constants, assumption) in forms.items()
    ]
    if not forms:
        failed = (
            "needs lipschitz_safety, smoothness_safety (with gradient_norm_safety where the "
            "aligned model is not optimal) or logit_lipschitz"
        )
        bounds.append(_lacks(failed))
    return bounds + _growth_of_constants(problem, strategy)


def _growth_of_constants(problem: Constants, strategy: Strategy) -> list[Bound]:
    """(iii): the minimiser is on the sphere, or at a stationary point, which is not near."""
    if not isinstance(strategy, ParameterConstraint):
        return [_growth_needs_case_two()]
    zero = Constant(0.0)
    slack = problem.get("optimality_slack", zero)
    deviation = problem.get("uniform_deviation_task", zero)
    growth = problem.get("quadratic_growth_safety")
    failed = ""
    if growth is None:
        failed = "needs quadratic_growth_safety"
    elif slack.value > 0 or deviation.value > 0:
        failed = (
            "optimality_slack or uniform_deviation_task > 0: a near-minimiser may have stayed "
            "closer to theta_s"
        )
    routes: list[tuple[float, tuple[Constant, ...], str]] = []
    if "distance_to_task_optimum" in problem and "strong_convexity_task" in problem:
        distance = problem["distance_to_task_optimum"]
        used = (distance, problem["strong_convexity_task"])
        routes.append((distance.value, used, "f_f is convex"))
    if "gradient_norm_task" in problem and "smoothness_task" in problem:
        slope, curvature = problem["gradient_norm_task"], problem["smoothness_task"]
        if curvature.value > 0 or slope.value > 0:
            nearest = slope.value / curvature.value if curvature.value > 0 else np.inf
            routes.append((nearest, (slope, curvature), "f_f is beta_f-smooth"))
    if not routes and not failed:
        failed = (
            "nothing says that the constraint is active: needs distance_to_task_optimum with "
            "strong_convexity_task, or gradient_norm_task with smoothness_task"
        )
    if failed or growth is None:
        return [_no_growth(failed)]
    return [
        _lower(
            {
                "growth": product(
                    0.5, growth.value, np.square(np.minimum(strategy.radius, stationary))
                )
            },
            form=f"quadratic growth, {assumption}",
            assumptions=("(A-QG) of f_s at an isolated theta_s", MINIMISER, assumption),
            constants=(growth, slack, deviation, *used),
        )
        for stationary, used, assumption in routes
    ]
