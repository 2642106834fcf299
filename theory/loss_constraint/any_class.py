"""Case I for any model class: T1 (value gap and mismatch) and T2 (comparators)."""

from __future__ import annotations

from functools import partial

import numpy as np

from theory.bound import SAFETY_START, Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array, kl, mass_sum, tv
from theory.exact import Exact, exact
from theory.landscape import down, isolated_growth, task_landscape, up
from theory.loss_constraint.common import (
    MINIMISER,
    NO_LAMBDA,
    TABULAR,
    finite_samples,
    per_lambda,
    ratio,
    times,
    trivial_gap,
)
from theory.problem import (
    Constant,
    Constants,
    Distribution,
    Problem,
    QuadraticProblem,
    TabularProblem,
)
from theory.quadratic import comparators, solve, start
from theory.statement import statement
from theory.strategy import Hybrid, LossConstraint, Strategy

UPPER = Direction.UPPER
_safety = partial(bound, "T1", Quantity.SAFETY_GAP, UPPER)
_growth = partial(bound, "T1", Quantity.PROXY_SAFETY_GAP, UPPER, form="quadratic growth")
_lacks = partial(not_applicable, "T1", Quantity.SAFETY_GAP)
_kept = partial(bound, "T2", Quantity.PROXY_SAFETY_GAP, UPPER, form="constrained")
_chord = partial(bound, "T2", Quantity.CAPABILITY_GAP, UPPER, form="constrained")
_no_comparator = partial(not_applicable, "T2", Quantity.CAPABILITY_GAP)

# "task" or "proxy" -> the gap of that comparator, nats, and the constant that gives it.
_Found = dict[str, tuple[Array | float, Constant]]


@statement("T1", Quantity.SAFETY_GAP, under=(LossConstraint, Hybrid), failed=NO_LAMBDA)
def value_gap(problem: Problem, strategy: LossConstraint | Hybrid) -> list[Bound]:
    """T1: ``G_s <= G_s(theta_s) + value gap / lam + mismatch of proxy and safety data``, nats.

    The value gap is ``f_f(theta_s) - f_f(theta_lambda) + delta``. The mismatch is
    ``osc(h) TV(D_s, D_hat_s)`` with ``h = l(theta_lambda) - l(theta_s)``, ``osc(h) <= 2B``; or by
    Pinsker ``osc(h) sqrt(KL / 2)``; or split into its context and its teacher part. Any model
    class; for a tabular problem ``h`` is known, for constants ``2B`` stands in. A hybrid obeys it
    too. Form "quadratic growth" is T1(iv). Source: T1 of docs/theorems.md.
    """
    if isinstance(problem, Constants):
        return _value_gap_constants(problem, strategy)
    solution = exact(problem, strategy)
    if solution is None:
        failed = "the minimiser of a tabular hybrid has no closed form, so osc(h) is not known"
        return [_lacks(failed)]
    if isinstance(problem, QuadraticProblem):
        return _value_gap_quadratic(problem, strategy)
    return _value_gap_tabular(problem, solution)


def _value_gap_tabular(problem: TabularProblem, solution: Exact) -> list[Bound]:
    safety, proxy = problem.safety, problem.proxy
    joint_safety = safety.context[..., None] * safety.target
    joint_proxy = proxy.context[..., None] * proxy.target
    differs = joint_safety != joint_proxy
    with np.errstate(divide="ignore", invalid="ignore"):
        # l(theta_lambda) - l(theta_s); only where the two measures differ can it matter.
        change = np.log(problem.aligned) - np.log(solution.policy)
    change = np.where(np.isnan(change), 0.0, change)  # both policies give probability zero
    highest = np.where(differs, change, -np.inf).max(axis=(-2, -1))
    lowest = np.where(differs, change, np.inf).min(axis=(-2, -1))
    with np.errstate(invalid="ignore"):
        oscillation = np.where(differs.any(axis=(-2, -1)), highest - lowest, 0.0)
    oscillation = np.where(np.isnan(oscillation), np.inf, oscillation)  # infinite everywhere
    start = problem.capability_gap_at_aligned
    with np.errstate(invalid="ignore"):
        gained = np.where(np.isinf(start), np.inf, start - solution.capability_gap)
    common = {
        SAFETY_START: problem.safety_gap_at_aligned,
        "value gap / lambda": per_lambda(gained, solution.lam),
    }
    joint_tv = 0.5 * np.abs(joint_safety - joint_proxy).sum(axis=(-2, -1))
    context_tv = tv(safety.context, proxy.context)
    teacher_tv = mass_sum(safety.context, tv(safety.target, proxy.target))
    divergence = np.minimum(_joint_kl(safety, proxy), _joint_kl(proxy, safety))
    assumptions = (MINIMISER, "osc(h) of the exact minimiser")
    forms = {
        "total variation": {"proxy mismatch": times(joint_tv, oscillation)},
        "context and teacher": {
            "context mismatch": times(context_tv, oscillation),
            "teacher mismatch": times(teacher_tv, oscillation),
        },
        "Kullback-Leibler": {"proxy mismatch": times(np.sqrt(0.5 * divergence), oscillation)},
    }
    return [
        _safety(
            {**common, **mismatch},
            form=form,
            assumptions=assumptions,
            trivial=np.log(problem.responses),
            applies=solution.lam > 0,
            failed="epsilon leaves the loss constraint slack: lambda is 0",
        )
        for form, mismatch in forms.items()
    ]


