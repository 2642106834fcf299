"""Assumptions of T1 to T5, T15 and T17: a trained minimiser, full support, free tables."""

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
from sims.families.tabular import case_one_policy, gap
from theory.bound import Bound, Direction, Quantity
from theory.divergence import Array, kl, mass_sum
from theory.evaluation import evaluate
from theory.overlap import overlap_sum
from theory.problem import Distribution, TabularProblem
from theory.strategy import LossConstraint


def _tightest(bounds: list[Bound], quantity: Quantity) -> Array:
    values = [
        b.value
        for b in bounds
        if b.quantity is quantity and b.direction is not Direction.LOWER and np.any(b.applies)
    ]
    return np.min(np.broadcast_arrays(*values), axis=0)


def _claimed(problem, lam: Array, statement: str, quantity: Quantity) -> Array:
    return _tightest(evaluate(problem, LossConstraint(lam=lam), statements=[statement]), quantity)


def _ended_above_its_start(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T1: the trained objective is at most that of theta_s; else delta is left out."""
    problem, lam = bowls(rng, n), strengths(rng, n)
    best = quadratic.best_step(problem, lam).astype(np.float64)
    # F is a parabola along the line through the minimiser: twice the step is back at the start.
    low, high = (0.0, 2.0) if holds else (2.0, 5.0)
    step = best * rng.uniform(low, high, size=(n, 1))
    start = half_form(problem.H_f, problem.displacement)
    return AssumptionFinding(start / lam, half_form(problem.H_s, step))


def _spoiled(rng: np.random.Generator, problem: TabularProblem, lam: Array, holds: bool) -> Array:
    best = case_one_policy(problem, lam).astype(np.float64)
    shape = best.shape[:2]
    share = 0.0 if holds else 10.0 ** rng.uniform(-3, 0, size=(len(best), 1, 1))
    return (1 - share) * best + share * rng.dirichlet(np.ones(best.shape[-1]), shape)


def _slack_ignored(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    problem, lam = table(rng, n), strengths(rng, n)
    truth = gap(problem.task, _spoiled(rng, problem, lam, holds))
    return AssumptionFinding(_claimed(problem, lam, "T2", Quantity.CAPABILITY_GAP), truth)


def _another_safety_set(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T2: a larger lambda never raises the gap of the data that it penalises."""
    problem, lam = table(rng, n), strengths(rng, n)
    measured = problem.proxy if holds else problem.safety
    gaps = [gap(measured, case_one_policy(problem, lam * factor)) for factor in (1.0, 3.0)]
    return AssumptionFinding(gaps[0], gaps[1])


def _mass_form(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    problem, lam = table(rng, n), strengths(rng, n)
    policy = _spoiled(rng, problem, lam, holds)
    return AssumptionFinding(
        _claimed(problem, lam, "T4", Quantity.PROXY_SAFETY_GAP), gap(problem.proxy, policy)
    )


def _floor_of_a_minimiser(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    safety = distribution(rng, n, 3, 4)
    problem = table(rng, n, safety=safety, proxy=safety)
    lam = strengths(rng, n)
    policy = _spoiled(rng, problem, lam, holds)
    return AssumptionFinding(_claimed(problem, lam, "T5", Quantity.SAFETY_GAP), gap(safety, policy))


def _coverage(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T5 for the same teacher: ``r rho_f(O) / lambda`` with r over the covered contexts."""
    safety, lam = distribution(rng, n, 3, 4), strengths(rng, n)
    masses = rng.dirichlet(np.full(3, 3.0), n)
    if not holds:
        masses[:, 0] = 0.0
        masses /= masses.sum(axis=-1, keepdims=True)
    problem = table(rng, n, safety=safety, proxy=Distribution(masses, safety.target))
    covered = masses > 0
    ratio = np.where(covered, safety.context / np.where(covered, masses, 1.0), 0.0).max(axis=-1)
    shared = np.where(covered, problem.task.context, 0.0).sum(axis=-1)
    return AssumptionFinding(ratio * shared / lam, gap(safety, case_one_policy(problem, lam)))


def _loss_range(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T1: the oscillation of the losses over the contexts that either data set has."""
    contexts = 4
    rho = rng.dirichlet(np.full(contexts - 1, 3.0), n)
    missed = 10.0 ** rng.uniform(-3, -1, size=(n, 1))
    safety = Distribution(
        np.concatenate([(1 - missed) * rho, missed], axis=-1),
        rng.dirichlet(np.ones(4), (n, contexts)),
    )
    proxy = Distribution(np.concatenate([rho, 0 * missed], axis=-1), safety.target)
    problem = table(rng, n, contexts, safety=safety, proxy=proxy)
    lam = strengths(rng, n)
    policy = case_one_policy(problem, lam).astype(np.float64)
    change = np.log(problem.aligned) - np.log(policy)
    if not holds:
        change = change[:, :-1]
    oscillation = np.ptp(change, axis=(-2, -1))
    drop = problem.capability_gap_at_aligned - gap(problem.task, policy)
    return AssumptionFinding(drop / lam + oscillation * missed[:, 0], gap(safety, policy))


def _shared_features(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T3's equality, for minimisers of logits ``features @ W`` with fewer features than contexts.

    Gaps are relative to the best of the class on each data set, as everywhere.
    """
    contexts, responses = 3, 3
    problem, lam = table(rng, n, contexts, responses), strengths(rng, n)
    if holds:
        features = np.broadcast_to(np.eye(contexts), (n, contexts, contexts))
    else:
        features = rng.normal(size=(n, contexts, 1))
    joint = [d.context[..., None] * d.target for d in (problem.task, problem.proxy)]
    best = [_fit(features, counts) for counts in joint]
    policy = _fit(features, joint[0] + lam[:, None, None] * joint[1])

    def loss(counts: Array, policy: Array) -> Array:
        return -(counts * np.log(policy)).sum(axis=(-2, -1))

    task, proxy = (
        np.maximum(loss(counts, policy) - loss(counts, alone), 0.0)
        for counts, alone in zip(joint, best, strict=True)
    )
    value = _claimed(problem, lam, "T3", Quantity.WEIGHTED_SUM)
    return AssumptionFinding(value, task + lam * proxy, Direction.EQUALITY, resolution=1e-6)


def _fit(features: Array, counts: Array) -> Array:
    """The policy ``softmax(features @ W)`` of least cross-entropy: damped Newton, 60 steps."""
    n, _, width = features.shape
    responses = counts.shape[-1]
    weights = np.zeros((n, width, responses - 1))
    mass = counts.sum(axis=-1)
    least = np.where(mass > 0, mass, np.inf).min(axis=-1)

    def policy(weights: Array) -> Array:
        logits = np.concatenate([features @ weights, np.zeros((*features.shape[:2], 1))], axis=-1)
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)

    for _ in range(60):
        p = policy(weights)
        slope = np.einsum("nxk,nxv->nkv", features, (mass[..., None] * p - counts)[..., :-1])
        q = p[..., :-1]
        spread = np.eye(responses - 1) * q[..., None, :] - q[..., None] * q[..., None, :]
        spread = mass[..., None, None] * spread
        hessian = np.einsum("nxk,nxl,nxvw->nkvlw", features, features, spread)
        size = width * (responses - 1)
        hessian = hessian.reshape(n, size, size)
        ridge = 1e-12 * np.trace(hessian, axis1=-2, axis2=-1)[:, None, None] * np.eye(size)
        step = np.linalg.solve(hessian + ridge, slope.reshape(n, size, 1))[..., 0]
        # A self-concordant loss: this damping never overshoots, and fades near the minimum.
        decrement = np.sqrt(np.maximum((step * slope.reshape(n, size)).sum(axis=-1), 0.0))
        damping = 1.0 / (1.0 + decrement / np.sqrt(least))
        weights = weights - (damping[:, None] * step).reshape(weights.shape)
    return policy(weights)


def _separate_contexts(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T4: task and proxy share no context, so both gaps are 0 - in a table.

    A class with one feature for all contexts answers one prompt like another.
    """
    task = distribution(rng, n, 4, 3)
    proxy = distribution(rng, n, 4, 3)
    first = np.arange(4) < 2
    halves = [np.where(side, d.context, 0.0) for side, d in ((first, task), (~first, proxy))]
    task, proxy = (
        Distribution(mass / mass.sum(axis=-1, keepdims=True), d.target)
        for mass, d in zip(halves, (task, proxy), strict=True)
    )
    features = np.broadcast_to(np.eye(4), (n, 4, 4)) if holds else rng.normal(size=(n, 4, 1))
    joint = [d.context[..., None] * d.target for d in (task, proxy)]
    lam = strengths(rng, n)
    policy = _fit(features, joint[0] + lam[:, None, None] * joint[1])
    alone = _fit(features, joint[1])
    off = -(joint[1] * np.log(policy / alone)).sum(axis=(-2, -1))
    value = overlap_sum(proxy.context, task.context, lam)
    return AssumptionFinding(value, np.where(off > 1e-9, off, 0.0))


def _estimated_masses(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T15: masses of the images are known; else they are shares of 30 prompts of each set."""
    masses = [rng.dirichlet(np.ones(3), n) for _ in range(2)]
    lam = strengths(rng, n)
    targets = np.broadcast_to(np.eye(2)[:, None, None, :], (2, n, 3, 2))
    task, proxy = (Distribution(m, t) for m, t in zip(masses, targets, strict=True))
    problem = TabularProblem(safety=proxy, task=task)
    known = masses if holds else [rng.multinomial(30, m) / 30 for m in masses]
    return AssumptionFinding(
        overlap_sum(known[1], known[0], lam), gap(proxy, case_one_policy(problem, lam))
    )


def _runs_taken_as_minimisers(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T17(a) with slack 0 claimed of runs that were not trained to the end."""
    problem, lam = table(rng, n), strengths(rng, n)
    best = case_one_policy(problem, lam).astype(np.float64)
    run = _spoiled(rng, problem, lam, holds)
    intercept = gap(problem.task, run) + lam * gap(problem.proxy, run)
    value = intercept - lam * gap(problem.proxy, best)
    return AssumptionFinding(value, gap(problem.task, best), Direction.LOWER)


def _routed_by_another_rule(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T18 for the rule that was measured; another one answers a tenth of the contexts."""
    problem = table(rng, n, contexts=10)
    rule = rng.random((n, 10)) < 0.5
    swapped = (np.arange(10) == 0) & (not holds)
    used = rule ^ swapped
    away = mass_sum(problem.safety.context, kl(problem.safety.target, problem.task.target), rule)
    policy = np.where(used[..., None], problem.task.target, problem.aligned)
    return AssumptionFinding(away, gap(problem.safety, policy))


EXPERIMENTS = (
    Experiment(
        "worse-than-start", "T1", "training ends no higher than it began", _ended_above_its_start
    ),
    Experiment("loss-range", "T1", "losses are bounded off the proxy's contexts too", _loss_range),
    Experiment("slack-ignored", "T2", "the minimiser is exact, or delta is added", _slack_ignored),
    Experiment(
        "other-safety-set", "T2", "monotone in lambda: of the penalised data", _another_safety_set
    ),
    Experiment("shared-features", "T3", "any table can be realised", _shared_features, cost=2),
    Experiment(
        "features-for-contexts", "T4", "contexts share no features", _separate_contexts, cost=2
    ),
    Experiment("mass-form-slack", "T4", "the minimiser is exact", _mass_form),
    Experiment("floor-slack", "T5", "the minimiser is exact", _floor_of_a_minimiser),
    Experiment("coverage", "T5", "the proxy covers the safety contexts", _coverage),
    Experiment("estimated-masses", "T15", "masses of images are known", _estimated_masses),
    Experiment(
        "runs-as-minimisers", "T17", "slack of under-trained runs counts", _runs_taken_as_minimisers
    ),
    Experiment(
        "another-rule", "T18", "the rule in use is the one measured", _routed_by_another_rule
    ),
)
