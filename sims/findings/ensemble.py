"""Many instances of one toy model class: aligned together, fine-tuned at a grid of strengths."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Generic, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

from sims.finetune import Finetuned, Plan, Strength, tuning
from sims.models.base import ModelClass
from sims.models.quadratic import Bowls
from sims.pair import Knobs
from theory.divergence import Array
from theory.problem import Distribution, TabularProblem


@dataclass(frozen=True, eq=False)
class Ensemble:
    """``n`` instances: their problems and aligned models ``theta_s [n, d]``."""

    lab: Lab[Any]
    problem: Any
    theta_s: jax.Array
    keys: jax.Array

    def __len__(self) -> int:
        return len(self.keys)

    def replaced(self, **targets: Any) -> Ensemble:
        """The same instances, some masses or targets of their pairs being others, ``[n, ...]``."""
        pair = self.problem.pair._replace(**targets)
        return Ensemble(self.lab, self.problem._replace(pair=pair), self.theta_s, self.keys)

    def finetuned(self, **strengths: Any) -> Finetuned:
        """Every instance at every strength, each ``[m]`` or ``[n, m]``: results ``[n, m, ...]``.

        Names are those of :class:`sims.finetune.Strength`; one that is not given stays at its
        default.
        """
        given = {name: np.asarray(values, dtype=float) for name, values in strengths.items()}
        shape = np.broadcast_shapes((len(self), 1), *(values.shape for values in given.values()))
        full = {
            name: np.broadcast_to(given.get(name, np.asarray(default)), shape).ravel()
            for name, default in Strength()._asdict().items()
        }
        n, m = shape
        repeated = jax.tree.map(
            lambda leaf: jnp.repeat(leaf, m, axis=0), (self.problem, self.theta_s)
        )
        done = self.lab.in_chunks(
            tuning(self.lab.model, self.lab.plan),
            (*repeated, Strength()._replace(**full), jnp.repeat(self.keys, m, axis=0)),
        )
        return jax.tree.map(lambda leaf: np.asarray(leaf).reshape(n, m, *leaf.shape[1:]), done)

    def policies(self, theta: Any) -> Array:
        """``[n, X, V]`` of parameters ``[n, d]``."""
        logits = jax.vmap(self.lab.model.logits)(jnp.asarray(theta), self.problem.inputs)
        return np.asarray(jax.nn.softmax(logits.astype(jnp.float64)))

    def tables(self) -> TabularProblem:
        """The pairs and the aligned models' policies as theory's problem: its batch is ``n``."""
        pair = jax.tree.map(np.asarray, self.problem.pair)
        return TabularProblem(
            safety=Distribution(pair.rho_s, pair.mu_s),
            proxy=Distribution(pair.rho_hat, pair.mu_hat),
            task=Distribution(pair.rho_f, pair.mu_f),
            aligned=self.policies(self.theta_s),
        )


M = TypeVar("M", bound=ModelClass)


@dataclass(frozen=True)
class Lab(Generic[M]):
    """A model class and the plan it is trained by; ``chunk`` runs share one compiled program."""

    model: M
    plan: Plan
    chunk: int = 64

    def ensemble(self, seed: int, n: int, *, stop: float = 1.0, **knobs: Any) -> Ensemble:
        """``n`` instances drawn from ``seed``, aligned; each knob a number or ``[n]``.

        ``stop``: share of the steps after which alignment ends, below 1 for an under-aligned model.
        """
        keys = jax.random.split(jax.random.key(seed), n)
        return self.ensemble_of(keys, stop=stop, **knobs)

    def ensemble_of(self, keys: jax.Array, *, stop: float = 1.0, **knobs: Any) -> Ensemble:
        """As :meth:`ensemble`, of given keys: the same key is the same draw at other knobs."""
        full = {
            name: np.broadcast_to(np.asarray(knobs.get(name, default), dtype=float), len(keys))
            for name, default in Knobs()._asdict().items()
        }
        problem, start = self.in_chunks(_drawing(self.model), (keys, Knobs()._replace(**full)))
        strength = Strength._make(np.full(len(keys), float(x)) for x in Strength(stop=stop))
        # Alignment is a fine-tune on the safety data: no second program to compile.
        as_task = (_safety_as_task(problem), start, strength, keys)
        aligned = self.in_chunks(tuning(self.model, self.plan), as_task)
        return Ensemble(self, problem, aligned.theta, keys)

    def in_chunks(self, program: Callable[..., Any], arguments: Any) -> Any:
        """``program`` over the leading axis, ``chunk`` rows at a time; the last ones are repeated.

        A fixed size is compiled once, whatever the number of rows.
        """
        n = len(jax.tree.leaves(arguments)[0])
        rows = np.minimum(np.arange(-(-n // self.chunk) * self.chunk), n - 1)
        parts = [
            program(*jax.tree.map(lambda leaf, part=part: leaf[part], arguments))
            for part in rows.reshape(-1, self.chunk)
        ]
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves)[:n], *parts)


def _safety_as_task(problem: Any) -> Any:
    if isinstance(problem, Bowls):
        return problem._replace(H_f=problem.H_s, theta_f=problem.theta_s)
    pair = problem.pair
    return problem._replace(pair=pair._replace(rho_f=pair.rho_s, mu_f=pair.mu_s))


@lru_cache
def _drawing(model: ModelClass) -> Callable[..., Any]:
    def drawn(key_and_knobs: tuple[jax.Array, Knobs]):
        problem = model.problem(*key_and_knobs)
        return problem, model.start(key_and_knobs[0], problem)

    # One instance after the other: random draws compile several times faster than batched.
    return jax.jit(lambda *batch: jax.lax.map(drawn, batch))
