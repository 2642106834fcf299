"""What no fine-tune can beat: no free lunch (T10) and the price of a proxy (T11)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from theory.bound import Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array, mass_sum, tv
from theory.exact import exact, with_true_proxy
from theory.landscape import down, isolated_growth, product, task_landscape, up
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.quadratic import least_sum, solve, start
from theory.statement import statement
from theory.strategy import LossConstraint, ParameterConstraint, Strategy

LOWER = Direction.LOWER
_roots = partial(bound, "T10", Quantity.SQRT_SUM, LOWER, unit="sqrt(nats)")
_no_roots = partial(not_applicable, "T10", Quantity.SQRT_SUM, direction=LOWER)
_no_price = partial(not_applicable, "T11", Quantity.SAFETY_GAP, direction=LOWER)
_ENTROPIES = "gaps are relative to the entropies"
_GROWTH = "(A-QG) of f_s at its only minimiser theta_s"
_SMOOTH = "f_f is beta_f-smooth everywhere"
_PARAMETRIC_NEEDS = (
    "needs quadratic_growth_safety > 0, smoothness_task and capability_gap_at_aligned"
)
_NO_PARAMETRIC = "(A-QG) at an isolated theta_s: a tabular f_s has none"


@statement("T10", Quantity.SQRT_SUM)
def no_free_lunch(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T10: what every policy pays for serving both data sets, whatever the strategy, nats.

    Weighted: ``G_f + lam G_s`` (the *true* safety gap; lam of the strategy, else 1) is at least
    its minimum over all policies, the Pareto front's. Overlap: ``sqrt G_f + sqrt G_s >= sqrt 2
    kappa`` with ``kappa^2 = sum min{rho_f, rho_s} TV(mu_f, mu_s)^2``. Parametric:
    ``sqrt G_f + sqrt G_s >= sqrt G_f(theta_s) / max(1, sqrt(beta_f / mu_s))``. For similar rather
    than shared contexts see :func:`soft_overlap`. Source: T10 of docs/theorems.md.
    """
    return [
        _weighted(problem, strategy),
        _overlap(problem),
        _parametric(problem),
    ]


def _weighted(problem: Problem, strategy: Strategy) -> Bound:
    if isinstance(problem, Constants):
        failed = "the front needs a tabular or a quadratic problem"
        return not_applicable(
            "T10", Quantity.WEIGHTED_SUM, failed, direction=LOWER, form="weighted"
        )
    given = None if isinstance(strategy, ParameterConstraint) else strategy.lam
    lam = 1.0 if given is None else given
    if isinstance(problem, QuadraticProblem):
        capability, safety = least_sum(problem, lam)
    else:
        solution = exact(with_true_proxy(problem), LossConstraint(lam=lam))
        capability, safety = solution.capability_gap, lam * solution.safety_gap
    weight = "lambda" if given is not None else "1"
    return bound(
        "T10",
        Quantity.WEIGHTED_SUM,
        LOWER,
        {
            "capability gap on the front": down(capability),
            "lambda x safety gap on the front": down(safety),
        },
        form=f"G_f + {weight} G_s, any policy",
        assumptions=(_ENTROPIES,) if isinstance(problem, TabularProblem) else (),
    )


def disagreement_weighted_overlap(problem: TabularProblem) -> Array:
    """``kappa = sqrt(sum_x min{rho_f, rho_s} TV(mu_f, mu_s)^2)``, ``[...]`` (T10 b)."""
    shared = np.minimum(problem.task.context, problem.safety.context)
    disagreement = tv(problem.task.target, problem.safety.target, side="lower")
    return np.sqrt(mass_sum(shared, disagreement**2))


def _overlap(problem: Problem) -> Bound:
    found = _kappa(problem)
    if found is None:
        failed = (
            "needs disagreement_weighted_overlap"
            if isinstance(problem, Constants)
            else "a quadratic model has no contexts to overlap"
        )
        return _no_roots(failed, form="overlap")
    kappa, used = found
    return _roots(
        {"disagreement on shared contexts": down(np.sqrt(2.0) * kappa)},
        form="overlap",
        assumptions=(_ENTROPIES,),
        constants=used,
    )


def _kappa(problem: Problem) -> tuple[ArrayLike, tuple[Constant, ...]] | None:
    if isinstance(problem, TabularProblem):
        return disagreement_weighted_overlap(problem), ()
    if isinstance(problem, Constants) and "disagreement_weighted_overlap" in problem:
        constant = problem["disagreement_weighted_overlap"]
        return constant.value, (constant,)
    return None


