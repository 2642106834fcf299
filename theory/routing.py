"""Routing between an aligned and a task model: what is achievable without shared weights (T18)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from theory.bound import Bound, Direction, Quantity, bound
from theory.divergence import Array, kl, mass_sum
from theory.problem import TabularProblem

_SUM_TOLERANCE = 1e-6


def routing(problem: TabularProblem, rule: ArrayLike, task_policy: ArrayLike) -> list[Bound]:
    """T18: both gaps of a router, exact and as T18's upper bounds, nats.

    ``rule [..., X]`` is True where the task model ``task_policy [..., X, V]`` answers; the aligned
    policy answers elsewhere. A router is a policy, so its gaps bound the best trade-off from
    above, as T10 does from below. Equalities (form "router") and upper bounds (form "router,
    whole aligned gap" etc.) that need only each model's own gap. Raises ValueError when shapes
    differ or a row of ``task_policy`` is no distribution. Source: T18 of docs/theorems.md.
    """
    rule, task_policy = _checked(problem, rule, task_policy)
    safety, task = problem.safety, problem.task
    safety_aligned = kl(safety.target, problem.aligned)
    safety_task = kl(safety.target, task_policy)
    task_aligned = kl(task.target, problem.aligned)
    task_task = kl(task.target, task_policy)
    away = "answered by the task model"
    back = "answered by the aligned model"
    own_safety = problem.safety_gap_at_aligned
    own_task = mass_sum(task.context, task_task)
    routed_safety = mass_sum(safety.context, safety_task, where=rule)
    routed_task = mass_sum(task.context, task_aligned, where=~rule)
    exact_terms = {
        Quantity.SAFETY_GAP: {
            back: mass_sum(safety.context, safety_aligned, where=~rule),
            away: routed_safety,
        },
        Quantity.CAPABILITY_GAP: {
            back: routed_task,
            away: mass_sum(task.context, task_task, where=rule),
        },
    }
    upper_terms = {
        Quantity.SAFETY_GAP: {"gap of the aligned model": own_safety, away: routed_safety},
        Quantity.CAPABILITY_GAP: {"gap of the task model": own_task, back: routed_task},
    }
    return [
        bound(
            "T18",
            quantity,
            direction,
            terms[quantity],
            form=form,
            trivial=np.log(problem.responses),
        )
        for direction, terms, form in (
            (Direction.EQUALITY, exact_terms, "router"),
            (Direction.UPPER, upper_terms, "router, each model's own gap"),
        )
        for quantity in (Quantity.SAFETY_GAP, Quantity.CAPABILITY_GAP)
    ]


def _checked(
    problem: TabularProblem, rule: ArrayLike, task_policy: ArrayLike
) -> tuple[np.ndarray, Array]:
    rule, policy = np.asarray(rule), np.asarray(task_policy, dtype=np.float64)
    if rule.dtype != bool:
        raise ValueError("rule holds one True (task model) or False (aligned model) a context.")
    shape = problem.safety.target.shape
    if rule.shape[-1:] != shape[-2:-1] or policy.shape[-2:] != shape[-2:]:
        raise ValueError(
            f"rule {rule.shape} and task_policy {policy.shape} must fit the problem's {shape}."
        )
    if not (np.isfinite(policy) & (policy >= 0)).all():
        raise ValueError("task_policy holds a probability that is negative or not finite.")
    if (np.abs(policy.sum(axis=-1) - 1.0) > _SUM_TOLERANCE).any():
        raise ValueError("task_policy has a row that does not sum to 1.")
    return rule, policy


@dataclass(frozen=True, eq=False, init=False)
class PairedLosses:
    """Losses of the same ``n`` examples under both models, and the rule's choice for each.

    ``aligned [n]``, ``task [n]``: summed over an example's tokens, nats; ``to_task [n]`` bool;
    ``tokens [n]`` the token counts, or None for one a loss. Raises ValueError when lengths
    differ, there is no example, or a value is not finite.
    """

    aligned: Array
    task: Array
    to_task: np.ndarray
    tokens: Array

    def __init__(
        self,
        aligned: ArrayLike,
        task: ArrayLike,
        to_task: ArrayLike,
        tokens: ArrayLike | None = None,
    ) -> None:
        own = np.asarray(aligned, dtype=np.float64)
        columns = {
            "aligned": own,
            "task": np.asarray(task, dtype=np.float64),
            "to_task": np.asarray(to_task),
            "tokens": np.ones_like(own) if tokens is None else np.asarray(tokens, dtype=np.float64),
        }
        for name, column in columns.items():
            object.__setattr__(self, name, column)
        if self.aligned.ndim != 1 or len({column.shape for column in columns.values()}) != 1:
            raise ValueError("aligned, task, to_task and tokens need one entry an example.")
        if self.aligned.size == 0:
            raise ValueError("there is no example.")
        if self.to_task.dtype != bool:
            raise ValueError("to_task holds one True or False an example.")
        if not all(np.isfinite(column).all() for column in (self.aligned, self.task, self.tokens)):
            raise ValueError("losses and token counts must be finite.")
        if not (self.tokens > 0).all():
            raise ValueError("every example needs at least one token.")


@dataclass(frozen=True)
class MeasuredRouter:
    """What a router loses, nats per token of each set; means over the measured examples.

    ``safety_increase``: its safety loss above the aligned model's; ``capability_gap``: its task
    loss above the task model's. ``unrouted_safety_increase`` and ``unrouted_capability_gap`` are
    those of answering everything with the task, and with the aligned model.
    """

    safety_increase: float
    capability_gap: float
    unrouted_safety_increase: float
    unrouted_capability_gap: float


def measured_routing(safety: PairedLosses, task: PairedLosses) -> MeasuredRouter:
    """T18 on held-out rows: the router's losses from one aligned and one task model, nats.

    Only the differences on the *same* examples enter. With ``safety`` rows drawn from D_s and
    ``task`` rows from D_f these are unbiased; confidence intervals are T14's. Source: T18.
    """
    change = safety.task - safety.aligned
    loss = task.aligned - task.task
    return MeasuredRouter(
        safety_increase=_mean(np.where(safety.to_task, change, 0.0), safety.tokens),
        capability_gap=_mean(np.where(task.to_task, 0.0, loss), task.tokens),
        unrouted_safety_increase=_mean(change, safety.tokens),
        unrouted_capability_gap=_mean(loss, task.tokens),
    )


def _mean(sums: Array, tokens: Array) -> float:
    return float(sums.sum() / tokens.sum())


def separating_mismatch(problem: TabularProblem, rule: ArrayLike) -> tuple[Array, Array]:
    """Masses a rule sends the wrong way: ``(rho_s(r = f), rho_f(r = s))``, ``[...]``.

    Their sum is at least ``1 - TV(rho_s, rho_f)``; both are 0 for a rule that separates.
    """
    rule = np.asarray(rule, dtype=bool)
    return mass_sum(problem.safety.context, rule), mass_sum(problem.task.context, ~rule)


@dataclass(frozen=True, eq=False)
class Split:
    """A measured safety gap in two parts, each an interval, ``[...]`` nats (T18).

    ``unavoidable``: what shared contexts cost any policy that reaches the same capability;
    ``interference``: what sharing weights cost on top. Lower + opposite upper = measured gap.
    """

    unavoidable_lower: Array
    unavoidable_upper: Array
    interference_lower: Array
    interference_upper: Array


def split_safety_gap(
    safety_gap: ArrayLike,
    capability_gap: ArrayLike,
    *,
    limit: ArrayLike,
    router_safety_gap: ArrayLike,
    router_capability_gap: ArrayLike,
) -> Split:
    """T18: split a fine-tune's safety gap into its unavoidable part and interference, nats.

    The unavoidable part is the least safety gap of any policy whose capability gap is at most
    the fine-tune's: at least ``limit`` (T10 at that capability), at most the fine-tune's own gap,
    and at most the router's wherever the router is as capable. All broadcast. Raises ValueError
    when ``limit`` is above the measured gap or above that of a router which is as capable.
    """
    safety_gap, capability_gap, limit, router, router_capability = np.broadcast_arrays(
        *(
            np.asarray(value, dtype=np.float64)
            for value in (
                safety_gap,
                capability_gap,
                limit,
                router_safety_gap,
                router_capability_gap,
            )
        )
    )
    low = np.maximum(limit, 0.0)
    reachable = np.where(router_capability <= capability_gap, router, np.inf)
    high = np.minimum(safety_gap, reachable)
    if (low > high * (1.0 + 1e-12)).any():
        raise ValueError(
            "limit is above a gap that a policy of this capability has: it is not a lower bound "
            "for this problem."
        )
    low = np.minimum(low, high)
    return Split(low, high, safety_gap - high, safety_gap - low)