def _joint_kl(first: Distribution, second: Distribution) -> Array:
    """``KL`` of joint distributions by the chain rule (T1 iii), nats."""
    return kl(first.context, second.context) + mass_sum(
        first.context, kl(first.target, second.target)
    )


def _value_gap_quadratic(
    problem: QuadraticProblem, strategy: LossConstraint | Hybrid
) -> list[Bound]:
    begin, gaps = start(problem).gap.upper, solve(problem, strategy)
    gained = np.maximum(begin - gaps.capability.lower, 0.0)
    # Any multiplier below the true one serves: the front is convex.
    lam = gaps.lam.lower
    bounds = [
        _safety(
            {"value gap / lambda": up(per_lambda(gained, lam))},
            form="perfect proxy",
            assumptions=(MINIMISER, "the proxy is the safety data"),
            applies=lam > 0,
            failed="epsilon leaves the loss constraint slack: lambda is 0",
        )
    ]
    growth = isolated_growth(problem)
    # On the sublevel set of f_f at theta_s, which holds the whole segment to theta_s.
    lipschitz = np.sqrt(2.0 * task_landscape(problem).smoothness * begin)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        decay = up(2.0 * lipschitz**2 / growth / lam / lam)
    bounds.append(
        _growth(
            {"L_f^2 / lambda^2": np.where(np.isnan(decay), 0.0, decay)},
            assumptions=(MINIMISER, "(A-QG) of f_s", "f_f Lipschitz on its sublevel set"),
            applies=(growth > 0) & (lam > 0) & isinstance(strategy, LossConstraint),
            failed="(A-QG): H_s is singular, or lambda is 0, or a radius binds",
        )
    )
    return bounds


def _value_gap_constants(problem: Constants, strategy: LossConstraint | Hybrid) -> list[Bound]:
    lam = strategy.lam
    if lam is None:
        return [_lacks("needs lam: epsilon gives T2's form")]
    bounds: list[Bound] = []
    slack = problem.get("optimality_slack", Constant(0.0))
    start = problem.get("safety_gap_at_aligned", Constant(0.0))
    deviation = problem.get("uniform_deviation_safety", Constant(0.0))
    task_deviation = problem.get("uniform_deviation_task", Constant(0.0))
    gap = problem.get("capability_gap_at_aligned")
    if gap is None:
        failed = "needs capability_gap_at_aligned"
        bounds.append(_lacks(failed))
    else:
        common = {
            SAFETY_START: start.value,
            "value gap / lambda": (gap.value + slack.value) / lam,
            "finite samples": 2.0 * deviation.value + 2.0 * task_deviation.value / lam,
        }
        used = (slack, start, deviation, task_deviation, gap)
        forms = mismatch_of_constants(problem)
        bounds += [
            _safety(
                {**common, **terms},
                form=form,
                assumptions=(MINIMISER, assumption),
                trivial=trivial_gap(problem),
                constants=(*used, *constants),
            )
            for form, (terms, constants, assumption) in forms.items()
        ]
        if not forms:
            failed = "needs loss_range and tv (or kl), or wasserstein and loss_lipschitz_in_data"
            bounds.append(_lacks(failed))
    growth, lipschitz = problem.get("quadratic_growth_proxy"), problem.get("lipschitz_task")
    if growth is not None and lipschitz is not None and isinstance(strategy, LossConstraint):
        terms = {
            "L_f^2 / lambda^2": ratio(
                2.0 * np.square(lipschitz.value), growth.value * np.square(lam)
            ),
            "slack / lambda": 2.0 * slack.value / np.asarray(lam),
        }
        samples, deviations = finite_samples(problem, lam)
        if np.any(samples > 0):
            terms["finite samples"] = 2.0 * samples / np.asarray(lam)
        bounds.append(
            _growth(
                terms,
                assumptions=(MINIMISER, "(A-QG) of f_hat_s", "f_f is L_f-Lipschitz"),
                trivial=trivial_gap(problem),
                constants=(growth, lipschitz, slack, *deviations),
            )
        )
    return bounds