def _parametric(problem: Problem) -> Bound:
    found = _exchange_rate(problem)
    if isinstance(found, str):
        return _no_roots(found, form="parametric")
    gap, rate, used = found
    return _roots(
        {"distance of the two optima": down(np.sqrt(gap) / np.maximum(1.0, up(rate)))},
        form="parametric",
        assumptions=(_GROWTH, _SMOOTH),
        constants=used,
        applies=np.isfinite(rate),
        failed="(A-QG): H_s is singular, theta_s is not isolated",
    )


def _exchange_rate(problem: Problem) -> tuple[Array, Array, tuple[Constant, ...]] | str:
    """``G_f(theta_s)``, ``sqrt(beta_f / mu_s)`` and the constants used, or what is missing."""
    if isinstance(problem, TabularProblem):
        return _NO_PARAMETRIC
    if isinstance(problem, QuadraticProblem):
        largest = task_landscape(problem).smoothness
        with np.errstate(divide="ignore", invalid="ignore"):
            rate = np.sqrt(largest / isolated_growth(problem))
        return start(problem).gap.lower, np.where(np.isnan(rate), np.inf, rate), ()
    names = ("capability_gap_at_aligned", "smoothness_task", "quadratic_growth_safety")
    if any(name not in problem for name in names):
        return _PARAMETRIC_NEEDS
    gap, smoothness, growth = (problem[name] for name in names)
    if growth.value == 0 or np.isinf(smoothness.value) or np.isinf(gap.value):
        return f"{_PARAMETRIC_NEEDS}, finite"
    rate = np.asarray(np.sqrt(smoothness.value / growth.value))
    return np.asarray(gap.value), rate, (gap, smoothness, growth)


def capability_floor_given_safety(problem: Problem, safety_gap: ArrayLike) -> list[Bound]:
    """T10 solved for ``G_f``: the least capability gap at a safety gap of at most ``safety_gap``.

    Forms "overlap" ``(sqrt 2 kappa - sqrt s)_+^2``, "parametric" ``(sqrt G_f(theta_s) -
    sqrt(beta_f / mu_s) sqrt s)_+^2`` and, for tabular and quadratic problems, "front", which is
    attained. Nats. Raises ValueError on a negative safety gap.
    """
    s = np.asarray(safety_gap, dtype=np.float64)
    if not (s >= 0).all():
        raise ValueError("a safety gap cannot be negative.")
    bounds = []
    found = _kappa(problem)
    if found is not None:
        kappa, used = found
        floor = np.maximum(down(np.sqrt(2.0) * kappa) - np.sqrt(s), 0.0)
        bounds.append(_floor({"overlap": np.square(floor)}, "overlap", (_ENTROPIES,), used))
    rate = _exchange_rate(problem)
    if not isinstance(rate, str):
        gap, exchange, used = rate
        possible = np.isfinite(exchange)
        cost = product(up(np.where(possible, exchange, 0.0)), np.sqrt(s))
        floor = np.where(possible, np.maximum(down(np.sqrt(gap)) - cost, 0.0), 0.0)
        bounds.append(
            _floor({"parametric": np.square(floor)}, "parametric", (_GROWTH, _SMOOTH), used)
        )
    if not isinstance(problem, Constants):
        bounds.append(_floor({"front": front_floor(problem, s)}, "front", (), ()))
    if not bounds:
        failed = f"needs disagreement_weighted_overlap; or {_PARAMETRIC_NEEDS}"
        bounds.append(not_applicable("T10", Quantity.CAPABILITY_GAP, failed, direction=LOWER))
    return bounds


def _floor(
    terms: Mapping[str, Array],
    form: str,
    assumptions: tuple[str, ...],
    used: tuple[Constant, ...],
) -> Bound:
    return bound(
        "T10",
        Quantity.CAPABILITY_GAP,
        LOWER,
        terms,
        form=form,
        assumptions=(*assumptions, "the safety gap is at most the given one"),
        constants=used,
    )


def front_floor(problem: TabularProblem | QuadraticProblem, safety_gap: ArrayLike) -> Array:
    """The Pareto front's ``v(s)`` from below, ``[...]`` nats: any multiplier gives a lower bound.

    ``v(s) >= min(G_f + lam G_s) - lam s``, at the multiplier that bisection finds.
    """
    s = np.asarray(safety_gap, dtype=np.float64)
    bounded = np.where(np.isfinite(s), s, 0.0)
    if isinstance(problem, QuadraticProblem):
        value = _quadratic_front(problem, bounded[()])
        return np.where(np.isfinite(s), value, 0.0)
    solution = exact(with_true_proxy(problem), LossConstraint(epsilon=bounded))
    # At most rounding of the bisection; where lam = 0 or inf the constraint is met exactly.
    unused = product(
        np.where(np.isfinite(solution.lam), solution.lam, 0.0),
        np.maximum(bounded - solution.safety_gap, 0.0),
    )
    value = np.maximum(down(solution.capability_gap) - unused, 0.0)
    return np.where(np.isfinite(s), value, 0.0)


