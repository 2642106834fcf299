"""Closed forms: the exact minimisers and gaps of tabular and quadratic problems (T3, T10)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import numpy as np
from numpy.typing import ArrayLike

from theory.divergence import Array, kl_shift, mass_sum
from theory.problem import Constants, Problem, QuadraticProblem, TabularProblem
from theory.quadratic import Gaps, solve
from theory.quadratic.floating import least_multiplier
from theory.strategy import LossConstraint, Strategy


@dataclass(frozen=True, eq=False)
class Exact:
    """The minimiser of a strategy and its true gaps in nats, ``[...]`` over the batch.

    ``policy`` is the table ``[..., X, V]`` (tabular) or the parameters ``[..., n]`` (quadratic);
    ``lam`` the multiplier of the proxy loss: given, or the one that meets ``epsilon`` (0 where
    the constraint is slack, ``inf`` where it leaves no room). ``gaps`` of a quadratic problem holds
    how far each number can be off, and the range of the safety gap where several minimise.
    """

    policy: Array
    safety_gap: Array
    proxy_safety_gap: Array
    capability_gap: Array
    lam: Array
    gaps: Gaps | None = None


@overload
def exact(problem: QuadraticProblem, strategy: Strategy) -> Exact: ...
@overload
def exact(problem: TabularProblem | QuadraticProblem, strategy: LossConstraint) -> Exact: ...
@overload
def exact(problem: Problem, strategy: Strategy) -> Exact | None: ...
def exact(problem: Problem, strategy: Strategy) -> Exact | None:
    """Policy and gaps where a closed form exists, else None.

    Tabular problems have one for the loss constraint (T3), quadratic ones for every strategy;
    constants and tabular parameter constraints have none.
    """
    return None if isinstance(problem, Constants) else _solved(problem, strategy)


@lru_cache(maxsize=4)
def _solved(problem: TabularProblem | QuadraticProblem, strategy: Strategy) -> Exact | None:
    # Several statements ask for the same minimiser; problems and strategies hash by identity.
    if isinstance(problem, TabularProblem) and isinstance(strategy, LossConstraint):
        return _tabular(problem, _tabular_multiplier(problem, strategy))
    if isinstance(problem, QuadraticProblem):
        gaps = solve(problem, strategy)
        return Exact(
            policy=problem.theta_s + gaps.step,
            safety_gap=gaps.safety.value,
            proxy_safety_gap=gaps.safety.value,
            capability_gap=gaps.capability.value,
            lam=gaps.lam.value,
            gaps=gaps,
        )
    return None


def mixture_weights(problem: TabularProblem, lam: ArrayLike) -> tuple[Array, Array]:
    """``w = lam rho_hat_s / (rho_f + lam rho_hat_s)`` and ``1 - w``, ``[..., X]``; 0 off O.

    Both are accurate relative to their own size; ``lam`` may be 0 or ``inf``.
    """
    lam = np.asarray(lam, dtype=np.float64)[..., None]
    task, proxy = problem.task.context, problem.proxy.context
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        odds = lam * (proxy / task)
        toward_proxy = np.where(np.isinf(odds), 1.0, odds / (1.0 + odds))
        toward_task = 1.0 / (1.0 + odds)
    contested = problem.overlap
    return np.where(contested, toward_proxy, 0.0), np.where(contested, toward_task, 0.0)


def mixture_shift(problem: TabularProblem, toward_proxy: Array, toward_task: Array) -> Array:
    """``(1 - w) mu_f + w mu_hat_s - mu_s``, ``[..., X, V]``, from the nearer of the two targets.

    The farther one enters with its small weight, so that nothing large cancels.
    """
    safety, proxy, task = (d.target for d in (problem.safety, problem.proxy, problem.task))
    return np.where(
        (toward_task < toward_proxy)[..., None],
        (proxy - safety) + toward_task[..., None] * (task - proxy),
        (task - safety) + toward_proxy[..., None] * (proxy - task),
    )


def _tabular(problem: TabularProblem, lam: ArrayLike) -> Exact:
    toward_proxy, toward_task = mixture_weights(problem, lam)
    safety, proxy, task = problem.safety, problem.proxy, problem.task
    contested = problem.overlap[..., None]
    task_only = ((task.context > 0) & (proxy.context == 0))[..., None]
    proxy_only = ((proxy.context > 0) & (task.context == 0))[..., None]
    # Distance from the safety targets, kept as a difference so that tiny gaps stay accurate.
    from_safety = np.where(
        contested,
        mixture_shift(problem, toward_proxy, toward_task),
        np.where(
            task_only,
            task.target - safety.target,
            np.where(proxy_only, proxy.target, problem.aligned) - safety.target,
        ),
    )
    policy = np.where(
        contested,
        toward_proxy[..., None] * proxy.target + toward_task[..., None] * task.target,
        np.where(task_only, task.target, np.where(proxy_only, proxy.target, problem.aligned)),
    )
    return Exact(
        policy=policy,
        safety_gap=mass_sum(safety.context, kl_shift(safety.target, from_safety, policy)),
        proxy_safety_gap=_contested_proxy_gap(problem, toward_task, policy),
        capability_gap=mass_sum(
            task.context,
            kl_shift(task.target, toward_proxy[..., None] * (proxy.target - task.target), policy),
            where=problem.overlap,
        ),
        lam=np.broadcast_to(np.asarray(lam, dtype=np.float64), policy.shape[:-2]),
    )


def _contested_proxy_gap(problem: TabularProblem, toward_task: Array, policy: Array) -> Array:
    pull = problem.task.target - problem.proxy.target
    divergence = kl_shift(problem.proxy.target, toward_task[..., None] * pull, policy)
    return mass_sum(problem.proxy.context, divergence, where=problem.overlap)


def _tabular_multiplier(problem: TabularProblem, strategy: LossConstraint) -> Array | float:
    if strategy.lam is not None:
        return strategy.lam
    unconstrained = mass_sum(problem.proxy.context, problem.kl_proxy_task, where=problem.overlap)

    def gap(lam: Array) -> Array:
        toward_proxy, toward_task = mixture_weights(problem, lam)
        policy = (
            toward_proxy[..., None] * problem.proxy.target
            + toward_task[..., None] * problem.task.target
        )
        return _contested_proxy_gap(problem, toward_task, policy)

    epsilon, unconstrained = np.broadcast_arrays(
        np.asarray(strategy.strength, dtype=np.float64), unconstrained
    )
    lam = np.where(unconstrained <= epsilon, 0.0, least_multiplier(gap, epsilon))
    return np.where((epsilon == 0) & (unconstrained > 0), np.inf, lam)


@dataclass(frozen=True, eq=False)
class Frontier:
    """The exact Pareto front at each ``lams [L]``: gaps ``[..., L]`` in nats, ``dG_f/dG_s = -lam``.

    No policy, algorithm or model class goes below it (T10a).
    """

    lams: Array
    safety_gap: Array
    capability_gap: Array


def with_true_proxy(
    problem: TabularProblem | QuadraticProblem,
) -> TabularProblem | QuadraticProblem:
    """The same problem with the safety data as its own proxy."""
    if isinstance(problem, QuadraticProblem) or problem.proxy is problem.safety:
        return problem
    return TabularProblem.trusted(
        safety=problem.safety,
        task=problem.task,
        proxy=problem.safety,
        aligned=problem.aligned,
    )


def frontier(problem: Problem, lams: ArrayLike) -> Frontier:
    """The front of ``(G_s, G_f)`` for the *true* safety data, at each ``lam`` of ``lams [L]``.

    Raises ValueError for a constants problem, which has no closed form, and for ``lam <= 0``.
    """
    if isinstance(problem, Constants):
        raise ValueError("a frontier needs a tabular or quadratic problem.")
    problem = with_true_proxy(problem)
    lams = np.atleast_1d(np.asarray(lams, dtype=np.float64))
    points = [exact(problem, LossConstraint(lam=float(lam))) for lam in lams]
    return Frontier(
        lams=lams,
        safety_gap=np.stack([point.safety_gap for point in points], axis=-1),
        capability_gap=np.stack([point.capability_gap for point in points], axis=-1),
    )
