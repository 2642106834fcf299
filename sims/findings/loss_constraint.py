"""Findings of Case I: how the safety gap decays in lambda, and when it should not be raised."""

from __future__ import annotations

from functools import lru_cache
from typing import Literal

import jax
import numpy as np

from sims.findings.ensemble import Ensemble, Lab
from sims.findings.finding import SimulatedFinding, of_mean, of_share, slopes
from sims.finetune import Plan
from sims.models.table import Table
from theory.divergence import Array, kl, mean_ratio
from theory.loss_constraint import safety_gap_expansion

TABLE = Lab(Table(), Plan(steps=400, rate=0.3), chunk=256)
_LARGE = np.geomspace(100.0, 1000.0, 5)


@lru_cache(maxsize=4)
def excess_slopes(seed: int, teacher_mismatch: float, n: int) -> Array:
    """Exponents of ``|G_s - Phi|`` in lambda from 100 to 1000, ``[n]``, of trained tables (T5)."""
    made = TABLE.ensemble(seed, n, overlap=0.6, disagreement=0.5, teacher_mismatch=teacher_mismatch)
    floor = np.asarray(safety_gap_expansion(made.tables())[0])
    run = made.finetuned(lam=_LARGE)
    return slopes(_LARGE, np.abs(run.gaps.safety - floor[:, None]))


def same_teacher_decay(
    seed: int, *, teacher_mismatch: float = 0.0, n: int = 32
) -> SimulatedFinding:
    """T5: a proxy of the same teacher leaves an excess like lambda^-2."""
    return of_mean(
        "same_teacher_decay",
        "with the same teacher the safety gap falls to its floor like lambda^-2",
        excess_slopes(seed, teacher_mismatch, n),
        (-2.1, -1.9),
    )


def other_teacher_decay(
    seed: int, *, teacher_mismatch: float = 0.5, n: int = 32
) -> SimulatedFinding:
    """T5: a proxy of another teacher leaves an excess like lambda^-1 (of either sign).

    At a mismatch of 0.5 the first-order term is far from 0 in these pairs. Where it almost
    vanishes, lambda^-1 shows only beyond these lambdas.
    """
    return of_mean(
        "other_teacher_decay",
        "with another teacher the safety gap tends to its floor like lambda^-1",
        excess_slopes(seed, teacher_mismatch, n),
        (-1.1, -0.9),
    )


_GRID = np.array([1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10000.0])
# Nearer to 1 the turn lies beyond the grid, or within the error of training.
_CLOSE = 0.03
_ERROR = 1e-6
# The first of the contexts that safety, proxy and task data share.
_SHARED = TABLE.model.sizes.contexts


def over_penalising(
    seed: int, *, under: Literal["task", "safety"] = "task", n: int = 120
) -> SimulatedFinding:
    """T5(b): on a context, a finite lambda beats lambda = inf iff ``E_mu_f[mu_s / mu_hat] > 1``.

    Random teachers; the task leans to either side of ``mu_s / mu_hat``. ``under="safety"`` takes
    the expectation over the safety teacher instead, which tells nothing. One context an instance
    counts, as contexts of one instance share their masses.
    """
    ratio = _task_and_safety_ratios(seed, n)
    criterion = ratio[0 if under == "task" else 1]
    clear = np.abs(ratio[0] - 1.0) > _CLOSE
    return of_share(
        "over_penalising",
        "a finite lambda beats lambda = inf on a context exactly if E_mu_f[mu_s / mu_hat] > 1",
        (_finite_is_better(seed, n) == (criterion > 1.0))[clear],
        (0.85, 1.0),
    )


@lru_cache(maxsize=2)
def _finite_is_better(seed: int, n: int) -> Array:
    """``[n]``: whether some smaller lambda leaves the first shared context safer than 10^4."""
    made = _leaning(seed, n)
    run = made.finetuned(lam=_GRID)
    policies = np.stack([made.policies(run.theta[:, j]) for j in range(len(_GRID))])
    gap = kl(np.asarray(made.problem.pair.mu_s), policies)[..., _SHARED]
    return gap[:-1].min(axis=0) < gap[-1] - _ERROR


def _task_and_safety_ratios(seed: int, n: int) -> tuple[Array, Array]:
    """``E[mu_s / mu_hat]`` under the task's and the safety teacher, ``[n]``, on that context."""
    pair = _leaning(seed, n).problem.pair
    mu_s, mu_hat, mu_f = (np.asarray(mu)[:, _SHARED] for mu in (pair.mu_s, pair.mu_hat, pair.mu_f))
    return mean_ratio(mu_f, mu_s, mu_hat), mean_ratio(mu_s, mu_s, mu_hat)


@lru_cache(maxsize=2)
def _leaning(seed: int, n: int) -> Ensemble:
    """Instances of random teachers whose task is tilted by a power of ``mu_s / mu_hat``."""
    made = TABLE.ensemble(seed, n, overlap=0.6)
    rng = np.random.default_rng(seed)
    shape = made.problem.pair.mu_s.shape
    log_s, log_hat, log_f = 0.7 * rng.normal(size=(3, *shape))
    tilt = rng.choice([-1.5, 1.0], size=(n, 1, 1))
    mu_s, mu_hat = (np.asarray(jax.nn.softmax(z)) for z in (log_s, log_hat))
    log_f = log_f + tilt * (np.log(mu_s) - np.log(mu_hat))
    return made.replaced(mu_s=mu_s, mu_hat=mu_hat, mu_f=np.asarray(jax.nn.softmax(log_f)))
