"""Bounds that stay useful on real models: local proxy mismatch (T12), radius of a budget (T13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import ArrayLike

from theory.bound import Bound, Direction, Quantity, bound, not_applicable
from theory.divergence import Array, mass_sum
from theory.exact import exact
from theory.landscape import down, product, reach, up
from theory.loss_constraint.common import (
    NO_LAMBDA,
    finite_samples,
    per_lambda,
    trivial_gap,
)
from theory.problem import Constant, Constants, Problem, QuadraticProblem, TabularProblem
from theory.quadratic import solve, start
from theory.statement import statement
from theory.strategy import Hybrid, LossConstraint

_EPS = np.finfo(float).eps
_INCREASE = Quantity.SAFETY_LOSS_INCREASE
_increase = partial(bound, "T12", _INCREASE, Direction.UPPER)
_lacks = partial(not_applicable, "T12", _INCREASE)
_radius = partial(bound, "T13", Quantity.RADIUS, Direction.UPPER, unit="")
_NO_WORSE = "f_f + lambda f_hat_s ends at most delta above its value at theta_s"
_KEPT = "the loss constraint f_hat_s - min f_hat_s <= epsilon holds"
_SMOOTH = "f_s - f_hat_s is beta_Delta-smooth on the ball of radius r around theta_s"


@statement("T12", _INCREASE, under=(LossConstraint, Hybrid), failed=NO_LAMBDA)
def local_mismatch(problem: Problem, strategy: LossConstraint | Hybrid) -> list[Bound]:
    """T12: how far the safety loss can rise, from a *gradient* mismatch of the proxy, nats.

    ``f_s(theta) - f_s(theta_s) <= value gap / lambda + |grad Delta| r + beta_Delta r^2 / 2`` with
    ``Delta = f_s - f_hat_s``. ``r`` is the hybrid's radius or the constant ``displacement``
    (T13). For constants the value gap is ``capability_gap_at_aligned + optimality_slack``, or
    ``task_loss_at_aligned - task_loss_floor + optimality_slack`` (floor 0 unless given; after a
    run, the measured task loss): one form each. With ``epsilon`` it is ``epsilon``. Tabular
    problems measure r and Delta in centred logits. Source: T12 of docs/theorems.md.
    """
    if isinstance(problem, Constants):
        return _mismatch_of_constants(problem, strategy)
    if isinstance(problem, TabularProblem):
        return [_mismatch_of_table(problem, strategy)]
    return [_mismatch_of_quadratic(problem, strategy)]


def _local_terms(gradient: ArrayLike, smoothness: ArrayLike, radius: ArrayLike) -> dict[str, Array]:
    return {
        "gradient mismatch": product(gradient, radius),
        "curvature": product(0.5, smoothness, np.square(radius)),
    }


def _mismatch_of_constants(problem: Constants, strategy: LossConstraint | Hybrid) -> list[Bound]:
    missing = [n for n in ("gradient_mismatch", "smoothness_mismatch") if n not in problem]
    within, values = reach(problem, strategy), _value_gaps(problem, strategy)
    if within is None:
        missing.append("displacement")
    if not values:
        missing.append("capability_gap_at_aligned or task_loss_at_aligned")
    if missing or within is None:
        return [_lacks(f"needs {', '.join(missing)}")]
    gradient, smoothness = problem["gradient_mismatch"], problem["smoothness_mismatch"]
    radius, moved = within
    return [
        _increase(
            {**term, **_local_terms(gradient.value, smoothness.value, radius)},
            form=form,
            assumptions=(assumption, _SMOOTH),
            trivial=trivial_gap(problem),
            constants=(gradient, smoothness, *moved, *constants),
        )
        for form, (term, assumption, constants) in values.items()
    ]


def _value_gaps(
    problem: Constants, strategy: LossConstraint | Hybrid
) -> dict[str, tuple[Mapping[str, float | np.ndarray], str, tuple[Constant, ...]]]:
    """form -> (term, assumption, constants): how far the proxy loss can have risen."""
    if isinstance(strategy, LossConstraint) and strategy.lam is None:
        return {"constrained": ({"proxy constraint": strategy.strength}, _KEPT, ())}
    lam = strategy.strength
    slack = problem.get("optimality_slack", Constant(0.0))
    samples, deviations = finite_samples(problem, lam)
    extra: dict[str, Array] = {}
    if np.any(samples > 0):
        extra["finite samples"] = per_lambda(samples, lam)
    values: dict[str, tuple[Mapping[str, float | np.ndarray], str, tuple[Constant, ...]]] = {}
    if "capability_gap_at_aligned" in problem:
        gap = problem["capability_gap_at_aligned"]
        term = {"value gap / lambda": per_lambda(gap.value + slack.value, lam), **extra}
        values["capability gap"] = (term, _NO_WORSE, (gap, slack, *deviations))
    if "task_loss_at_aligned" in problem:
        start = problem["task_loss_at_aligned"]
        floor = problem.get("task_loss_floor", Constant(0.0))
        gained = start.value - floor.value + slack.value
        term = {"value gap / lambda": per_lambda(gained, lam), **extra}
        values["task loss"] = (term, _NO_WORSE, (start, floor, slack, *deviations))
    return values


def _mismatch_of_table(problem: TabularProblem, strategy: LossConstraint | Hybrid) -> Bound:
    safety, proxy, policy = problem.safety, problem.proxy, problem.aligned
    pulls = (
        safety.context[..., None] * (policy - safety.target),
        proxy.context[..., None] * (policy - proxy.target),
    )
    # Hess Delta is blockdiag (rho_s - rho_hat_s)(x) (diag p - p p'), and |diag p - p p'| <= 1/2.
    smoothness = 0.5 * np.maximum(safety.context - proxy.context, 0.0).max(axis=-1)
    gradient = _norm(pulls[0] - pulls[1])
    differ = (pulls[0] != pulls[1]).any(axis=(-2, -1))
    gradient = gradient + np.where(differ, 4.0 * _EPS * (_norm(pulls[0]) + _norm(pulls[1])), 0.0)
    start = problem.capability_gap_at_aligned
    if isinstance(strategy, Hybrid):
        radius, gained, lam = strategy.radius, start, np.asarray(strategy.lam)
    else:
        solution = exact(problem, strategy)
        radius, lam = _logit_distance(policy, solution.policy), np.asarray(solution.lam)
        gained = _drop(start, solution.capability_gap)
    proxy_gap = problem.proxy_gap_at_aligned
    finite = np.isfinite(proxy_gap) & np.isfinite(problem.safety_gap_at_aligned)
    if isinstance(strategy, LossConstraint) and strategy.lam is None:
        value = {"proxy constraint": strategy.strength - down(np.where(finite, proxy_gap, 0.0))}
        form, assumption = "constrained", _KEPT
    else:
        value = {"value gap / lambda": per_lambda(gained, lam)}
        form, assumption = "centred logits", _NO_WORSE
    return _increase(
        {**value, **_local_terms(up(gradient), up(smoothness), radius)},
        form=form,
        assumptions=(assumption, "softmax of a table of logits"),
        applies=finite,
        failed="the safety or proxy loss of the aligned model is infinite",
    )


def _norm(table: Array) -> Array:
    return np.sqrt(np.square(table).sum(axis=(-2, -1)))


def _drop(start: Array, end: Array) -> Array:
    """``start - end`` from above; ``inf`` for an infinite start."""
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(start), np.inf, up(start) - down(end))


def _logit_distance(policy: Array, other: Array) -> Array:
    """Euclidean norm of the centred difference of logits, ``[..., X, V] -> [...]``."""
    with np.errstate(divide="ignore", invalid="ignore"):
        change = np.where(policy == other, 0.0, np.log(other) - np.log(policy))
        change = np.where((policy == 0) & (other == 0), 0.0, change)
    moved = np.isfinite(change).all(axis=(-2, -1))
    kept = np.where(np.isfinite(change), change, 0.0)
    # Responses that neither policy gives have no logit: they stay out of the mean.
    alive = (policy > 0) | (other > 0)
    mean = mass_sum(alive, kept) / alive.sum(axis=-1)
    centred = np.where(alive, kept - mean[..., None], 0.0)
    # The policies are rounded to 2^-53 of themselves, so each logit to about as much absolutely.
    rounding = 4.0 * _EPS * np.sqrt(alive.sum(axis=(-2, -1)))
    return np.where(moved, _norm(centred) + rounding, np.inf)


def _mismatch_of_quadratic(problem: QuadraticProblem, strategy: LossConstraint | Hybrid) -> Bound:
    gaps = solve(problem, strategy)
    gained = np.maximum(_drop(start(problem).gap.upper, gaps.capability.lower), 0.0)
    if isinstance(strategy, LossConstraint) and strategy.lam is None:
        value, assumption = {"proxy constraint": strategy.strength}, _KEPT
    else:
        value = {"value gap / lambda": up(per_lambda(gained, gaps.lam.lower))}
        assumption = _NO_WORSE
    return _increase(
        {**value, **_local_terms(0.0, 0.0, np.inf)},
        form="perfect proxy",
        assumptions=(assumption, "the proxy is the safety data"),
    )


@dataclass(frozen=True, eq=False)
class SgdBudget:
    """SGD of one parameter group: rates ``[..., T]``, gradient norm clipped to ``clip``.

    ``clip`` bounds the norm of this group's gradient (a global clip does); ``momentum`` in
    [0, 1). Dampening only shortens steps; coupled weight decay is not covered, because it is
    added after clipping. Raises ValueError outside these ranges. Source: T13.
    """

    learning_rates: Array
    clip: float
    momentum: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rates", _rates(self.learning_rates))
        _in_unit_interval("momentum", self.momentum)
        if not self.clip > 0:
            raise ValueError(f"clip is {self.clip}: it must be greater than 0 (inf for none).")


@dataclass(frozen=True, eq=False)
class AdamBudget:
    """Adam, AMSGrad or AdamW of one parameter group of ``dimension`` numbers.

    ``learning_rates [..., T]`` is the schedule, step by step. Coupled (L2) decay is part of the
    gradient and needs nothing here; ``weight_decay`` is the decoupled one of AdamW, applied to
    *all* numbers of the group, and then ``start_norm = |theta_0|`` of the group is needed.
    Raises ValueError for values out of range. Source: T13 of docs/theorems.md.
    """

    learning_rates: Array
    dimension: int
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.0
    start_norm: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rates", _rates(self.learning_rates))
        _in_unit_interval("beta1", self.beta1)
        _in_unit_interval("beta2", self.beta2)
        if self.beta2 == 0:
            raise ValueError("beta2 is 0: it must lie in (0, 1).")
        if self.dimension < 1 or self.dimension != int(self.dimension):
            raise ValueError(f"dimension is {self.dimension}: it must be a whole number above 0.")
        if not 0 <= self.weight_decay < np.inf:
            raise ValueError(f"weight_decay is {self.weight_decay}: it must be at least 0.")
        if self.weight_decay > 0 and self.start_norm is None:
            raise ValueError("decoupled weight decay pulls by |theta_0|: give start_norm.")
        if self.start_norm is not None and not 0 <= self.start_norm < np.inf:
            raise ValueError(f"start_norm is {self.start_norm}: it must be at least 0.")


Budget = SgdBudget | AdamBudget


def _rates(values: ArrayLike) -> Array:
    rates = np.array(values, dtype=np.float64)
    if rates.ndim == 0 or rates.shape[-1] == 0:
        raise ValueError("learning_rates needs one rate for each step.")
    if not (np.isfinite(rates) & (rates >= 0)).all():
        raise ValueError("learning_rates holds a rate that is negative or not finite.")
    rates.setflags(write=False)
    return rates


def _in_unit_interval(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ValueError(f"{name} is {value}: it must lie in [0, 1).")


def adam_step_factor(step: ArrayLike, beta1: float = 0.9, beta2: float = 0.999) -> Array:
    """``k_t``: at step ``t = 1, 2, ...`` Adam moves a coordinate by at most ``eta_t k_t``.

    Attained, at every t at once, by gradients ``g_i ~ (beta2 / beta1)^i`` and eps = 0; eps only
    shortens steps. Vectorised; finite for every t when ``beta1^2 < beta2``. Source: T13.
    """
    t = np.asarray(step, dtype=np.float64)
    ratio = beta1**2 / beta2
    with np.errstate(divide="ignore", over="ignore"):
        log_beta1, log_ratio = np.log(beta1), np.log(ratio)
        # sum of ratio^j over j < t; the Cauchy-Schwarz factor holds for any ratio, also above 1.
        geometric = t if ratio == 1 else np.expm1(t * log_ratio) / (ratio - 1.0)
    first = (1.0 - beta1) / -np.expm1(t * log_beta1)
    second = -np.expm1(t * np.log(beta2)) / (1.0 - beta2)
    return first * np.sqrt(second * geometric)


def radius_from_budget(budget: Budget | Sequence[Budget]) -> Bound:
    """T13: ``|theta_T - theta_0| <= r`` for any data and loss, from the optimiser's settings.

    SGD: ``sum eta_t clip (1 - m^t) / (1 - m)``. Adam: ``sum eta_t sqrt(d) k_t``. AdamW:
    ``r_t = |1 - a_t| r_(t-1) + a_t |theta_0| + eta_t sqrt(d) k_t`` with ``a_t = eta_t wd``. Several
    parameter groups add in squares. Exact arithmetic of the optimiser is assumed: weights kept
    in half precision add their rounding. Raises ValueError for no group. Source: T13.
    """
    groups = [budget] if isinstance(budget, SgdBudget | AdamBudget) else list(budget)
    if not groups:
        raise ValueError("a budget needs at least one parameter group.")
    parts = [_group_radius(group) for group in groups]
    if len(parts) == 1:
        terms = parts[0]
    else:
        radii = [sum(part.values()) for part in parts]
        total = np.sqrt(sum(np.square(radius) for radius in radii))
        with np.errstate(invalid="ignore", divide="ignore"):
            terms = {
                f"group {i}": np.where(
                    np.isinf(radius), np.inf, np.where(radius == 0, 0.0, radius * (radius / total))
                )
                for i, radius in enumerate(radii, start=1)
            }
    return _radius(
        terms,
        form=" + ".join(sorted({_optimiser(group) for group in groups})),
        assumptions=("the optimiser follows its update rule in exact arithmetic",),
    )


def _optimiser(budget: Budget) -> str:
    if isinstance(budget, SgdBudget):
        return "SGD"
    return "AdamW" if budget.weight_decay > 0 else "Adam"


def _group_radius(budget: Budget) -> dict[str, Array]:
    rates = budget.learning_rates
    t = np.arange(1, rates.shape[-1] + 1, dtype=np.float64)
    # Every one of the T additions and some ten operations a step rounds by at most 2^-53.
    upward = 1.0 + (t.size + 16) * 2.0**-52
    if isinstance(budget, SgdBudget):
        with np.errstate(divide="ignore"):
            reached = -np.expm1((t + budget.nesterov) * np.log(budget.momentum))
        steps = product(rates, budget.clip * reached / (1.0 - budget.momentum))
        return {"optimiser steps": upward * steps.sum(axis=-1)}
    factor = adam_step_factor(t, budget.beta1, budget.beta2)
    steps = product(rates, np.sqrt(budget.dimension) * factor)
    if budget.weight_decay == 0:
        return {"optimiser steps": upward * steps.sum(axis=-1)}
    decay = rates * budget.weight_decay
    # What is left of step t's effect at the end: the product of |1 - a| over the later steps.
    kept = np.cumprod(np.abs(1.0 - decay)[..., ::-1], axis=-1)[..., ::-1]
    later = np.concatenate([kept[..., 1:], np.ones_like(kept[..., :1])], axis=-1)
    return {
        "optimiser steps": upward * product(later, steps).sum(axis=-1),
        "weight decay": upward * (budget.start_norm or 0.0) * (later * decay).sum(axis=-1),
    }


def lora_product_radius(norm_a: ArrayLike, norm_b: ArrayLike, *, scaling: float = 1.0) -> Bound:
    """T13 for LoRA: ``|scaling B A|_F <= scaling |B|_F |A|_F``, elementwise over modules.

    ``norm_a, norm_b [...]`` bound the Frobenius norms of the factors, of one module or jointly
    of all (then the product bounds the joint norm too); ``scaling`` is alpha / rank. A factor's
    norm is at most its start plus its radius. Raises ValueError for a negative or NaN norm.
    """
    norms = [np.asarray(norm, dtype=np.float64) for norm in (norm_a, norm_b)]
    if not all((norm >= 0).all() for norm in norms) or not scaling >= 0:
        raise ValueError("norms and scaling must be at least 0.")
    return _radius(
        {"product of the factors": up(product(scaling, *norms))},
        form="LoRA product",
        assumptions=("the update is scaling * B A",),
    )
