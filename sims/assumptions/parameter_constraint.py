"""Assumptions of T6 to T10, T12 and T13: where theta_s stands, curvature, the optimiser."""

from __future__ import annotations

import numpy as np

from sims.assumptions.common import (
    AssumptionFinding,
    Experiment,
    bowls,
    distribution,
    half_form,
    strengths,
    table,
)
from sims.families import quadratic
from sims.families.tabular import gap
from sims.families.trust_region import moved
from theory.bound import Direction
from theory.divergence import Array
from theory.local import adam_step_factor
from theory.problem import Distribution, QuadraticProblem


def _stiffest(matrix: Array) -> tuple[Array, Array]:
    """The largest curvature ``[n]`` and its direction ``[n, k]``."""
    sizes, vectors = np.linalg.eigh(matrix)
    return sizes[..., -1], vectors[..., -1]


def _gradient_ignored(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T6: ``G_s(theta_s) + beta_s radius^2 / 2`` around a point that may have a gradient."""
    problem = bowls(rng, n)
    smoothness, stiff = _stiffest(problem.H_s)
    off = np.zeros((n, 2)) if holds else 0.3 * rng.normal(size=(n, 2))
    radius = 10.0 ** rng.uniform(-2, 0, size=n)
    uphill = np.einsum("nij,nj->ni", problem.H_s, off)
    length = np.linalg.norm(uphill, axis=-1, keepdims=True)
    step = np.where(length > 0, uphill / np.where(length > 0, length, 1.0), stiff)
    truth = half_form(problem.H_s, off + step * radius[:, None])
    return AssumptionFinding(half_form(problem.H_s, off) + 0.5 * smoothness * radius**2, truth)


def _pushed(rng: np.random.Generator, policy: Array, radius: Array) -> Array:
    """Logits moved by the radius: apart in one context, or at random."""
    step = rng.normal(size=policy.shape) * (rng.random((*policy.shape[:2], 1)) < 0.5)
    size = np.sqrt((step**2).sum(axis=(-2, -1), keepdims=True))
    return moved(policy, step * radius[:, None, None] / np.where(size > 0, size, 1.0))


def _aligned_elsewhere(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T6(ii), and T9 without data: ``J^2 radius^2 / 2`` with J^2 = 1/2, from theta_s alone."""
    safety = distribution(rng, n, 3, 4)
    share = 0.0 if holds else 10.0 ** rng.uniform(-2, 0, size=(n, 1, 1))
    aligned = (1 - share) * safety.target + share * rng.dirichlet(np.ones(4), (n, 3))
    problem = table(rng, n, safety=safety, aligned=aligned)
    radius = 10.0 ** rng.uniform(-2, 0.5, size=n)
    return AssumptionFinding(0.25 * radius**2, gap(safety, _pushed(rng, problem.aligned, radius)))


def _concave_task(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T7: ``(1 - t) G_0`` on the way to the optimum, of a task loss with a barrier on it.

    ``f(x) = c (x - 1)^2 (1 + b x^2)`` from x = 0: not convex for large b.
    """
    height = rng.uniform(0.0, 0.5, size=n) if holds else rng.uniform(8.0, 50.0, size=n)
    radius = rng.uniform(0.05, 0.95, size=n)
    x = np.linspace(0, 1, 400)[:, None] * radius
    reached = ((x - 1.0) ** 2 * (1.0 + height * x**2)).min(axis=0)
    return AssumptionFinding(1.0 - radius, reached)


def _wrong_proxy(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T8(c): some lambda of Case I is as safe as Case II and no less capable.

    The claim is a lower bound on Case II's capability gap: Case I's least one at that safety.
    """
    problem = bowls(rng, n)
    radius = np.linalg.norm(problem.displacement, axis=-1) * 10.0 ** rng.uniform(-1, 0, size=n)
    step = quadratic.best_step(problem, np.zeros(n), radius).astype(np.float64)
    safety, task = half_form(problem.H_s, step), half_form(problem.H_f, problem.displacement - step)
    proxy = problem.H_s if holds else bowls(rng, n).H_s
    centre = np.zeros((n, 2)) if holds else 0.3 * rng.normal(size=(n, 2))
    least = np.full(n, np.inf)
    for lam in np.geomspace(1e-6, 1e6, 1000):
        matrix = problem.H_f + lam * proxy
        pull = problem.H_f @ problem.displacement[..., None] + lam * proxy @ centre[..., None]
        point = np.linalg.solve(matrix, pull)[..., 0]
        as_safe = half_form(problem.H_s, point) <= safety * (1 + 1e-12)
        gap_there = half_form(problem.H_f, problem.displacement - point)
        least = np.where(as_safe, np.minimum(least, gap_there), least)
    # The grid steps by 2.8 % in lambda.
    return AssumptionFinding(least, task, Direction.LOWER, resolution=0.1)


def _flat_direction(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T10(d) with the least *curved* direction of f_s in the place of quadratic growth."""
    problem = bowls(rng, n, dimension=3)
    sizes, vectors = np.linalg.eigh(problem.H_s)
    if not holds:
        sizes[:, 0] = 0.0
    hessian = np.einsum("nij,nj,nkj->nik", vectors, sizes, vectors)
    problem = QuadraticProblem(hessian, problem.H_f, problem.theta_s, problem.theta_f)
    growth = sizes[:, 0] if holds else sizes[:, 1]
    rate = np.sqrt(problem.spectrum_f[:, -1] / growth)
    step = quadratic.best_step(problem, strengths(rng, n)).astype(np.float64)
    left = problem.displacement - step
    truth = np.sqrt(half_form(problem.H_f, left)) + rate * np.sqrt(half_form(hessian, step))
    start = np.sqrt(half_form(problem.H_f, problem.displacement))
    return AssumptionFinding(start, truth, Direction.LOWER)


def _curvature_at_centre(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T12 with the curvature of ``f_s - f_hat_s`` at theta_s instead of on the whole ball."""
    sure = 10.0 ** rng.uniform(-4, -1, size=n)
    aligned = np.repeat(np.stack([sure, 1 - sure], axis=-1)[:, None, :], 2, axis=1)
    # The same teacher, which the aligned model equals: no gradient, only curvature.
    parts = {
        name: Distribution(rng.dirichlet(np.ones(2), n), aligned) for name in ("safety", "proxy")
    }
    problem = table(rng, n, contexts=2, responses=2, aligned=aligned, **parts)
    difference = problem.safety.context - problem.proxy.context
    radius = 10.0 ** rng.uniform(-1, 1, size=n)
    # A row of two has logits apart by sqrt(2) |u|, and curvature 2 p (1 - p).
    steepest = 0.5 if holds else (2 * sure * (1 - sure))
    curvature = steepest * np.maximum(difference, 0.0).max(axis=-1)
    policy = _pushed(rng, problem.aligned, radius)
    rise = [gap(d, policy) - gap(d, problem.aligned) for d in (problem.safety, problem.proxy)]
    return AssumptionFinding(rise[1] + 0.5 * curvature * radius**2, rise[0])


def _growing_momentum(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T13 by the limit of ``k_t``, whose series of beta1^2 / beta2 has to converge.

    Gradients of one weight, by the adversary: ``g_t ~ (beta2 / beta1)^t``.
    """
    steps = 60
    beta2 = rng.uniform(0.9, 0.999, size=n) if holds else rng.uniform(0.5, 0.8, size=n)
    beta1 = rng.uniform(0.5, 0.9, size=n) if holds else rng.uniform(0.93, 0.99, size=n)
    ratio = beta1**2 / beta2
    limit = (1 - beta1) / np.sqrt((1 - beta2) * np.abs(1 - ratio))
    t = np.arange(1, steps + 1)
    early = np.array([adam_step_factor(t, *b).max() for b in zip(beta1, beta2, strict=True)])
    first, second, moved_by = np.zeros(n), np.zeros(n), np.zeros(n)
    for t in range(1, steps + 1):
        gradient = (beta2 / beta1) ** t
        first = beta1 * first + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        moved_by += first / (1 - beta1**t) / np.sqrt(second / (1 - beta2**t))
    # Bias correction lifts the first factors a little above the limit.
    return AssumptionFinding(steps * (np.maximum(limit, early) if holds else limit), moved_by)


EXPERIMENTS = (
    Experiment("gradient-ignored", "T6", "theta_s minimises f_s", _gradient_ignored),
    Experiment(
        "aligned-elsewhere", "T6", "P_theta_s = mu_s (and T9's, no data)", _aligned_elsewhere
    ),
    Experiment("barrier", "T7", "the task loss is convex", _concave_task),
    Experiment("wrong-proxy", "T8", "Case I dominates: a perfect proxy", _wrong_proxy, cost=5),
    Experiment("flat-direction", "T10", "f_s grows in every direction", _flat_direction),
    Experiment("curvature-at-centre", "T12", "curvature on the whole ball", _curvature_at_centre),
    Experiment("growing-momentum", "T13", "beta1^2 < beta2", _growing_momentum, cost=10),
)
