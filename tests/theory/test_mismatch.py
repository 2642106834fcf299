"""Context and teacher parts of a mismatch, and two-sample statistics that keep their level."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import rel_entr

from theory.mismatch import (
    context_teacher_split,
    median_bandwidth,
    mmd_test,
    teacher_tv_from_pair_accuracy,
)


def tables(rng, n, zeros=0.3):
    weights = rng.gamma(0.5, size=(n, 4, 3)) * (rng.random((n, 4, 3)) > zeros) + 0.0
    weights[:, 0, 0] += 1e-3
    return weights / weights.sum(axis=(1, 2), keepdims=True)


@given(st.integers(0, 10_000))
def test_split_adds_up(seed):
    rng = np.random.default_rng(seed)
    safety, proxy = tables(rng, 20), tables(rng, 20)
    split = context_teacher_split(safety, proxy)
    assert (split.tv <= split.tv_context + split.tv_teacher + 1e-12).all()
    assert (split.tv >= split.tv_context - 1e-12).all()
    np.testing.assert_allclose(split.kl, split.kl_context + split.kl_teacher, rtol=1e-10)
    np.testing.assert_allclose(split.kl, rel_entr(safety, proxy).sum(axis=(1, 2)), rtol=1e-10)


def test_same_teacher_has_no_teacher_part(rng):
    teacher = rng.dirichlet(np.ones(3), size=4)
    contexts = np.array([[0.5, 0.5, 0.0, 0.0], [0.0, 0.2, 0.8, 0.0]])
    safety, proxy = contexts[:, :, None] * teacher
    split = context_teacher_split(safety, proxy)
    assert split.tv_teacher == pytest.approx(0.0, abs=1e-15)
    assert split.kl_teacher == pytest.approx(0.0, abs=1e-15)
    assert split.tv_context == pytest.approx(0.8)
    assert split.kl == np.inf


def test_same_contexts_have_no_context_part(rng):
    safety, proxy = (0.25 * rng.dirichlet(np.ones(3), size=4) for _ in range(2))
    split = context_teacher_split(safety, proxy)
    assert split.tv_context == pytest.approx(0.0, abs=1e-15)
    assert split.tv == pytest.approx(float(split.tv_teacher))
    assert split.kl == pytest.approx(float(split.kl_teacher))


@pytest.mark.parametrize("table", [[[0.5, 0.6]], [[-0.5, 1.5]], [0.5, 0.5], [[np.nan, 1.0]]])
def test_split_refuses_what_is_no_distribution(table):
    with pytest.raises(ValueError, match="safety"):
        context_teacher_split(table, [[0.5, 0.5]])


def test_pair_accuracy_never_exceeds_the_teachers_distance(rng):
    for _ in range(100):
        first, second = rng.dirichlet(np.full(4, rng.choice([0.1, 1.0, 10.0])), size=2)
        distance = 0.5 * np.abs(first - second).sum()
        pairs = np.abs(np.outer(first, second) - np.outer(second, first)).sum() / 2
        best_accuracy = 0.5 * (1 + pairs)
        assert teacher_tv_from_pair_accuracy(best_accuracy) <= distance + 1e-12
    assert teacher_tv_from_pair_accuracy([0.2, 0.5, 1.0]) == pytest.approx([0.0, 0.0, 1.0])
    # Disjoint from a point mass, half of the time: the coupling bound is met with equality.
    assert teacher_tv_from_pair_accuracy(0.5 * (1 + 0.75)) == pytest.approx(0.5)


def test_mmd_is_the_plain_double_sum(rng):
    x, y = rng.normal(size=(7, 2)), rng.normal(size=(5, 2))
    found = mmd_test(x, y, rng=np.random.default_rng(0), permutations=9)
    h = median_bandwidth(x, y, rng=np.random.default_rng(0))

    def kernel(a, b):
        return np.exp(-((a - b) ** 2).sum() / (2 * h**2))

    xx = np.mean([kernel(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([kernel(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([kernel(a, b) for a in x for b in y])
    assert found.statistic == pytest.approx(xx + yy - 2 * xy, rel=1e-12)


def test_mmd_of_equal_distributions_is_0_on_average_and_may_be_negative(rng):
    found = [
        mmd_test(rng.normal(size=(6, 1)), rng.normal(size=(9, 1)), rng=rng, permutations=1)
        for _ in range(2000)
    ]
    values = np.array([test.statistic for test in found])
    assert abs(values.mean()) <= 4 * values.std() / np.sqrt(len(values))
    assert values.min() < 0


@pytest.mark.parametrize("exact_rows", [2000, 0])
def test_mmd_test_keeps_its_level_and_finds_a_shift(exact_rows, rng):
    options = {"exact_rows": exact_rows, "permutations": 39, "features": 32}
    p_values = [
        mmd_test(rng.normal(size=(20, 3)), rng.normal(size=(25, 3)), rng=rng, **options).p_value
        for _ in range(200)
    ]
    assert np.sum(np.array(p_values) <= 0.1) <= stats.binom.ppf(1 - 1e-4, 200, 0.1)
    shifted = mmd_test(rng.normal(size=(60, 3)), rng.normal(0.8, 1, (50, 3)), rng=rng, **options)
    assert shifted.p_value == pytest.approx(1 / 40)
    assert shifted.statistic > 0


def test_random_features_come_close_to_the_kernel(rng):
    x, y = rng.normal(size=(150, 2)), rng.normal(0.7, 1.0, size=(140, 2))
    exact = mmd_test(x, y, rng=np.random.default_rng(0), permutations=9)
    near = mmd_test(x, y, rng=np.random.default_rng(0), permutations=9, exact_rows=0, features=4000)
    assert near.statistic == pytest.approx(exact.statistic, rel=0.15)
    assert (exact.method, near.method) == ("kernel matrix", "8000 random features")


def test_median_bandwidth_scales_and_survives_equal_rows(rng):
    x, y = rng.normal(size=(30, 2)), rng.normal(size=(30, 2))
    assert median_bandwidth(3 * x, 3 * y, rng=rng) == pytest.approx(
        3 * median_bandwidth(x, y, rng=rng)
    )
    assert median_bandwidth(np.ones((5, 2)), np.ones((5, 2)), rng=rng) == 1.0


@pytest.mark.parametrize("shapes", [((5, 2), (5, 3)), ((1, 2), (5, 2)), ((5,), (5,))])
def test_mmd_refuses_shapes(shapes, rng):
    with pytest.raises(ValueError, match="n and m at least 2"):
        mmd_test(np.zeros(shapes[0]), np.zeros(shapes[1]), rng=rng)
