"""Case I in the tabular class: T3 (exact mixture), T4 (overlap mass), T5 (true safety gap)."""

from __future__ import annotations

from functools import partial, reduce

import numpy as np

from theory.bound import Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array, chi_square, kl, kl_shift, mass_sum, mean_ratio
from theory.exact import Exact, exact, mixture_shift, mixture_weights
from theory.loss_constraint.common import (
    MINIMISER,
    NO_LAMBDA,
    TABULAR,
    not_exactly_minimised,
    ratio,
    times,
    trivial_gap,
)
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.quadratic import solve
from theory.statement import statement
from theory.strategy import Hybrid, LossConstraint, Strategy

UPPER, LOWER, EQUALITY = Direction.UPPER, Direction.LOWER, Direction.EQUALITY
_no_overlap = partial(not_applicable, "T4", Quantity.PROXY_SAFETY_GAP)
_upper = partial(bound, "T5", Quantity.SAFETY_GAP, UPPER)
_no_floor = partial(not_applicable, "T5", Quantity.SAFETY_GAP)
_NOT_TABULAR = f"{TABULAR}: not a tabular problem"


@statement("T3", Quantity.WEIGHTED_SUM, of=(TabularProblem, QuadraticProblem), failed=_NOT_TABULAR)
def mixture(problem: TabularProblem | QuadraticProblem, strategy: Strategy) -> list[Bound]:
    """T3: the exact tabular minimiser ``(1 - w) mu_f + w mu_hat_s`` and what it costs, nats.

    Equalities for both gaps and ``G_f + lam G_hat_s = V(lam)``; below it
    ``2 sum rho_f lam rho_hat_s / (rho_f + lam rho_hat_s) tau^2``, above it
    ``sum (rho_f + lam rho_hat_s) h_b(w) tau``, both over the contested contexts. For a
    hybrid of lam ``V`` stays a lower bound. A quadratic problem has closed forms of its own for
    every strategy (form "quadratic model"). Source: T3 and the quadratic model.
    """
    if isinstance(problem, QuadraticProblem):
        return _quadratic_model(problem, strategy)
    if not isinstance(strategy, LossConstraint | Hybrid):
        return [not_applicable("T3", Quantity.WEIGHTED_SUM, NO_LAMBDA)]
    hybrid = isinstance(strategy, Hybrid)
    solution = exact(
        problem, LossConstraint(lam=strategy.lam) if isinstance(strategy, Hybrid) else strategy
    )
    lam = np.asarray(solution.lam)
    multiplied = (lam > 0) & np.isfinite(lam)
    failed = "epsilon is slack or zero: no finite lambda stands for it"
    with np.errstate(invalid="ignore"):
        terms = {
            "capability gap": solution.capability_gap,
            "lambda x proxy safety gap": lam * solution.proxy_safety_gap,
        }
    total = "G_f + lambda G_hat_s"
    if hybrid:
        return [
            bound(
                "T3",
                Quantity.WEIGHTED_SUM,
                LOWER,
                terms,
                form=f"{total}, any policy",
                assumptions=("gaps are relative to the entropies",),
            )
        ]
    bounds = [
        bound("T3", Quantity.PROXY_SAFETY_GAP, EQUALITY, {"contested": solution.proxy_safety_gap}),
        bound("T3", Quantity.CAPABILITY_GAP, EQUALITY, {"contested": solution.capability_gap}),
        bound(
            "T3",
            Quantity.WEIGHTED_SUM,
            EQUALITY,
            terms,
            form=total,
            applies=multiplied,
            failed=failed,
        ),
    ]
    task, proxy = problem.task.context, problem.proxy.context
    tau, tau_floor = problem.disagreement, problem.disagreement_floor
    toward_proxy, toward_task = mixture_weights(problem, lam)
    with np.errstate(invalid="ignore"):
        joint = task + lam[..., None] * proxy
        pinsker = mass_sum(task, 2.0 * toward_proxy * tau_floor**2, where=problem.overlap)
        entropy = mass_sum(
            joint, _stable_entropy(toward_proxy, toward_task) * tau, where=problem.overlap
        )
    limit = (1.0 + lam) * np.log(problem.responses)
    side = partial(
        bound,
        "T3",
        Quantity.WEIGHTED_SUM,
        assumptions=(TABULAR,),
        applies=multiplied,
        failed=failed,
    )
    return [
        *bounds,
        side(LOWER, {"contested": pinsker}, form=f"{total}, Pinsker"),
        side(UPPER, {"contested": entropy}, form=f"{total}, entropy", trivial=limit),
    ]


