"""A safety set, its proxy and a task, drawn from four knobs that hold exactly."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import jax
import jax.numpy as jnp

import sims.precision  # noqa: F401  (64-bit before the first trace)
from finebound.base.errors import InputError

# Contexts come in four groups of equal size: safety alone, shared, task alone, proxy alone.
GROUPS = ("safety", "shared", "task", "proxy")


class Knobs(NamedTuple):
    """What governs a pair, each in [0, 1]; scalars, or ``[n]`` for a batch.

    ``overlap``: mass that safety and task data put on the shared contexts. ``disagreement``: total
    variation of task and safety targets there. ``context_mismatch``: total variation of the
    contexts of proxy and safety data. ``teacher_mismatch``: total variation of their targets on
    every context. ``feature_overlap``: share of a task-only context's features (or words) that
    safety contexts use too.
    """

    overlap: jax.Array | float = 0.5
    disagreement: jax.Array | float = 0.5
    context_mismatch: jax.Array | float = 0.0
    teacher_mismatch: jax.Array | float = 0.0
    feature_overlap: jax.Array | float = 0.5


@dataclass(frozen=True)
class Sizes:
    """``contexts`` a group (four groups) and ``responses``; one compiled shape.

    Raises InputError for no context, or fewer than the three responses that carry a refusal, an
    answer and another teacher's refusal.
    """

    contexts: int = 3
    responses: int = 6

    def __post_init__(self) -> None:
        if self.contexts < 1:
            raise InputError(
                f"a pair of {self.contexts} contexts has no data.",
                remedy="Give at least 1 context a group.",
            )
        if self.responses < 3:
            raise InputError(
                f"{self.responses} responses: with fewer than 3, safety, task and another teacher "
                "cannot disagree apart from each other.",
                remedy="Give at least 3 responses.",
            )

    @property
    def total(self) -> int:
        """Contexts of all groups."""
        return len(GROUPS) * self.contexts


class Pair(NamedTuple):
    """Masses ``[X]`` and targets ``[X, V]`` of the three distributions; rows sum to 1."""

    rho_s: jax.Array
    mu_s: jax.Array
    rho_hat: jax.Array
    mu_hat: jax.Array
    rho_f: jax.Array
    mu_f: jax.Array


def draw_pair(key: jax.Array, knobs: Knobs, sizes: Sizes) -> Pair:
    """One pair whose measured overlap, disagreement and mismatches equal the knobs (tests).

    Targets: ``mu_s = (1 - m) c + m a``, ``mu_f = (1 - m) c + (m - tau) a + tau b`` and ``mu_hat =
    (1 - m) c + (m - eta) a + eta e`` with ``a, b, e`` on disjoint thirds of the responses, so that
    the total variations are tau (disagreement) and eta (teacher mismatch). vmap over key, knobs.
    """
    group, responses = sizes.contexts, sizes.responses
    keys = jax.random.split(key, 7)

    def masses(key: jax.Array) -> jax.Array:
        return jax.nn.softmax(0.5 * jax.random.normal(key, (group,)))

    empty = jnp.zeros(group)
    own, shared, task, proxy = (masses(k) for k in keys[:4])
    overlap, missed = knobs.overlap, knobs.context_mismatch
    rho_s = jnp.concatenate([(1 - overlap) * own, overlap * shared, empty, empty])
    rho_f = jnp.concatenate([empty, overlap * shared, (1 - overlap) * task, empty])
    moved = jnp.concatenate([empty, empty, empty, proxy])
    rho_hat = (1 - missed) * rho_s + missed * moved

    common = jax.nn.softmax(jax.random.normal(keys[4], (sizes.total, responses)))
    weights = jnp.exp(jax.random.normal(keys[5], (sizes.total, responses)))
    thirds = jnp.arange(responses) * 3 // responses
    refuse, answer, other = (_normalised(jnp.where(thirds == i, weights, 0.0)) for i in range(3))
    tau, eta = knobs.disagreement, knobs.teacher_mismatch
    most = jnp.maximum(tau, eta)
    mu_s = (1 - most) * common + most * refuse
    mu_hat = (1 - most) * common + (most - eta) * refuse + eta * other
    contested = (1 - most) * common + (most - tau) * refuse + tau * answer
    # Off the shared contexts the task has targets of its own.
    alone = jax.nn.softmax(jax.random.normal(keys[6], (sizes.total, responses)))
    is_shared = (jnp.arange(sizes.total) // group == 1)[:, None]
    mu_f = jnp.where(is_shared, contested, alone)
    return Pair(rho_s, mu_s, rho_hat, mu_hat, rho_f, mu_f)


def _normalised(weights: jax.Array) -> jax.Array:
    return weights / weights.sum(axis=-1, keepdims=True)


def features(key: jax.Array, knobs: Knobs, sizes: Sizes, dimension: int) -> jax.Array:
    """Unit feature vectors ``[X, k]`` of the contexts.

    Safety, shared and proxy contexts live on the first half of the coordinates; a task-only
    context has a share ``feature_overlap`` of its squared length there and the rest beyond.
    """
    half = dimension // 2
    raw = jax.random.normal(key, (sizes.total, dimension))
    first = jnp.arange(dimension) < half
    inside = _unit(jnp.where(first, raw, 0.0))
    beyond = _unit(jnp.where(first, 0.0, raw))
    share = jnp.asarray(knobs.feature_overlap)
    mixed = jnp.sqrt(share) * inside + jnp.sqrt(1 - share) * beyond
    is_task = (jnp.arange(sizes.total) // sizes.contexts == 2)[:, None]
    return jnp.where(is_task, mixed, inside)


def _unit(rows: jax.Array) -> jax.Array:
    return rows / jnp.linalg.norm(rows, axis=-1, keepdims=True)
