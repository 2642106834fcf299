"""Findings on the onset (T19): how the safety gap starts along small steps of descent."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from sims.findings.ensemble import Ensemble, Lab
from sims.findings.finding import SimulatedFinding, of_mean, slopes
from sims.finetune import Plan
from sims.models.base import TableProblem
from sims.models.log_linear import LogLinear
from sims.models.quadratic import Bowls, Quadratic
from sims.pair import Pair, Sizes
from theory.divergence import Array

Family = Literal["quadratic", "log-linear"]

# Small steps that stay far from the task's optimum: gradient flow up to t = steps rate.
_STEPS = 800
_BOWLS = Lab(Quadratic(), Plan(_STEPS, 0.02 / _STEPS, optimiser="sgd", constant=True), chunk=32)
_LOG_LINEAR = Lab(
    LogLinear(Sizes(contexts=2)),
    Plan(_STEPS, 0.5 / _STEPS, optimiser="sgd", constant=True),
    chunk=32,
)


def onset_paths(seed: int, family: Family, *, avoids: bool, n: int) -> tuple[Array, Array]:
    """Times ``[8]`` and safety gaps ``[n, 8]`` of gradient descent on the task alone.

    ``avoids``: the task's gradient at the aligned model has no part in the safety-sensitive
    directions, though its curvature leads there.
    """
    made = (_bowls if family == "quadratic" else _log_linear)(seed, avoids, n)
    path = np.asarray(made.finetuned(lam=[0.0]).path.safety)[:, 0, 1:]
    plan = made.lab.plan
    steps = np.arange(1, plan.points + 1, dtype=np.float64)
    return plan.rate * plan.stride * steps, path


def _bowls(seed: int, avoids: bool, n: int) -> Ensemble:
    rng = np.random.default_rng(seed)
    d = _BOWLS.model.dimension
    sensitive = np.linalg.qr(rng.normal(size=(n, d, d)))[0][..., : d // 2]
    sizes = np.exp(0.5 * rng.normal(size=(n, 1, d // 2)))
    H_s = (sensitive * sizes) @ np.swapaxes(sensitive, 1, 2)
    root = rng.normal(size=(n, d, 2 * d)) / np.sqrt(2 * d)
    H_f = root @ np.swapaxes(root, 1, 2)
    gradient = rng.normal(size=(n, d))
    if avoids:
        gradient -= np.einsum("nik,njk,nj->ni", sensitive, sensitive, gradient)
    theta_s = np.zeros((n, d))
    theta_f = -np.linalg.solve(H_f, gradient[..., None])[..., 0]
    problem = Bowls._make((H_s, H_s, H_f, theta_s, theta_s, theta_f))
    return _ensemble(_BOWLS, problem, theta_s)


def _log_linear(seed: int, avoids: bool, n: int) -> Ensemble:
    """Two task contexts whose safety-like features are the same: their pulls cancel, or add up.

    The safety data are the aligned model's own answers, so that it sits at an exact minimum. The
    task's masses differ, or the pulls would cancel at every order.
    """
    model, rng = _LOG_LINEAR.model, np.random.default_rng(seed)
    contexts, half = model.sizes.total, model.dimension // 2
    weights = 0.7 * rng.normal(size=(n, model.dimension, model.sizes.responses))
    weights[:, half:] = 0.0  # safety data say nothing of the other features
    phi = rng.normal(size=(n, contexts, model.dimension)) * np.sqrt(2.0 / model.dimension)
    phi[:, :-2, half:] = 0.0
    phi[:, -1, :half] = phi[:, -2, :half]
    policy = np.asarray(jax.nn.softmax(phi @ weights))
    answers = policy[:, -1]
    other = rng.dirichlet(np.ones(answers.shape[-1]), size=n)
    push = other - other.mean(axis=-1, keepdims=True)
    # No probability falls below a tenth of what it was.
    push *= 0.3 * answers.min(axis=-1, keepdims=True) / np.abs(push).max(axis=-1, keepdims=True)
    masses = np.array([0.7, 0.3])
    mu_f = policy.copy()
    mu_f[:, -2] += push
    mu_f[:, -1] += push * (-masses[0] / masses[1] if avoids else 1.0)
    rho_s, rho_f = np.zeros((2, n, contexts))
    rho_s[:, :-2], rho_f[:, -2:] = 1.0 / (contexts - 2), masses
    pair = Pair._make((rho_s, policy, rho_s, policy, rho_f, mu_f))
    return _ensemble(_LOG_LINEAR, TableProblem._make((pair, phi)), weights.reshape(n, -1))


def _ensemble(lab: Lab[Any], problem: Any, theta_s: Array) -> Ensemble:
    keys = jax.random.split(jax.random.key(0), len(theta_s))  # no plan here draws batches
    return Ensemble(lab, jax.tree.map(jnp.asarray, problem), jnp.asarray(theta_s), keys)


def quadratic_onset(
    seed: int, *, family: Family = "quadratic", avoids: bool = False, n: int = 32
) -> SimulatedFinding:
    """T19: the safety gap starts like t^2."""
    return _onset("quadratic_onset", (1.9, 2.1), seed, family, avoids, n)


def quartic_onset(
    seed: int, *, family: Family = "quadratic", avoids: bool = True, n: int = 32
) -> SimulatedFinding:
    """T19: it starts like t^4 where the task's gradient avoids the safety curvature."""
    return _onset("quartic_onset", (3.8, 4.2), seed, family, avoids, n)


def _onset(
    name: str, claimed: tuple[float, float], seed: int, family: Family, avoids: bool, n: int
) -> SimulatedFinding:
    times, gaps = onset_paths(seed, family, avoids=avoids, n=n)
    where = "avoids" if avoids else "meets"
    return of_mean(
        name,
        f"the safety gap of {family} models starts like t^{sum(claimed) / 2:g} where the task's "
        f"gradient {where} the safety curvature",
        slopes(times, gaps),
        claimed,
    )