def _quadratic_model(problem: QuadraticProblem, strategy: Strategy) -> list[Bound]:
    gaps = solve(problem, strategy)
    found = {
        Quantity.SAFETY_GAP: gaps.safety,
        Quantity.PROXY_SAFETY_GAP: gaps.safety,
        Quantity.CAPABILITY_GAP: gaps.capability,
    }
    return [
        bound(
            "T3",
            quantity,
            EQUALITY,
            {"minimiser": gap.value},
            form="quadratic model",
            assumptions=(gaps.which,) if gaps.which else (),
            error=gap.error,
            applies=gap.resolved,
            failed=gap.in_words(),
        )
        for quantity, gap in found.items()
    ]


def _stable_entropy(w: Array, rest: Array) -> Array:
    """``h_b(w)`` from ``w`` and ``1 - w``, each accurate, so that neither end cancels."""
    small, large = np.minimum(w, rest), np.maximum(w, rest)
    with np.errstate(divide="ignore", invalid="ignore"):
        inner = -small * np.log(small) - large * np.log1p(-small)
    return np.where(small > 0, inner, 0.0)


@statement("T4", Quantity.PROXY_SAFETY_GAP, under=(LossConstraint,), failed=NO_LAMBDA)
def overlap_mass(problem: Problem, strategy: LossConstraint) -> list[Bound]:
    """T4: both gaps between sums of overlap mass times disagreement, nats; no bounded loss.

    Over contested contexts: ``G_hat_s <= sum rho_hat_s tau log(1 + rho_f / (lam rho_hat_s))
    <= sum rho_f tau / lam``, ``G_f`` mirrored; the mass form ``b log(1 + a / (lam b))`` needs only
    ``a = rho_f(O)``, ``b = rho_hat_s(O)``; the divergence form replaces tau log(.) by
    ``(1 - w) KL``; Pinsker's from below. Source: T4.
    """
    if isinstance(problem, Constants):
        return _overlap_mass_constants(problem, strategy)
    if not isinstance(problem, TabularProblem):
        return [_no_overlap(f"{TABULAR}: not tabular")]
    lam = np.asarray(exact(problem, strategy).lam)
    task, proxy, contested = problem.task.context, problem.proxy.context, problem.overlap
    tau, tau_floor = problem.disagreement, problem.disagreement_floor
    toward_proxy, toward_task = mixture_weights(problem, lam)
    a, b = mass_sum(task, contested), mass_sum(proxy, contested)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        odds = np.where(contested, lam[..., None] * (proxy / task), 0.0)
        forms = {
            (Quantity.PROXY_SAFETY_GAP, UPPER): {
                "logarithm": mass_sum(proxy, tau * np.log1p(1.0 / odds), where=contested),
                "linear": mass_sum(task, tau, where=contested) / lam,
                "mass": np.where(b > 0, b * np.log1p(a / (lam * b)), 0.0),
                "divergence": mass_sum(
                    proxy, times(toward_task, problem.kl_proxy_task), where=contested
                ),
            },
            (Quantity.CAPABILITY_GAP, UPPER): {
                "logarithm": mass_sum(task, tau * np.log1p(odds), where=contested),
                "linear": lam * mass_sum(proxy, tau, where=contested),
                "mass": np.where(a > 0, a * np.log1p(lam * b / a), 0.0),
                "divergence": mass_sum(
                    task, times(toward_proxy, problem.kl_task_proxy), where=contested
                ),
            },
            (Quantity.PROXY_SAFETY_GAP, LOWER): {
                "Pinsker": 2.0 * mass_sum(proxy, (toward_task * tau_floor) ** 2, where=contested),
            },
            (Quantity.CAPABILITY_GAP, LOWER): {
                "Pinsker": 2.0 * mass_sum(task, (toward_proxy * tau_floor) ** 2, where=contested),
            },
        }
    return [
        bound(
            "T4",
            quantity,
            direction,
            {"contested": value},
            form=form,
            assumptions=(TABULAR, MINIMISER),
            trivial=np.log(problem.responses),
            applies=(lam > 0) & np.isfinite(lam),
            failed="epsilon is slack or zero: no finite lambda stands for it",
        )
        for (quantity, direction), named in forms.items()
        for form, value in named.items()
    ]


