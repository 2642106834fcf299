"""Adam on the logits of all distributions, every form and restart of a world at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sims.precision  # noqa: F401  (64-bit before the first trace)
from sims.adversary.form import Attempt, Form
from theory.divergence import Array

# Of the ascent's curve.
HISTORY = 40
_RATE, _LAST_RATE = 0.2, 0.005
# Gaps below this share of the nats that enter them cannot be told from rounding: no use there.
_LEAST = 1.5e-8

Parameters = dict[str, Array]


class World:
    """Instances of one shape, and the forms to attack on them.

    ``limits``: least and largest value of each free parameter. ``told``: which of an instance's
    quantities :meth:`attempt` makes a problem of.
    """

    name: str
    forms: Sequence[Form]
    limits: Mapping[str, tuple[float, float]]
    told: tuple[str, ...] = ()

    def draw(self, rng: np.random.Generator, form: Form, n: int) -> Parameters:
        """``n`` random starts of the free parameters, and the ``fixed_...`` ones of its setting."""
        raise NotImplementedError

    def quantities(self, parameters: Mapping[str, jax.Array]) -> Any:
        """One traced instance: what the forms' formulas are made of."""
        raise NotImplementedError

    def instance(self, quantities: Any) -> dict[str, jax.Array]:
        """The numbers that :meth:`attempt` makes a problem of."""
        return {name: getattr(quantities, name) for name in self.told}

    def attempt(self, form: Form, x: Mapping[str, Array]) -> Attempt:
        """Instances ``[n]`` as theory sees them, with their truths by another path."""
        raise NotImplementedError


def ascend(
    world: World, parameters: Parameters, which: np.ndarray, steps: int
) -> tuple[dict[str, Array], Array, Array]:
    """The best instance of every start ``[n]``, its rounding size and the curve ``[HISTORY, n]``.

    ``which [n]`` is the form that a start attacks. Raises ValueError for fewer than 1 step.
    """
    if steps < 1:
        raise ValueError(f"a search needs at least 1 step, not {steps}.")
    free, fixed = ({}, {})
    for name, value in parameters.items():
        (fixed if name.startswith("fixed_") else free)[name] = np.asarray(value, dtype=np.float64)
    given = (free, fixed, np.asarray(which, dtype=np.int64), np.int64(steps))
    shapes = jax.tree.map(lambda a: jax.ShapeDtypeStruct(np.shape(a), a.dtype), given)
    instances, sizes, curve = _compiled(
        world, jax.tree.structure(shapes), *jax.tree.leaves(shapes)
    )(*given)
    return {k: np.asarray(v) for k, v in instances.items()}, np.asarray(sizes), np.asarray(curve)


# Hundreds of small operations, run a few hundred times: compiling them is most of the work, and
# XLA's older emitters take half as long over it.
_QUICK: dict[str, str | bool] = {"xla_cpu_use_fusion_emitters": False}


@lru_cache(maxsize=16)
def _compiled(world: World, structure, *leaves):
    lowered = jax.jit(partial(_ascend, world)).lower(*jax.tree.unflatten(structure, leaves))
    try:
        return lowered.compile(compiler_options=_QUICK)
    except jax.errors.JaxRuntimeError:  # an XLA that no longer knows the option
        return lowered.compile()


def _ascend(world: World, free, fixed, which, steps):
    def objective(free, fixed, which):
        q = world.quantities({**free, **fixed})
        values = []
        for form in world.forms:
            top, bottom = form.ratio(q)
            values.append(top / (jnp.maximum(bottom, 0.0) + _LEAST * form.size(q)))
        return jnp.stack(values)[which]

    climb = jax.vmap(jax.value_and_grad(objective))
    adam = optax.scale_by_adam(b2=0.99)
    count = which.shape[0]

    def step(i, state):
        free, memory, best, best_value, curve = state
        value, slope = climb(free, fixed, which)
        value = jnp.where(jnp.isfinite(value), value, -jnp.inf)
        better = value > best_value

        def keep(new, old):
            return jnp.where(better.reshape(count, *[1] * (new.ndim - 1)), new, old)

        best = jax.tree.map(keep, free, best)
        best_value = jnp.maximum(value, best_value)
        curve = curve.at[i * HISTORY // steps].set(best_value)
        slope = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), -g, 0.0), slope)
        found, memory = adam.update(slope, memory)
        update = cast("dict[str, jax.Array]", found)
        share = 0.5 * (1.0 + jnp.cos(jnp.pi * i / steps))
        rate = _LAST_RATE + (_RATE - _LAST_RATE) * share
        free = {
            name: jnp.clip(v - rate * update[name], *world.limits[name]) for name, v in free.items()
        }
        return free, memory, best, best_value, curve

    state = (
        free,
        adam.init(free),
        free,
        jnp.full(count, -jnp.inf),
        jnp.full((HISTORY, count), -jnp.inf),
    )
    _, _, best, _, curve = jax.lax.fori_loop(0, steps, step, state)

    def told(free, fixed, which):
        q = world.quantities({**free, **fixed})
        sizes = jnp.stack([jnp.asarray(form.size(q), dtype=float) for form in world.forms])
        return world.instance(q), sizes[which]

    return *jax.vmap(told)(best, fixed, which), jax.lax.cummax(curve, axis=0)
