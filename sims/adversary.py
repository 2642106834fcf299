"""Adversarial search: gradient ascent on truth / bound over a table's own distributions."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import sims.precision  # noqa: F401  (64-bit before the first trace)
from finebound.progress import Progress, silent
from finebound.records import spawn_seed

# Everything is in [n, X] masses and [n, X, V] targets; sizes of the searched problems.
CONTEXTS, RESPONSES = 2, 3
# A gap is known to about 1e-16 nats: below these sizes (of roots, of gaps) a ratio says little.
_LEAST = {"sqrt_sum": 1e-3}
_LEAST_GAP = 1e-6

Instance = dict[str, jax.Array]


def _kl(p: jax.Array, q: jax.Array) -> jax.Array:
    """``KL(p || q)`` of rows of full support, each summand ``p log(p / q) - p + q >= 0``."""
    return (p * (jnp.log(p) - jnp.log(q)) - p + q).sum(axis=-1)


def _mixture(x: Instance) -> tuple[jax.Array, jax.Array]:
    """``P_lambda`` and its weight ``w`` on the proxy's targets."""
    w = x["lam"] * x["rho_hat"] / (x["rho_f"] + x["lam"] * x["rho_hat"])
    return (1.0 - w)[..., None] * x["mu_f"] + w[..., None] * x["mu_hat"], w


def _proxy_gap(x: Instance) -> jax.Array:
    return (x["rho_hat"] * _kl(x["mu_hat"], _mixture(x)[0])).sum()


def _capability_gap(x: Instance) -> jax.Array:
    return (x["rho_f"] * _kl(x["mu_f"], _mixture(x)[0])).sum()


def _safety_gap(x: Instance) -> jax.Array:
    return (x["rho_s"] * _kl(x["mu_s"], _mixture(x)[0])).sum()


def _tau(x: Instance) -> jax.Array:
    return 0.5 * jnp.abs(x["mu_f"] - x["mu_hat"]).sum(axis=-1)


def _odds(x: Instance) -> jax.Array:
    return x["lam"] * x["rho_hat"] / x["rho_f"]


def _floor(x: Instance) -> jax.Array:
    return (x["rho_s"] * _kl(x["mu_s"], x["mu_hat"])).sum()


def _total(x: Instance) -> jax.Array:
    return _capability_gap(x) + x["lam"] * _proxy_gap(x)


def _pinsker(x: Instance) -> jax.Array:
    return (2.0 * x["rho_f"] * _mixture(x)[1] * _tau(x) ** 2).sum()


def _entropy(x: Instance) -> jax.Array:
    w = _mixture(x)[1]
    binary = -w * jnp.log(w) - (1.0 - w) * jnp.log1p(-w)
    return ((x["rho_f"] + x["lam"] * x["rho_hat"]) * binary * _tau(x)).sum()


def _gaps(x: Instance) -> tuple[jax.Array, jax.Array]:
    """``G_s, G_f`` of a policy of its own."""
    safety = (x["rho_s"] * _kl(x["mu_s"], x["policy"])).sum()
    return safety, (x["rho_f"] * _kl(x["mu_f"], x["policy"])).sum()


def _front(x: Instance) -> jax.Array:
    """The least ``G_f + lam G_s`` of any policy."""
    return _total({**x, "rho_hat": x["rho_s"], "mu_hat": x["mu_s"]})


def _weighted(x: Instance) -> jax.Array:
    safety, task = _gaps(x)
    return task + x["lam"] * safety


def _overlap(x: Instance) -> jax.Array:
    tau = 0.5 * jnp.abs(x["mu_f"] - x["mu_s"]).sum(axis=-1)
    return jnp.sqrt(2.0 * (jnp.minimum(x["rho_f"], x["rho_s"]) * tau**2).sum())


def _roots(x: Instance) -> jax.Array:
    safety, task = _gaps(x)
    return jnp.sqrt(safety) + jnp.sqrt(task)


