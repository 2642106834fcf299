"""Findings on limits: the price of an unseen context, and the quadratic front."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import jax
import numpy as np

from sims.findings.ensemble import Lab
from sims.findings.finding import SimulatedFinding, of_mean, slopes
from sims.finetune import Plan
from sims.models.mlp import MLP
from sims.models.quadratic import Quadratic
from sims.pair import Pair
from theory.divergence import Array, kl

NETWORK = Lab(MLP(dimension=10), Plan(steps=300, rate=0.03), chunk=128)
BOWLS = Lab(Quadratic(), Plan(steps=800, rate=0.2), chunk=128)
ETAS = np.geomspace(0.02, 0.2, 5)


@lru_cache(maxsize=2)
def _proxy_and_policy(seed: int, n: int) -> tuple[Pair, Array]:
    """Pairs and the policies ``[n, X, V]`` of networks fine-tuned on them at lambda = 100."""
    made = NETWORK.ensemble(seed, n, overlap=0.5)
    run = made.finetuned(lam=[100.0])
    return jax.tree.map(np.asarray, made.problem.pair), made.policies(run.theta[:, 0])


def worst_gaps(seed: int, n: int, etas: Array) -> Array:
    """``[n, m]``: safety gaps of fine-tuned networks on T11's worst safety data at each eta.

    With mass eta the safety data lie on a context that nobody trained on, and ask for the answer
    that the model gives least; the rest is the proxy. Nats.
    """
    pair, policy = _proxy_and_policy(seed, n)
    # The last group of contexts is the proxy's own, which has no mass without context mismatch.
    unseen = -np.log(policy[:, -1].min(axis=-1, keepdims=True))
    rest = (pair.rho_hat * kl(pair.mu_hat, policy)).sum(axis=-1, keepdims=True)
    return (1.0 - etas) * rest + etas * unseen


def local_gaps(seed: int, n: int, etas: Array) -> Array:
    """``[n, m]``: the same networks where the safety teacher is a little off, at a random answer.

    Contexts and answers are all in the proxy's support: nothing is unseen.
    """
    pair, policy = _proxy_and_policy(seed, n)
    rho, mu = pair.rho_hat, pair.mu_hat
    other = np.random.default_rng(seed).dirichlet(np.ones(mu.shape[-1]), size=mu.shape[:-1])
    gaps = [(rho * kl((1.0 - eta) * mu + eta * other, policy)).sum(axis=-1) for eta in etas]
    return np.stack(gaps, axis=-1)


def minimax_floor(seed: int, *, worst_case: bool = True, n: int = 32) -> SimulatedFinding:
    """T11(a): the worst safety gap grows linearly in the total variation that was not seen.

    Without the worst case (``worst_case=False``) it is quadratic instead.
    """
    gaps = (worst_gaps if worst_case else local_gaps)(seed, n, ETAS)
    return of_mean(
        "minimax_floor",
        "the worst-case safety gap is linear in the total variation of proxy and safety data",
        slopes(ETAS, gaps),
        (0.9, 1.1),
    )


def minimax_price(seed: int, *, worst_case: bool = True, n: int = 32) -> SimulatedFinding:
    """T11(a): that price is at least ``eta log V``; the effect is the ratio of the two, eta 0.1."""
    eta = np.array([0.1])
    gaps = (worst_gaps if worst_case else local_gaps)(seed, n, eta)
    return of_mean(
        "minimax_price",
        "the worst-case safety gap is at least eta log V",
        gaps[:, 0] / (eta * np.log(NETWORK.model.sizes.responses)),
        (1.0, np.inf),
    )


def parallel_sum(
    seed: int, *, curvature: Literal["safety", "isotropic"] = "safety", n: int = 40
) -> SimulatedFinding:
    """Quadratic model: ``G_f + lam G_s`` of trained bowls is ``d' (H_f : lam H_s) d / 2``.

    ``curvature="isotropic"`` predicts with a multiple of the identity of the same trace, as if
    only distance counted. The effect is the logarithm of measured over predicted, at lambda = 1.
    """
    rng = np.random.default_rng(seed)
    made = BOWLS.ensemble(seed, n, overlap=rng.random(n))
    bowls = made.problem
    H_s, H_f, d = (np.asarray(x) for x in (bowls.H_s, bowls.H_f, bowls.theta_f - bowls.theta_s))
    if curvature == "isotropic":
        H_s = np.trace(H_s, axis1=1, axis2=2)[:, None, None] / d.shape[-1] * np.eye(d.shape[-1])
    front = 0.5 * np.einsum("ni,nij,nj->n", d, H_f @ np.linalg.solve(H_f + H_s, H_s), d)
    gaps = made.finetuned(lam=[1.0]).gaps
    return of_mean(
        "parallel_sum",
        "the parallel sum of the curvatures predicts the front of quadratic losses",
        np.log((gaps.task + gaps.safety)[:, 0] / front),
        (-1e-3, 1e-3),
    )
