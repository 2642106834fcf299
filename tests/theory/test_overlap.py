"""Overlap and its images: merging errs upwards, and sampled sums are covered (T4, T15)."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.optimize import minimize

from theory.confidence import clopper_pearson, multinomial_tv_radius
from theory.divergence import tv
from theory.limits import disagreement_weighted_overlap
from theory.overlap import (
    merge,
    overlap_from_accuracy,
    overlap_mass,
    overlap_sum,
    overlap_sum_from_accuracy,
    overlap_sum_upper,
)
from theory.problem import Distribution, TabularProblem


@st.composite
def problems(draw):
    """Two distributions over X contexts (zeros included), a map to K images, a strength."""
    size = draw(st.integers(1, 8))
    mass = st.one_of(st.just(0.0), st.floats(1e-12, 1.0))
    rows = [draw(st.lists(mass, min_size=size, max_size=size)) for _ in range(2)]
    rows = [np.array(r) if sum(r) > 0 else np.ones(size) for r in rows]
    images = draw(st.integers(1, 4))
    phi = draw(st.lists(st.integers(0, images - 1), min_size=size, max_size=size))
    return *(r / r.sum() for r in rows), np.array(phi), images, draw(st.floats(1e-3, 1e3))


@given(problems())
def test_merging_never_lowers_overlap_nor_t4s_sum(problem):
    safety, task, phi, images, lam = problem
    merged_safety, merged_task = merge(safety, phi, images), merge(task, phi, images)
    assert merged_safety.sum() == pytest.approx(1.0)
    assert overlap_mass(merged_safety, merged_task) >= overlap_mass(safety, task) - 1e-12
    fine, coarse = overlap_sum(safety, task, lam), overlap_sum(merged_safety, merged_task, lam)
    assert coarse >= fine * (1 - 1e-12)
    assert coarse <= np.log1p(1 / lam) * (1 + 1e-12)


@given(problems())
def test_overlap_is_one_minus_tv(problem):
    safety, task, *_ = problem
    assert overlap_mass(safety, task) == pytest.approx(1 - tv(safety, task), abs=1e-12)


def test_merging_contexts_of_one_ratio_costs_nothing():
    safety, phi = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0, 0, 1, 1])
    task = safety * np.array([2.0, 4 / 7])[phi]
    merged = merge(safety, phi), merge(task, phi)
    assert overlap_sum(*merged, 0.3) == pytest.approx(overlap_sum(safety, task, 0.3), rel=1e-14)
    assert overlap_mass(*merged) == pytest.approx(overlap_mass(safety, task), rel=1e-14)


def test_t4_sum_bounds_the_exact_gaps(random_tabular, policy_gaps, rng):
    problem = random_tabular(rng, 200, perfect_proxy=True)
    lam = 0.7
    w = lam * problem.safety.context
    total = w + problem.task.context
    w = np.where(total > 0, w / np.where(total > 0, total, 1.0), 0.0)[..., None]
    policy = np.where(
        total[..., None] > 0,
        (1 - w) * problem.task.target + w * problem.safety.target,
        problem.aligned,
    )
    safety_gap, _, capability_gap = policy_gaps(problem, policy)
    rho_s, rho_f = problem.safety.context, problem.task.context
    assert (safety_gap <= overlap_sum(rho_s, rho_f, lam) + 1e-12).all()
    assert (capability_gap <= overlap_sum(rho_f, rho_s, 1 / lam) + 1e-12).all()
    assert np.max(safety_gap / np.maximum(overlap_sum(rho_s, rho_f, lam), 1e-300)) > 0.9


def test_zero_masses_tiny_masses_and_batches():
    safety, task = np.array([[0.0, 1.0], [1e-310, 1.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    np.testing.assert_allclose(overlap_mass(safety, task), [0.0, 1e-310], atol=0)
    sums = overlap_sum(safety, task, np.array([1.0, 1.0]))
    assert sums[0] == 0.0
    assert sums[1] == pytest.approx(1e-310 * 310 * np.log(10), rel=1e-3)
    assert overlap_sum([1.0], [1.0], np.inf) == 0.0
    assert overlap_sum([1.0], [1.0], 1e8) == pytest.approx(1e-8, rel=1e-7)
    np.testing.assert_allclose(merge(safety, np.array([1, 1]), 3)[:, 1], 1.0)


@pytest.mark.parametrize("phi", [[0, 5], [-1, 0], [0], [0.0, 1.0]])
def test_merge_refuses_what_is_no_map(phi):
    with pytest.raises(ValueError, match="phi"):
        merge([0.5, 0.5], np.array(phi), 2)


def test_no_classifier_beats_the_overlap(rng):
    for _ in range(50):
        safety, task = rng.dirichlet(np.ones(6), size=2)
        accuracies = [
            0.5 * (safety[rule].sum() + task[~rule].sum()) for rule in rng.random((40, 6)) < 0.5
        ]
        truth = overlap_mass(safety, task)
        assert (overlap_from_accuracy(accuracies) >= truth - 1e-12).all()
        best = safety > task
        assert overlap_from_accuracy(
            0.5 * (safety[best].sum() + task[~best].sum())
        ) == pytest.approx(truth)
    assert overlap_from_accuracy(0.3) == 1.0
    with pytest.raises(ValueError, match="accuracy"):
        overlap_from_accuracy(1.2)


def test_limit_from_a_classifier_covers(rng):
    # The best rule, where the bound is tight, so a failure of the limit is one of the bound.
    safety, task, n, p, runs = np.array([0.5, 0.3, 0.2]), np.array([0.1, 0.2, 0.7]), 60, 0.2, 2000
    truth, missed, unlucky = overlap_mass(safety, task), 0, 0
    hits = rng.binomial(n, safety[:2].sum(), runs), rng.binomial(n, task[2], runs)
    for right_safety, right_task in zip(*hits, strict=True):
        limits = [
            clopper_pearson(int(k), n, p=p / 2, side="lower").lower
            for k in (right_safety, right_task)
        ]
        missed += overlap_from_accuracy(np.mean(limits)) < truth
        unlucky += overlap_from_accuracy((right_safety + right_task) / (2 * n)) < truth
    bar = stats.binom.ppf(1 - 1e-4, runs, p)
    assert missed <= bar < unlucky


@pytest.mark.parametrize("lam", [0.05, 1.0, 30.0])
def test_upper_sum_is_the_worst_within_the_radii(lam, rng):
    for _ in range(4):
        safety, task = rng.dirichlet(np.full(4, 0.7), size=2)
        radii = rng.uniform(0.0, 0.15, size=2)
        limit = overlap_sum_upper(safety, task, lam, safety_radius=radii[0], task_radius=radii[1])
        worst = worst_sum(safety, task, lam, *radii)
        assert worst <= limit * (1 + 1e-7)
        assert limit <= worst * 1.02


def worst_sum(safety, task, lam, safety_radius, task_radius) -> float:
    """Maximise the (concave) sum over masses moved up and down by at most the radii."""
    k = len(safety)

    def masses(z):
        moves = z.reshape(4, k)
        return safety + moves[0] - moves[1], task + moves[2] - moves[3]

    def objective(z):
        b, a = (np.maximum(m, 1e-12) for m in masses(z))
        return -float((b * np.log1p(a / (lam * b))).sum())

    constraints = [
        {"type": "eq", "fun": lambda z: z[:k].sum() - z[k : 2 * k].sum()},
        {"type": "eq", "fun": lambda z: z[2 * k : 3 * k].sum() - z[3 * k :].sum()},
        {"type": "ineq", "fun": lambda z: safety_radius - z[:k].sum()},
        {"type": "ineq", "fun": lambda z: task_radius - z[2 * k : 3 * k].sum()},
    ]
    bounds = (
        [(0, safety_radius)] * k
        + [(0, min(m, safety_radius)) for m in safety]
        + [(0, task_radius)] * k
        + [(0, min(m, task_radius)) for m in task]
    )
    found = minimize(
        objective,
        np.zeros(4 * k),
        bounds=bounds,
        constraints=constraints,
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-12},
    )
    return -found.fun


def test_upper_sum_covers_sampled_masses(rng):
    p, n, lam = 0.2, 150, 0.5
    safety, task = rng.dirichlet(np.full(6, 0.4), size=2)
    truth = overlap_sum(safety, task, lam)
    radius = multinomial_tv_radius(n, 6, p / 2)
    missed = plain = 0
    for _ in range(60):
        b, a = rng.multinomial(n, safety) / n, rng.multinomial(n, task) / n
        limit = overlap_sum_upper(b, a, lam, safety_radius=radius, task_radius=radius)
        missed += limit < truth
        plain += overlap_sum(b, a, lam) < truth
    bar = stats.binom.ppf(1 - 1e-4, 60, p)
    assert missed <= bar < plain


@given(*[st.floats(0.0, 1.0)] * 4, st.floats(1e-2, 1e2))
def test_no_better_classifier_exceeds_the_sum_from_its_limits(s, t, more_s, more_t, lam):
    limit = overlap_sum_from_accuracy(s, t, lam)
    s, t = s + (1 - s) * more_s, t + (1 - t) * more_t
    assert overlap_sum([s, 1 - s], [1 - t, t], lam) <= limit * (1 + 1e-9)


def test_sum_from_accuracy_at_its_ends():
    assert overlap_sum_from_accuracy(1.0, 1.0, 0.3) == 0.0
    assert overlap_sum_from_accuracy(0.4, 0.5, 0.3) == pytest.approx(np.log1p(1 / 0.3))
    expected = 0.9 * np.log1p(0.2 / (2 * 0.9)) + 0.1 * np.log1p(0.8 / (2 * 0.1))
    assert overlap_sum_from_accuracy(0.9, 0.8, 2.0) == pytest.approx(expected)
    with pytest.raises(ValueError, match="accuracy"):
        overlap_sum_from_accuracy(1.1, 0.5, 1.0)


def test_upper_sum_at_its_ends():
    safety, task = [0.5, 0.5, 0.0], [0.2, 0.0, 0.8]
    exact = overlap_sum_upper(safety, task, 0.4, safety_radius=0.0, task_radius=0.0)
    assert exact == pytest.approx(overlap_sum(safety, task, 0.4), rel=1e-6)
    nothing = overlap_sum_upper(safety, task, 0.4, safety_radius=1.0, task_radius=1.0)
    assert nothing == pytest.approx(np.log1p(1 / 0.4))
    assert overlap_sum_upper(safety, task, np.inf, safety_radius=0.1, task_radius=0.1) == 0.0
    with pytest.raises(ValueError, match="lam"):
        overlap_sum_upper(safety, task, 0.0, safety_radius=0.1, task_radius=0.1)
    with pytest.raises(ValueError, match="sum to 1"):
        overlap_sum_upper([0.5], [1.0], 1.0, safety_radius=0.1, task_radius=0.1)


def test_kappa_limits_every_policy(random_tabular, policy_gaps, rng):
    problem = random_tabular(rng, 300, perfect_proxy=True, positive=True)
    limit = disagreement_weighted_overlap(problem)
    mix = rng.random((300, 5, 1))
    policy = mix * problem.safety.target + (1 - mix) * problem.task.target
    safety_gap, _, capability_gap = policy_gaps(problem, policy)
    assert (np.sqrt(safety_gap) + np.sqrt(capability_gap) >= np.sqrt(2) * limit - 1e-12).all()
    safety = Distribution([0.25, 0.75], [[1.0, 0.0], [1.0, 0.0]])
    task = Distribution([0.5, 0.5], [[0.0, 1.0], [0.8, 0.2]])
    found = disagreement_weighted_overlap(TabularProblem(safety, task))
    assert found == pytest.approx(np.sqrt(0.25 + 0.02))