def _overlap_mass_constants(problem: Constants, strategy: LossConstraint) -> list[Bound]:
    a, b = problem.get("overlap_task_mass"), problem.get("overlap_proxy_mass")
    if a is None or b is None or strategy.lam is None:
        failed = "needs lam, overlap_task_mass and overlap_proxy_mass"
        return [_no_overlap(failed)]
    if failed := not_exactly_minimised(problem):
        return [_no_overlap(failed)]
    lam = np.asarray(strategy.lam)
    safety = b.value * np.log1p(ratio(a.value, lam * b.value)) if b.value > 0 else 0.0 * lam
    capability = a.value * np.log1p(ratio(b.value, a.value / lam)) if a.value > 0 else 0.0 * lam
    return [
        bound(
            "T4",
            quantity,
            UPPER,
            {"contested": value},
            form="mass",
            assumptions=(TABULAR, MINIMISER),
            trivial=trivial_gap(problem),
            constants=(a, b),
        )
        for quantity, value in (
            (Quantity.PROXY_SAFETY_GAP, safety),
            (Quantity.CAPABILITY_GAP, capability),
        )
    ]


@statement("T5", Quantity.SAFETY_GAP, of=(TabularProblem, Constants), failed=_NOT_TABULAR)
def safety_floor(problem: TabularProblem | Constants, strategy: Strategy) -> list[Bound]:
    """T5: the true safety gap, exactly and from above by its lambda-free floor Phi, nats.

    Exact terms: contested, teacher mismatch, forgotten (task contexts the proxy does not cover),
    untouched. ``G_s <= Phi + sum_O rho_s log(1 + rho_f / (lam rho_hat_s)) <= Phi + r rho_f(O) /
    lam``; with the same teacher and coverage ``rho_s <= r rho_hat_s`` also
    ``G_s <= (r / lam) sum_O rho_f tau``. Source: T5.
    """
    if isinstance(problem, Constants):
        return _safety_floor_constants(problem, strategy)
    if not isinstance(strategy, LossConstraint):
        return [_no_floor(NO_LAMBDA)]
    solution = exact(problem, strategy)
    lam = np.asarray(solution.lam)
    rho_s, task, proxy = problem.safety.context, problem.task.context, problem.proxy.context
    contested = problem.overlap
    shares = _safety_gap_terms(problem, solution)
    floor = floor_terms(problem)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        log_term = mass_sum(rho_s, np.log1p(task / (lam[..., None] * proxy)), where=contested)
        shared = np.where(contested & (rho_s > 0), rho_s / proxy, 0.0).max(axis=-1)
        linear = shared * mass_sum(task, contested) / lam
        coverage = np.where(rho_s > 0, rho_s / proxy, 0.0).max(axis=-1)
        same = coverage * mass_sum(task, problem.disagreement, where=contested) / lam
    trivial = np.log(problem.responses)
    covered = problem.same_teacher & np.isfinite(coverage)
    return [
        bound("T5", Quantity.SAFETY_GAP, EQUALITY, shares, assumptions=(TABULAR, MINIMISER)),
        *(
            _upper(
                {**floor, "contested": contested_term},
                form=form,
                assumptions=(TABULAR, MINIMISER),
                trivial=trivial,
                applies=lam > 0,
                failed="epsilon leaves the loss constraint slack: lambda is 0",
            )
            for form, contested_term in (("logarithm", log_term), ("linear", linear))
        ),
        _upper(
            {"contested": same},
            form="same teacher",
            assumptions=(TABULAR, MINIMISER, "same teacher", "rho_s <= r rho_hat_s"),
            trivial=trivial,
            applies=covered & (lam > 0),
            failed="same teacher and coverage: the proxy's targets differ from the safety data's, "
            "or it misses safety contexts",
        ),
    ]


