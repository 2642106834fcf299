"""Certificates for a rate: exact tails, and no more probes than are needed (T23)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from theory.certificates.rates import (
    hoeffding_bentkus_p_value,
    probes_needed,
    rate_p_value,
    rate_upper_limit,
)


@pytest.mark.parametrize(("events", "n"), [(0, 20), (3, 50), (49, 50), (50, 50)])
def test_the_limit_is_scipys_and_the_p_value_is_its_level(events: int, n: int) -> None:
    limit = rate_upper_limit(events, n, 0.9)
    exact = stats.binomtest(events, n, alternative="less").proportion_ci(0.9, method="exact")
    assert limit == pytest.approx(exact.high, rel=1e-12)
    assert rate_p_value(events, n, limit) == pytest.approx(0.1 if events < n else 1.0)
    for bound in (0.03, 0.4):
        test = stats.binomtest(events, n, bound, alternative="less")
        assert rate_p_value(events, n, bound) == pytest.approx(test.pvalue, rel=1e-10)


def test_no_probes_say_nothing() -> None:
    assert rate_p_value(0, 0, 0.1) == 1.0
    assert rate_upper_limit(0, 0, 0.95) == 1.0


@pytest.mark.parametrize("bound", [0.02, 0.3])
@pytest.mark.parametrize("n", [30, 400])
def test_every_p_value_fails_no_more_often_than_its_level(bound: float, n: int) -> None:
    events = np.arange(n + 1)
    chance = stats.binom.pmf(events, n, bound)
    exact = np.array([rate_p_value(int(k), n, bound) for k in events])
    loose = np.array([hoeffding_bentkus_p_value(k / n, n, bound) for k in events])
    for level in (0.01, 0.05, 0.2):
        assert chance[exact <= level].sum() <= level * (1 + 1e-12)
        assert chance[loose <= level].sum() <= level * (1 + 1e-12)
    # The mean alone tells less than the count.
    assert (loose >= exact * (1 - 1e-12)).all()
    # A p-value that is half as large would fail.
    assert any(chance[exact / 2 <= level].sum() > level for level in exact[:-1])


def test_hoeffding_bentkus_holds_for_losses_between_0_and_1(rng) -> None:
    bound, n, runs, level = 0.1, 60, 1_000, 0.1
    means = rng.beta(0.2, 1.8, size=(runs, n)).mean(axis=1)
    failures = sum(hoeffding_bentkus_p_value(m, n, bound) <= level for m in means)
    assert failures <= stats.binom.ppf(1 - 1e-4, runs, level)


def test_149_probes_without_an_event_certify_two_percent() -> None:
    assert probes_needed(0.02, 0.95) == 149
    for budget, confidence in ((0.01, 0.9), (0.05, 0.95), (0.3, 0.99)):
        zeros = np.log(1 - confidence) / np.log1p(-budget)
        assert probes_needed(budget, confidence) == int(np.ceil(zeros))


@pytest.mark.parametrize("expected", [0.005, 0.02])
def test_so_many_probes_certify_as_often_as_was_asked_and_fewer_do_not(expected: float) -> None:
    budget, level, power = 0.05, 0.05, 0.8
    n = probes_needed(budget, 1 - level, expected=expected, power=power)

    def chance(n: int) -> float:
        events = np.arange(n + 1)
        passing = stats.binom.cdf(events, n, budget) <= level
        return float(stats.binom.pmf(events, n, expected)[passing].sum())

    assert chance(n) >= power
    assert all(chance(fewer) < power for fewer in range(1, n))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: rate_p_value(3, 2, 0.1), "count"),
        (lambda: rate_p_value(1, 2, 1.1), "bound"),
        (lambda: rate_upper_limit(1, 2, 1.0), "probability"),
        (lambda: hoeffding_bentkus_p_value(1.1, 2, 0.1), "mean"),
        (lambda: hoeffding_bentkus_p_value(0.1, 0, 0.1), "mean"),
        (lambda: hoeffding_bentkus_p_value(0.1, 5, -0.1), "bound"),
        (lambda: probes_needed(0.05, 0.95, expected=0.05), "expected"),
        (lambda: probes_needed(0.05, 1.0), "probability"),
        (lambda: probes_needed(1e-9, 0.95), "more than"),
    ],
)
def test_what_is_no_question_is_rejected(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()