# (statement, quantity, start of the form) -> bound and truth of one instance, and whether the
# bound is an upper one.
TIGHT: dict[tuple[str, str, str], tuple[Callable, Callable, bool]] = {
    ("T3", "weighted_sum", "G_f + lambda G_hat_s, Pinsker"): (_pinsker, _total, False),
    ("T3", "weighted_sum", "G_f + lambda G_hat_s, entropy"): (_entropy, _total, True),
    ("T4", "proxy_safety_gap", "logarithm"): (
        lambda x: (x["rho_hat"] * _tau(x) * jnp.log1p(1.0 / _odds(x))).sum(),
        _proxy_gap,
        True,
    ),
    ("T4", "capability_gap", "logarithm"): (
        lambda x: (x["rho_f"] * _tau(x) * jnp.log1p(_odds(x))).sum(),
        _capability_gap,
        True,
    ),
    ("T4", "proxy_safety_gap", "mass"): (
        lambda x: jnp.log1p(1.0 / x["lam"]),
        _proxy_gap,
        True,
    ),
    ("T4", "capability_gap", "mass"): (lambda x: jnp.log1p(x["lam"]), _capability_gap, True),
    ("T4", "proxy_safety_gap", "Pinsker"): (
        lambda x: 2.0 * (x["rho_hat"] * ((1.0 - _mixture(x)[1]) * _tau(x)) ** 2).sum(),
        _proxy_gap,
        False,
    ),
    ("T4", "capability_gap", "Pinsker"): (
        lambda x: 2.0 * (x["rho_f"] * (_mixture(x)[1] * _tau(x)) ** 2).sum(),
        _capability_gap,
        False,
    ),
    ("T5", "safety_gap", "logarithm"): (
        lambda x: _floor(x) + (x["rho_s"] * jnp.log1p(1.0 / _odds(x))).sum(),
        _safety_gap,
        True,
    ),
    ("T10", "weighted_sum", "G_f + lambda G_s"): (_front, _weighted, False),
    ("T10", "sqrt_sum", "overlap"): (_overlap, _roots, False),
}


def instance(parameters: Instance) -> Instance:
    """Distributions from free logits and ``log lam``: full supports, contexts all shared."""
    soft = {name: jax.nn.softmax(parameters[name]) for name in parameters if name != "log_lam"}
    return {**soft, "lam": jnp.exp(parameters["log_lam"])}


def random_parameters(rng: np.random.Generator, n: int) -> dict[str, np.ndarray]:
    """``n`` starts: logits ``[n, X]`` and ``[n, X, V]`` of several scales, ``log lam [n]``."""
    scale = rng.choice([0.3, 1.0, 4.0], size=(n, 1))
    masses = {name: rng.normal(size=(n, CONTEXTS)) for name in ("rho_s", "rho_hat", "rho_f")}
    targets = {
        name: scale[..., None] * rng.normal(size=(n, CONTEXTS, RESPONSES))
        for name in ("mu_s", "mu_hat", "mu_f", "policy")
    }
    return {**masses, **targets, "log_lam": rng.normal(size=n)}


def ratio(key: tuple[str, str, str], parameters: Instance) -> jax.Array:
    """Truth / bound of one instance (bound / truth of a lower bound): at most 1 if it holds."""
    bound, truth, upper = TIGHT[key]
    x = instance(parameters)
    top, bottom = (truth(x), bound(x)) if upper else (bound(x), truth(x))
    least = _LEAST.get(key[1], _LEAST_GAP)
    return jnp.where(jnp.minimum(top, bottom) > least, top / jnp.maximum(bottom, least), 0.0)


@partial(jax.jit, static_argnames="key")
def _ascend(parameters: Instance, steps: int, *, key: tuple[str, str, str]):
    optimiser = optax.adam(0.1)
    value_and_grad = jax.vmap(jax.value_and_grad(partial(ratio, key)))

    def step(_, state):
        parameters, memory, best = state
        value, gradient = value_and_grad(parameters)
        gradient = jax.tree.map(lambda g: jnp.where(jnp.isfinite(g), -g, 0.0), gradient)
        update, memory = optimiser.update(gradient, memory)
        parameters = optax.apply_updates(parameters, update)
        # Within +-40 every probability stays far above the smallest float.
        parameters = jax.tree.map(lambda p: jnp.clip(p, -40.0, 40.0), parameters)
        return parameters, memory, jnp.maximum(best, jnp.nanmax(value))

    start = jax.vmap(partial(ratio, key))(parameters)
    state = (parameters, optimiser.init(parameters), jnp.nanmax(start))
    return jax.lax.fori_loop(0, steps, step, state)[2]


def search(
    *, seed: int, restarts: int = 64, steps: int = 600, progress: Progress = silent
) -> dict[str, float]:
    """Highest ratio found for each tight bound, from ``restarts`` random starts of Adam."""
    found = {}
    for key in progress(list(TIGHT), "searching for the worst case"):
        rng = np.random.default_rng(spawn_seed(seed, "/".join(key)))
        parameters = random_parameters(rng, restarts)
        found["/".join(key)] = float(_ascend(parameters, steps, key=key))
    return found