def _quadratic_front(problem: QuadraticProblem, safety_gap: Array | float) -> Array:
    """``max V(lam) - lam s`` over multipliers near the one that bisection finds, from below."""
    gaps = solve(problem, LossConstraint(epsilon=safety_gap))
    known = gaps.capability.lower
    lam = np.where(np.isfinite(gaps.lam.value) & (gaps.lam.value > 0), gaps.lam.value, 1.0)
    capability, safety = least_sum(problem, lam[()])
    supported = down(capability + safety) - up(product(lam, safety_gap))
    return np.maximum(np.maximum(known, np.where(np.isfinite(supported), supported, 0.0)), 0.0)


def best_coupling(problem: TabularProblem, distances: ArrayLike, lipschitz: float) -> Array:
    """The sub-coupling ``gamma [X, X]`` that makes :func:`soft_overlap` largest, by linear program.

    ``distances [X, X]``: from safety context (row) to task context (column). One instance, small
    X: the program has ``X^2`` variables. Raises ValueError on a batch or if the solver fails.
    """
    if problem.batch_shape:
        raise ValueError("best_coupling takes one instance, not a batch.")
    gain = _soft_disagreement(problem, distances, lipschitz) ** 2
    n = gain.shape[-1]
    rows = np.kron(np.eye(n), np.ones(n))
    columns = np.kron(np.ones(n), np.eye(n))
    limits = np.concatenate([problem.safety.context, problem.task.context])
    gain /= max(gain.max(), 1e-300)  # the solver's tolerance is absolute
    found = linprog(-gain.ravel(), A_ub=np.vstack([rows, columns]), b_ub=limits, method="highs")
    if not found.success:
        raise ValueError(f"no coupling found: {found.message}")
    return _within_marginals(problem, found.x.reshape(n, n))


def _within_marginals(problem: TabularProblem, coupling: Array) -> Array:
    """Scaled down, never up, until no row exceeds rho_s and no column rho_f."""
    coupling = np.maximum(coupling, 0.0)
    for axis, limit in ((-1, problem.safety.context), (-2, problem.task.context)):
        total = coupling.sum(axis=axis)
        over = total > limit
        factor = np.where(over, down(limit / np.where(over, total, 1.0)), 1.0)
        coupling = coupling * np.expand_dims(factor, axis)
    return coupling


def _soft_disagreement(problem: TabularProblem, distances: ArrayLike, lipschitz: float) -> Array:
    """``[TV(mu_s(x), mu_f(x')) - K d(x, x')]_+``, ``[..., X, X]``."""
    distances = np.asarray(distances, dtype=np.float64)
    if not lipschitz >= 0 or not (distances >= 0).all():
        raise ValueError("distances and the Lipschitz constant cannot be negative or NaN.")
    safety, task = problem.safety.target[..., :, None, :], problem.task.target[..., None, :, :]
    return np.maximum(tv(safety, task, side="lower") - product(lipschitz, distances), 0.0)


def soft_overlap(
    problem: TabularProblem,
    distances: ArrayLike,
    lipschitz: float,
    *,
    coupling: ArrayLike | None = None,
) -> Bound:
    """T10(c): no free lunch between *similar* contexts, for policies that vary slowly.

    For every policy with ``TV(P(x), P(x')) <= K d(x, x')``, K = ``lipschitz``: ``sqrt G_f +
    sqrt G_s >= sqrt 2 (sum gamma [TV(mu_s(x), mu_f(x')) - K d(x, x')]_+^2)^(1/2)``.
    ``distances [X, X]`` and ``coupling [..., X, X]`` run from safety contexts (rows, sums at most
    rho_s) to task contexts (columns, at most rho_f); the best coupling if None. Raises ValueError
    on a coupling that exceeds its marginals. Source: T10(c) of docs/theorems.md.
    """
    gain = _soft_disagreement(problem, distances, lipschitz)
    if coupling is None:
        gamma = best_coupling(problem, distances, lipschitz)
    else:
        given = np.asarray(coupling, dtype=np.float64)
        if given.shape[-2:] != gain.shape[-2:] or not (given >= 0).all():
            raise ValueError("a coupling is a non-negative [contexts, contexts] table.")
        gamma = _within_marginals(problem, given)
        if not np.allclose(gamma, given, rtol=0, atol=1e-9):
            raise ValueError("the coupling puts more mass on a context than the data does.")
    value = np.sqrt(2.0 * (gamma * gain**2).sum(axis=(-2, -1)))
    return _roots(
        {"disagreement on similar contexts": down(value)},
        form="soft overlap",
        assumptions=(_ENTROPIES, "TV(P(x), P(x')) <= K d(x, x')"),
    )


