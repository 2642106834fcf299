"""Fine-tuning toy models (optax): one compiled loop for every strategy, vmapped over instances."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

from sims.models.base import Gaps, ModelClass
from theory.local import AdamBudget


class Strength(NamedTuple):
    """A strategy in numbers, so that all strategies share one compiled loop; scalars or ``[n]``.

    ``lam``: weight of the proxy loss (0: none). ``epsilon``: limit on the proxy gap, held by dual
    ascent on lambda (inf: none). ``radius``: of the ball around ``theta_s`` (inf: none). ``stop``:
    share of the steps after which training stops early.
    """

    lam: jax.Array | float = 0.0
    epsilon: jax.Array | float = jnp.inf
    radius: jax.Array | float = jnp.inf
    stop: jax.Array | float = 1.0


@dataclass(frozen=True)
class Plan:
    """The optimiser's budget. ``batch``: draws a step, None for the exact gradients.

    The gradient is that of ``(f_f + lam f_hat_s) / (1 + lam)``: one learning rate for every
    lambda. Rates fall to 0 along a cosine unless ``constant``. Raises ValueError for no step.
    """

    steps: int = 400
    rate: float = 0.1
    optimiser: Literal["adam", "sgd", "momentum"] = "adam"
    constant: bool = False
    batch: int | None = None
    points: int = 8

    def __post_init__(self) -> None:
        if self.steps < 1 or self.points < 1 or (self.batch is not None and self.batch < 1):
            raise ValueError("steps, points and batch must be at least 1.")

    @property
    def stride(self) -> int:
        """Steps between two recorded points; the plan's steps are rounded up to a whole number."""
        return -(-self.steps // self.points)

    def schedule(self) -> optax.Schedule:
        """Learning rate of each step."""
        total = self.stride * self.points
        if self.constant:
            return optax.constant_schedule(self.rate)
        return optax.cosine_decay_schedule(self.rate, total)

    def transformation(self, isotropic: jax.Array | bool = False) -> optax.GradientTransformation:
        """The optax optimiser; Adam's second moment has b2 = 0.95, as short runs need.

        ``isotropic``: Adam shares one second moment among all coordinates. A Euclidean projection
        needs that: projected steps of the usual Adam do not end at the constrained minimum.
        """
        if self.optimiser == "adam":
            return optax.chain(
                _scale_by_adam(isotropic), optax.scale_by_learning_rate(self.schedule())
            )
        momentum = 0.9 if self.optimiser == "momentum" else None
        return optax.sgd(self.schedule(), momentum=momentum, nesterov=momentum is not None)

    def budget(self, dimension: int, *, isotropic: bool = False, stop: float = 1.0) -> AdamBudget:
        """What T13 needs to bound the distance from ``theta_s``, for ``dimension`` parameters.

        Isotropic Adam moves its whole vector as the usual one moves each coordinate. Raises
        ValueError for gradient descent without clipping, whose steps have no limit.
        """
        if self.optimiser != "adam":
            raise ValueError("the budget of unclipped gradient descent limits no distance.")
        steps = np.arange(self.stride * self.points)
        rates = np.asarray(jax.vmap(self.schedule())(steps)) * np.ones(len(steps))
        return AdamBudget(
            learning_rates=np.where(steps < stop * len(steps), rates, 0.0),
            dimension=1 if isotropic else dimension,
            beta1=_B1,
            beta2=_B2,
        )


_B1, _B2 = 0.9, 0.95  # of Adam


def _scale_by_adam(isotropic: jax.Array | bool) -> optax.GradientTransformation:
    adam = optax.scale_by_adam(b1=_B1, b2=_B2)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        moved = cast(Any, adam.update(updates, state, params)[1])
        mean = moved.mu / (1 - _B1**moved.count)
        square = moved.nu / (1 - _B2**moved.count)
        square = jnp.where(isotropic, square.sum(), square)
        return mean / (jnp.sqrt(square) + 1e-12), moved

    return optax.GradientTransformation(adam.init, update)


def _moved(theta: jax.Array, update: Any) -> jax.Array:
    return cast(jax.Array, optax.apply_updates(theta, update))


class Finetuned(NamedTuple):
    """A fine-tuned model: parameters, gaps, and what its training did.

    ``lam``: the last multiplier. ``gradient [d]``: of ``G_f + lam G_hat_s`` at the end. ``path``:
    gaps after 0, 1/points, ..., 1 of the steps ``[points + 1]``; ``moved``: the distance from
    ``theta_s`` there.
    """

    theta: jax.Array
    gaps: Gaps
    lam: jax.Array
    gradient: jax.Array
    path: Gaps
    moved: jax.Array


def project(theta: jax.Array, centre: jax.Array, radius: jax.Array | float) -> jax.Array:
    """The nearest point of the ball: ``[d]``; a radius of 0 gives the centre itself."""
    step = theta - centre
    length = jnp.sqrt((step**2).sum())
    shrink = jnp.where(length > radius, radius / jnp.where(length > 0, length, 1.0), 1.0)
    moved = jnp.where(shrink < 1.0, shrink * step, step)
    return centre + moved.astype(theta.dtype)


# Dual ascent: log lambda moves by at most this a step, towards a proxy gap of epsilon.
_DUAL_RATE = 0.05
_LEAST_GAP = 1e-9
_LOG_LAMBDAS = (-12.0, 12.0)


def finetune(
    model: ModelClass,
    problem: Any,
    theta_s: jax.Array,
    strength: Strength,
    plan: Plan,
    key: jax.Array,
) -> Finetuned:
    """Train from ``theta_s`` for the plan's steps. One instance: vmap over the arrays.

    Projection onto the ball follows each step. A run that did not converge is returned as it is:
    :mod:`sims.certificate` says by how much, and that slack enters its bounds.
    """
    transformation = plan.transformation(isotropic=jnp.isfinite(jnp.asarray(strength.radius)))
    constrained = jnp.isfinite(jnp.asarray(strength.epsilon))

    def objective(theta: jax.Array, lam: jax.Array, data: Any) -> jax.Array:
        gaps = model.gaps(theta, data)
        return (gaps.task + lam * gaps.proxy) / (1.0 + lam)

    def step(state, index):
        theta, memory, log_lam = state
        lam = jnp.where(constrained, jnp.exp(log_lam), strength.lam)
        data = problem
        if plan.batch is not None:
            data = model.sampled(jax.random.fold_in(key, index), problem, plan.batch)
        gradient = jax.grad(objective)(theta, lam, data)
        update, memory = transformation.update(gradient, memory, theta)
        stepped = project(_moved(theta, update), theta_s, strength.radius)
        going = index < strength.stop * plan.stride * plan.points
        theta = jnp.where(going, stepped, theta)
        if_constrained = jnp.where(
            going, _dual_step(model.gaps(theta, problem).proxy, strength.epsilon, log_lam), log_lam
        )
        log_lam = jnp.where(constrained, if_constrained, log_lam)
        return (theta, memory, log_lam), None

    def stretch(state, indices):
        state, _ = jax.lax.scan(step, state, indices)
        theta = state[0]
        return state, (model.gaps(theta, problem), jnp.linalg.norm(theta - theta_s))

    indices = jnp.arange(plan.stride * plan.points).reshape(plan.points, plan.stride)
    state = (theta_s, transformation.init(theta_s), jnp.zeros(()))
    (theta, _, log_lam), (path, moved) = jax.lax.scan(stretch, state, indices)
    lam = jnp.where(constrained, jnp.exp(log_lam), strength.lam)

    def total(theta: jax.Array) -> jax.Array:
        gaps = model.gaps(theta, problem)
        return gaps.task + lam * gaps.proxy

    start = model.gaps(theta_s, problem)
    path = jax.tree.map(lambda first, rest: jnp.concatenate([first[None], rest]), start, path)
    return Finetuned(
        theta=theta,
        gaps=model.gaps(theta, problem),
        lam=lam,
        gradient=jax.grad(total)(theta),
        path=path,
        moved=jnp.concatenate([jnp.zeros(1), moved]),
    )


@lru_cache
def tuning(model: ModelClass, plan: Plan) -> Callable[..., Finetuned]:
    """Compiled: :func:`finetune` of a batch, by problems, aligned models, strengths and keys."""

    def tuned(problem: Any, theta_s: jax.Array, strength: Strength, key: jax.Array) -> Finetuned:
        return finetune(model, problem, theta_s, strength, plan, key)

    return jax.jit(jax.vmap(tuned))


def _dual_step(proxy: jax.Array, epsilon: jax.Array | float, log_lam: jax.Array) -> jax.Array:
    excess = jnp.log((proxy + _LEAST_GAP) / (epsilon + _LEAST_GAP))
    return jnp.clip(log_lam + _DUAL_RATE * jnp.clip(excess, -1.0, 1.0), *_LOG_LAMBDAS)


def align(
    model: ModelClass,
    problem: Any,
    start: jax.Array,
    plan: Plan,
    key: jax.Array,
    *,
    stop: jax.Array | float = 1.0,
) -> jax.Array:
    """``theta_s [d]``: the safety gap minimised from ``start``; one instance.

    Less than the whole share ``stop`` of the steps leaves a model that is not quite aligned.
    """
    transformation = plan.transformation()

    def step(state, index):
        theta, memory = state
        data = problem
        if plan.batch is not None:
            data = model.sampled(jax.random.fold_in(key, index), problem, plan.batch)
        gradient = jax.grad(lambda t: model.gaps(t, data).safety)(theta)
        update, memory = transformation.update(gradient, memory, theta)
        going = index < stop * plan.stride * plan.points
        return (jnp.where(going, _moved(theta, update), theta), memory), None

    state = (start, transformation.init(start))
    (theta, _), _ = jax.lax.scan(step, state, jnp.arange(plan.stride * plan.points))
    return theta