def _safety_gap_terms(problem: TabularProblem, solution: Exact) -> dict[str, Array]:
    """``G_s(P_lambda)`` split into contested and the lambda-free rest, ``[...]`` each."""
    off = floor_terms(problem)
    rho_s = problem.safety.context
    rest = mass_sum(
        rho_s,
        kl(problem.safety.target, problem.proxy.target),
        where=(problem.proxy.context > 0) & (problem.task.context == 0),
    )
    return {
        "contested": _contested_safety_gap(problem, solution),
        "teacher mismatch": rest,
        "forgotten": off["forgotten"],
        "untouched": off["untouched"],
    }


def _contested_safety_gap(problem: TabularProblem, solution: Exact) -> Array:
    shift = mixture_shift(problem, *mixture_weights(problem, solution.lam))
    divergence = kl_shift(problem.safety.target, shift, solution.policy)
    return mass_sum(problem.safety.context, divergence, where=problem.overlap)


def floor_terms(problem: TabularProblem) -> dict[str, Array]:
    """The lambda-free floor Phi of T5, by cause, nats ``[...]``: the terms add up to Phi.

    ``teacher mismatch`` where the proxy has mass, ``forgotten`` where only the task has,
    ``untouched`` where neither has (0 unless the aligned model is off its own targets).
    """
    rho_s, task, proxy = problem.safety.context, problem.task.context, problem.proxy.context
    target = problem.safety.target
    return {
        "teacher mismatch": mass_sum(rho_s, kl(target, problem.proxy.target), where=proxy > 0),
        "forgotten": mass_sum(
            rho_s, kl(target, problem.task.target), where=(task > 0) & (proxy == 0)
        ),
        "untouched": mass_sum(rho_s, kl(target, problem.aligned), where=(task == 0) & (proxy == 0)),
    }


def _safety_floor_constants(problem: Constants, strategy: Strategy) -> list[Bound]:
    needed = ("proxy_floor", "coverage_ratio", "overlap_task_mass")
    if not isinstance(strategy, LossConstraint) or strategy.lam is None:
        return [_no_floor(NO_LAMBDA)]
    missing = [name for name in needed if name not in problem]
    if missing:
        return [_no_floor(f"needs {', '.join(missing)}")]
    if failed := not_exactly_minimised(problem):
        return [_no_floor(failed)]
    floor, coverage, mass = (problem[name] for name in needed)
    forms: dict[str, tuple[Array, tuple[Constant, ...]]] = {
        "linear": (
            times(coverage.value, mass.value) / np.asarray(strategy.lam),
            (floor, coverage, mass),
        )
    }
    if "overlap_safety_mass" in problem:
        shared = problem["overlap_safety_mass"]
        with np.errstate(divide="ignore", invalid="ignore"):
            inner = forms["linear"][0] / shared.value
            value = np.where(shared.value > 0, shared.value * np.log1p(inner), 0.0)
        forms["logarithm"] = (value, (floor, coverage, mass, shared))
    return [
        _upper(
            {"floor": floor.value, "contested": value},
            form=form,
            assumptions=(TABULAR, MINIMISER),
            trivial=trivial_gap(problem),
            constants=constants,
        )
        for form, (value, constants) in forms.items()
    ]


def safety_gap_expansion(problem: TabularProblem) -> tuple[Array, Array, Array]:
    """``G_s = Phi + c_1 / lam + c_2 / lam^2 + ...``: ``(Phi, c_1, c_2)``, nats, ``[...]`` each.

    ``c_1 = sum_O rho_s rho_f / rho_hat_s (1 - E_mu_f[mu_s / mu_hat_s])``: negative means that a
    finite lambda beats lambda = inf (T5 c). ``c_2`` is exact where teachers agree, there
    ``1/2 sum_O rho_s (rho_f / rho_hat_s)^2 chi2(mu_f || mu_s)`` and ``c_1 = 0``; else NaN.
    Full supports are assumed. Source: T5.
    """
    rho_s, contested = problem.safety.context, problem.overlap
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = np.where(contested, problem.task.context / problem.proxy.context, 0.0)
    pull = mean_ratio(problem.task.target, problem.safety.target, problem.proxy.target)
    same = problem.same_teacher
    first = mass_sum(rho_s, odds * (1.0 - pull), where=contested)
    second = 0.5 * mass_sum(
        rho_s,
        odds**2 * chi_square(problem.task.target, problem.safety.target),
        where=contested,
    )
    floor = reduce(np.add, floor_terms(problem).values())
    return floor, np.where(same, 0.0, first), np.where(same, second, np.nan)