Mismatch = Literal["context", "teacher", "teacher_exact"]


def minimax_price(eta: ArrayLike, vocabulary: ArrayLike, *, kind: Mismatch = "context") -> Array:
    """T11: the least worst-case safety gap of any procedure that sees only proxy and task, nats.

    The worst case is over safety data within total variation ``eta`` of the proxy. "context": the
    proxy misses some context, ``eta log V``. "teacher": the contexts are the same and the proxy's
    teacher is certain of its answers, ``eta log(V - 1)`` for ``V >= 3`` and
    ``log(1 + eta (1 - eta)^((1 - eta) / eta))`` for ``V = 2``. "teacher_exact": what the best hedge
    then pays, ``log(1 + (V - 1) eta (1 - eta)^((1 - eta) / eta))`` where
    ``(V - 1) (1 - eta)^(1 / eta) <= 1``, else ``eta log(V - 1)``. ``[...]`` over both arguments.
    Raises ValueError unless ``0 <= eta <= 1`` and ``vocabulary >= 2``. Source: T11.
    """
    eta, size = np.asarray(eta, dtype=np.float64), np.asarray(vocabulary, dtype=np.float64)
    if not ((eta >= 0) & (eta <= 1)).all():
        raise ValueError("eta is a total variation: it lies in [0, 1].")
    if not (size >= 2).all():
        raise ValueError("a price needs a vocabulary of at least 2 responses.")
    if kind == "context":
        return product(eta, np.log(size))
    if kind not in ("teacher", "teacher_exact"):
        raise ValueError(f"unknown kind {kind!r}: context, teacher or teacher_exact.")
    others = size - 1.0
    spread = product(eta, np.log(others))
    inner = np.clip(eta, 1e-300, 1.0 - 1e-16)
    power = np.where(eta == 1.0, 0.0, np.exp(np.log1p(-inner) / inner))  # (1 - eta)^(1 / eta)
    hedged = np.log1p(product(others, eta, np.where(eta == 1.0, 1.0, power / (1.0 - inner))))
    if kind == "teacher_exact":
        return np.where(product(others, power) <= 1.0, hedged, spread)
    return np.where(size >= 3, spread, hedged)


@statement("T11", Quantity.SAFETY_GAP)
def minimax(problem: Problem, strategy: Strategy) -> list[Bound]:
    """T11: the unavoidable price of not seeing the safety data, linear in the mismatch, nats.

    A statement about the worst safety data at the same distance from the proxy, so its bounds
    have ``scope="worst case"``; a tabular or quadratic problem fixes its safety data, and there
    the price is only told in words. Holds for every strategy. Source: T11 of docs/theorems.md.
    """
    if not isinstance(problem, Constants):
        return [_price_in_words(problem)]
    size = problem.get("vocabulary")
    if size is None or size.value < 2:
        failed = "needs a vocabulary of at least 2 responses"
        return [_no_price(failed)]
    kinds: dict[Mismatch, tuple[str, str]] = {
        "context": ("tv", "the proxy misses some safety context"),
        "teacher": ("tv_teacher", "worst case over proxy teachers too"),
        "teacher_exact": ("tv_teacher", "worst case over proxy teachers too"),
    }
    bounds = [
        bound(
            "T11",
            Quantity.SAFETY_GAP,
            LOWER,
            {
                "price of the mismatch": down(
                    minimax_price(min(problem[name].value, 1.0), size.value, kind=kind)
                )
            },
            form=kind,
            assumptions=("worst case over safety data at this distance", assumption, _ENTROPIES),
            constants=(problem[name], size),
            scope="worst case",
        )
        for kind, (name, assumption) in kinds.items()
        if name in problem
    ]
    if not bounds:
        failed = "needs tv or tv_teacher"
        bounds.append(_no_price(failed))
    return bounds


def _price_in_words(problem: TabularProblem | QuadraticProblem) -> Bound:
    fixed = "worst case over D_s, and this problem fixes D_s"
    if isinstance(problem, QuadraticProblem):
        failed = f"{fixed}; its proxy is perfect, so there is nothing not to know"
        return _no_price(failed)
    safety, proxy = problem.safety, problem.proxy
    joint = safety.context[..., None] * safety.target - proxy.context[..., None] * proxy.target
    eta = np.minimum(0.5 * np.abs(joint).sum(axis=(-2, -1)), 1.0)
    missed = (proxy.context == 0).any(axis=-1)
    priced = missed & (eta > 0)
    if problem.responses >= 2 and priced.any():
        price = minimax_price(eta[priced], problem.responses).min()
        told = f"not knowing it would cost at least {price:.3g} nats"
    else:
        told = "its proxy misses no context, or nothing at all"
    return _no_price(f"{fixed}; {told}")