def mismatch_of_constants(
    problem: Constants,
) -> dict[str, tuple[dict[str, Array], tuple[Constant, ...], str]]:
    """form -> (terms, the constants it used, its assumption), for those that are known."""
    forms: dict[str, tuple[dict[str, Array], tuple[Constant, ...], str]] = {}
    size = problem.get("loss_oscillation")
    bounded = "osc(h) is known"
    if size is None and "loss_range" in problem:
        given = problem["loss_range"]
        size = Constant(2.0 * given.value, given.known, given.failure_probability)
        bounded = "(A-B) losses lie in [0, B]"
    if size is not None:
        if "tv" in problem:
            mismatch = problem["tv"]
            terms = {"proxy mismatch": times(mismatch.value, size.value)}
            forms["total variation"] = (terms, (size, mismatch), bounded)
        if "tv_context" in problem and "tv_teacher" in problem:
            context, teacher = problem["tv_context"], problem["tv_teacher"]
            terms = {
                "context mismatch": times(context.value, size.value),
                "teacher mismatch": times(teacher.value, size.value),
            }
            forms["context and teacher"] = (terms, (size, context, teacher), bounded)
        if "kl" in problem:
            divergence = problem["kl"]
            terms = {"proxy mismatch": times(np.sqrt(0.5 * divergence.value), size.value)}
            forms["Kullback-Leibler"] = (terms, (size, divergence), bounded)
    if "wasserstein" in problem and "loss_lipschitz_in_data" in problem:
        distance, lipschitz = problem["wasserstein"], problem["loss_lipschitz_in_data"]
        terms = {"proxy mismatch": times(distance.value, 2.0 * lipschitz.value)}
        assumption = "the loss is Lipschitz in (x, y)"
        forms["Wasserstein"] = (terms, (distance, lipschitz), assumption)
    return forms


