"""What every toy model class offers: problems from knobs, parameters, exact gaps."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from sims.pair import Knobs, Pair, Sizes, draw_pair, features


class Gaps(NamedTuple):
    """``f - floor`` of the three losses, nats a response; floors are those of the best policy."""

    safety: jax.Array
    proxy: jax.Array
    task: jax.Array


class ModelClass(Protocol):
    """A class of models on toy pairs. Everything is a pure function of one instance: vmap it.

    A problem is any pytree (a ``TableProblem``, two bowls, ...); parameters are one flat vector
    ``theta [d]``, so that norms and radii are Euclidean. Instances are hashable: they are compiled
    in.
    """

    @property
    def name(self) -> str: ...

    def problem(self, key: jax.Array, knobs: Knobs) -> Any:
        """The instance that the knobs describe."""
        ...

    def start(self, key: jax.Array, problem: Any) -> jax.Array:
        """Parameters ``[d]`` before alignment."""
        ...

    def gaps(self, theta: jax.Array, problem: Any) -> Gaps:
        """Exact population gaps."""
        ...

    def sampled(self, key: jax.Array, problem: Any, batch: int) -> Any:
        """A problem whose gradients are those of ``batch`` fresh draws: unbiased."""
        ...


class TableProblem(NamedTuple):
    """A pair and what the model sees of each context (``[X, ...]``: index, features, tokens)."""

    pair: Pair
    inputs: jax.Array


class OnTables:
    """Classes of softmax policies over finitely many contexts: give ``logits``."""

    def logits(self, theta: jax.Array, inputs: jax.Array) -> jax.Array:
        """``[X, V]`` of the contexts that ``inputs`` describe."""
        raise NotImplementedError

    def constants(
        self, problem: TableProblem, theta_s: jax.Array, radius: jax.Array
    ) -> dict[str, jax.Array]:
        """What is proved of the class within ``radius`` of ``theta_s``, by theory's names.

        The base knows nothing: statements that need a constant do not apply then.
        """
        return {}

    def gaps(self, theta: jax.Array, problem: TableProblem) -> Gaps:
        """Exact population gaps, nats a response."""
        return cross_entropy_gaps(self.logits(theta, problem.inputs), problem.pair)

    def sampled(self, key: jax.Array, problem: TableProblem, batch: int) -> TableProblem:
        """Empirical distributions of ``batch`` (context, response) draws each."""
        one, two, three = jax.random.split(key, 3)
        pair = problem.pair
        drawn = Pair(
            *_empirical(one, pair.rho_s, pair.mu_s, batch),
            *_empirical(two, pair.rho_hat, pair.mu_hat, batch),
            *_empirical(three, pair.rho_f, pair.mu_f, batch),
        )
        return TableProblem(drawn, problem.inputs)


@dataclass(frozen=True)
class OnFeatures(OnTables):
    """Classes that see a feature vector ``[dimension]`` of each context."""

    sizes: Sizes = field(default_factory=Sizes)
    dimension: int = 24

    def problem(self, key: jax.Array, knobs: Knobs) -> TableProblem:
        """A pair and the features ``[X, k]`` of its contexts."""
        one, other = jax.random.split(key)
        phi = features(other, knobs, self.sizes, self.dimension)
        return TableProblem(draw_pair(one, knobs, self.sizes), phi)


def _empirical(
    key: jax.Array, rho: jax.Array, mu: jax.Array, batch: int
) -> tuple[jax.Array, jax.Array]:
    joint = (rho[:, None] * mu).ravel()
    drawn = jax.random.categorical(key, jnp.log(joint), shape=(batch,))
    counts = jnp.zeros_like(joint).at[drawn].add(1.0 / batch).reshape(mu.shape)
    mass = counts.sum(axis=-1)
    return mass, counts / jnp.where(mass > 0, mass, 1.0)[:, None]


# Softmax ignores a shift, so J counts half the range of the logits' change: its norm over sqrt(2).
HALF_RANGE = 0.5**0.5


def cross_entropy_gaps(logits: jax.Array, pair: Pair) -> Gaps:
    """``sum rho KL(mu || softmax(z))`` for the three distributions; ``logits [X, V]``."""
    log_policy = jax.nn.log_softmax(logits.astype(jnp.float64))
    # A policy sums to 1: its own part of the gradient is 0.
    policy = jax.lax.stop_gradient(jnp.exp(log_policy))

    def gap(rho: jax.Array, mu: jax.Array) -> jax.Array:
        used = mu > 0
        log_target = jnp.log(jnp.where(used, mu, 1.0))
        # p log(p / q) - p + q >= 0 term by term: small gaps keep their digits.
        terms = jnp.where(used, mu * (log_target - log_policy), 0.0) - mu + policy
        return (rho * terms.sum(axis=-1)).sum()

    return Gaps(
        gap(pair.rho_s, pair.mu_s), gap(pair.rho_hat, pair.mu_hat), gap(pair.rho_f, pair.mu_f)
    )