@statement("T2", Quantity.CAPABILITY_GAP)
def comparator(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T2: ``G_f + lam G_hat_s <= min{G_f(theta_hat_s), lam G_hat_s(theta_f)} + delta``, nats.

    Hence an upper bound on each gap, one form a comparator; for a tabular problem the best
    minimisers give sums over the contested contexts. With ``epsilon``: the constrained forms
    ``G_hat_s <= epsilon``, ``G_s <= G_s(theta_s) + epsilon + osc TV`` (through T1) and the chord
    ``G_f <= (1 - epsilon / G_hat_s(theta_f))_+ G_f(theta_hat_s)``. Source: T2.
    """
    if not isinstance(strategy, LossConstraint):
        failed = f"{NO_LAMBDA} alone" if isinstance(strategy, Hybrid) else NO_LAMBDA
        return [_no_comparator(failed)]
    slack = Constant(0.0)
    if isinstance(problem, TabularProblem):
        of_task = mass_sum(problem.proxy.context, problem.kl_proxy_task, where=problem.overlap)
        of_proxy = mass_sum(problem.task.context, problem.kl_task_proxy, where=problem.overlap)
        found: _Found = {"task": (of_task, Constant(0.0)), "proxy": (of_proxy, Constant(0.0))}
        assumptions, trivial = (TABULAR, MINIMISER), np.log(problem.responses)
    elif isinstance(problem, QuadraticProblem):
        if strategy.lam is None:
            return _constrained_quadratic(problem, strategy.strength)
        return _penalised_quadratic(problem, np.asarray(strategy.lam))
    else:
        slack = problem.get("optimality_slack", slack)
        names = {"task": "proxy_gap_at_task", "proxy": "capability_gap_at_proxy"}
        found = {
            side: (problem[name].value, problem[name])
            for side, name in names.items()
            if name in problem
        }
        assumptions, trivial = (MINIMISER,), trivial_gap(problem)
        if not found and strategy.lam is not None:
            failed = "needs proxy_gap_at_task or capability_gap_at_proxy"
            return [_no_comparator(failed)]
    if strategy.lam is None:
        epsilon = strategy.strength
        bounds = _constrained(epsilon, found, slack, assumptions, trivial)
        if not isinstance(problem, Constants):
            return bounds
        start = problem.get("safety_gap_at_aligned", Constant(0.0))
        return bounds + [
            bound(
                "T2",
                Quantity.SAFETY_GAP,
                UPPER,
                {SAFETY_START: start.value, "epsilon": epsilon} | terms,
                form=f"constrained, {form}",
                assumptions=("the loss constraint holds", assumption),
                trivial=trivial,
                constants=(start, *constants),
            )
            for form, (terms, constants, assumption) in mismatch_of_constants(problem).items()
        ]
    lam = np.asarray(strategy.lam)
    samples = finite_samples(problem, lam) if isinstance(problem, Constants) else (np.zeros(()), ())
    return _penalised(lam, found, slack, samples, assumptions, trivial)


def _penalised_quadratic(problem: QuadraticProblem, lam: Array) -> list[Bound]:
    """Comparators are near the optima: what the numbers leave of the other gap counts too."""
    bounds = []
    for side, point in comparators(problem).items():
        objective = up(point.capability + times(lam, point.safety))
        values = {
            Quantity.WEIGHTED_SUM: (objective, "G_f + lambda G_hat_s, "),
            Quantity.CAPABILITY_GAP: (objective, ""),
            Quantity.PROXY_SAFETY_GAP: (up(per_lambda(objective, lam)), ""),
        }
        bounds += [
            bound(
                "T2",
                quantity,
                UPPER,
                {f"{side} optimum": value},
                form=f"{prefix}{side} optimum",
                assumptions=(MINIMISER,),
            )
            for quantity, (value, prefix) in values.items()
        ]
    return bounds


def _constrained_quadratic(problem: QuadraticProblem, epsilon: Array | float) -> list[Bound]:
    """The chord between the two comparators, or from theta_s where the proxy's is not feasible."""
    ends, begin = comparators(problem), start(problem).gap.upper
    task, proxy = ends["task"], ends["proxy"]
    feasible = proxy.safety <= epsilon
    safest = np.where(feasible, proxy.safety, 0.0)
    dearest = np.where(feasible, proxy.capability, begin)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = (epsilon - safest) / (task.safety - safest)
        share = np.where(task.safety <= epsilon, 1.0, np.clip(down(share), 0.0, 1.0))
        chord = (1.0 - share) * dearest + share * np.minimum(task.capability, dearest)
    return [
        _kept(
            {"epsilon": epsilon},
            assumptions=("the loss constraint holds",),
        ),
        _chord(
            {"chord of the front": up(chord)},
            assumptions=(MINIMISER, "both losses are convex"),
        ),
    ]


def _penalised(
    lam: Array,
    found: _Found,
    slack: Constant,
    samples: tuple[Array, tuple[Constant, ...]],
    assumptions: tuple[str, ...],
    trivial: float,
) -> list[Bound]:
    bounds: list[Bound] = []
    extra, deviations = samples
    for side, (gap, constant) in found.items():
        objective = times(lam, gap) if side == "task" else np.asarray(gap)
        weights = {
            Quantity.WEIGHTED_SUM: (1.0, (1.0 + lam) * trivial, "G_f + lambda G_hat_s, "),
            Quantity.CAPABILITY_GAP: (1.0, trivial, ""),
            Quantity.PROXY_SAFETY_GAP: (per_lambda(1.0, lam), trivial, ""),
        }
        for quantity, (weight, limit, prefix) in weights.items():
            value = (
                np.asarray(gap)
                if quantity is Quantity.PROXY_SAFETY_GAP and side == "task"
                else times(weight, objective)
            )
            terms = {f"{side} optimum": value, "optimiser slack": times(weight, slack.value)}
            if np.any(extra > 0):
                terms["finite samples"] = times(weight, extra)
            bounds.append(
                bound(
                    "T2",
                    quantity,
                    UPPER,
                    terms,
                    form=f"{prefix}{side} optimum",
                    assumptions=assumptions,
                    trivial=limit,
                    constants=(constant, slack, *deviations),
                )
            )
    return bounds


def _constrained(
    epsilon: Array | float,
    found: _Found,
    slack: Constant,
    assumptions: tuple[str, ...],
    trivial: float,
) -> list[Bound]:
    bounds = [
        _kept(
            {"epsilon": epsilon},
            assumptions=("the loss constraint holds",),
            trivial=trivial,
        )
    ]
    if len(found) == 2:
        (of_task, task), (of_proxy, proxy) = found["task"], found["proxy"]
        with np.errstate(divide="ignore", invalid="ignore"):
            used = np.where(np.asarray(of_task) > 0, epsilon / np.asarray(of_task), np.inf)
            left = np.maximum(1.0 - used, 0.0)
            chord = np.where(left == 0, 0.0, left * of_proxy)
        bounds.append(
            _chord(
                {"chord of the front": chord, "optimiser slack": slack.value},
                assumptions=(*assumptions, "both losses are convex"),
                trivial=trivial,
                constants=(task, proxy, slack),
            )
        )
    return bounds
