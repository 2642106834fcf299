"""Verdicts on budgets carry their noise: made again with other seeds they hardly ever flip.

A flip is kept once and broken once, of two draws from the same truth. Closed forms: of a verdict
with P(kept) = a and P(broken) = b, two independent ones flip with probability 2 a b.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import stats

from finebound.results.budget import BROKEN, KEPT, decided
from llm_validation.certification.paired_test import paired_lower_limit, paired_upper_limit
from llm_validation.evaluation.rate_budgets import rate_check
from llm_validation.evaluation.statistics.difference_budgets import share_change

FLIPS = 0.01
RUNS = 4_000
WRONG_SIDE = 0.032
"""How often an end of the paired interval may fail."""
AROUND = (0.6, 0.85, 1.0, 1.2, 2.0)
"""True rates, in units of the budget."""


def flips(first, second):
    """The share of pairs of verdicts of which one is kept and the other is broken."""
    return np.mean((first == KEPT) & (second == BROKEN) | (first == BROKEN) & (second == KEPT))


@cache
def rate_verdicts(n, limit):
    """The verdict for every count of n, ``limit`` in points."""
    checks = [
        rate_check("x", what="x", of="", limit=limit, count=k, unknown=0, n=n) for k in range(n + 1)
    ]
    return np.array([check.decision for check in checks])


def on_the_point_estimate(n, limit):
    """A mutant: the rate alone decides."""
    values = 100.0 * np.arange(n + 1) / n
    return np.array([decided(limit, (value, value)) for value in values])


def chances(verdicts, rate):
    """P(kept) and P(broken) of a count with this true rate."""
    pmf = stats.binom.pmf(np.arange(len(verdicts)), len(verdicts) - 1, rate)
    return pmf[verdicts == KEPT].sum(), pmf[verdicts == BROKEN].sum()


@pytest.mark.parametrize("n", [8, 40, 300])
@pytest.mark.parametrize("limit", [1.0, 5.0, 20.0, 50.0])
def test_rates_in_closed_form(n, limit):
    verdicts = rate_verdicts(n, limit)
    share = limit / 100.0
    kept, broken = chances(verdicts, share)
    assert max(kept, broken) <= 0.025  # at the budget either verdict is wrong by nothing
    for rate in np.linspace(0.0, 1.0, 101):
        kept, broken = chances(verdicts, rate)
        assert (broken if rate <= share else kept) <= 0.025
        assert 2.0 * kept * broken <= 0.00125 * 1.5


@pytest.mark.parametrize("around", AROUND)
@pytest.mark.parametrize(("n", "limit"), [(40, 20.0), (176, 5.0), (600, 2.0)])
def test_the_same_probes_answered_with_other_seeds(n, limit, around):
    rng = np.random.default_rng(0)
    rate = around * limit / 100.0
    # Each probe has a chance of its own; the mean of all is the true rate.
    chance = rng.beta(0.3, 0.3 * (1.0 - rate) / rate, size=n)
    chance *= rate / chance.mean()
    drawn = rng.random((2, RUNS, n)) < np.minimum(chance, 1.0)
    first, second = drawn.sum(axis=2)
    verdicts = rate_verdicts(n, limit)
    assert flips(verdicts[first], verdicts[second]) < FLIPS
    if around == 1.0:
        mutant = on_the_point_estimate(n, limit)
        assert flips(mutant[first], mutant[second]) > 20 * FLIPS


def test_verdicts_are_given_at_all():
    verdicts = rate_verdicts(600, 5.0)
    assert chances(verdicts, 0.02)[0] > 0.95
    assert chances(verdicts, 0.10)[1] > 0.95


@cache
def difference_verdict(n, lost, gained, limit):
    """The verdict of ``compare`` for so many answers lost and gained."""
    old = np.zeros(n)
    old[:lost] = 1.0
    new = np.zeros(n)
    new[lost : lost + gained] = 1.0
    found = share_change(new, old, level=0.95)
    return decided(limit, (-100.0 * found.upper, -100.0 * found.lower))


@pytest.mark.parametrize("gained", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("limit", [5.0, 20.0])
def test_paired_differences_in_closed_form(limit, gained):
    n = 40
    lost = limit / 100.0 + gained
    told = dict.fromkeys((KEPT, BROKEN), 0.0)
    for number in range(n + 1):
        chance = stats.binom.pmf(number, n, lost)
        for more, its in enumerate(
            stats.binom.pmf(range(n - number + 1), n - number, gained / (1 - lost))
        ):
            if chance * its > 1e-7:
                verdict = difference_verdict(n, number, more, limit)
                told[verdict] = told.get(verdict, 0.0) + chance * its
    assert max(told[KEPT], told[BROKEN]) <= WRONG_SIDE
    assert 2.0 * told[KEPT] * told[BROKEN] <= 0.2 * FLIPS


@pytest.mark.parametrize("gained", [0.0, 0.05])
def test_paired_differences(gained):
    n, limit = 176, 5.0
    rng = np.random.default_rng(1)
    for around in AROUND:
        lost = around * limit / 100.0 + gained
        counts = rng.multinomial(n, [lost, gained, 1.0 - lost - gained], size=(2, RUNS // 4))
        first, second = (
            np.array([difference_verdict(n, int(a), int(b), limit) for a, b, _ in half])
            for half in counts
        )
        assert flips(first, second) < FLIPS
        if around == 1.0:
            both = np.concatenate([first, second])
            wrong = max((both == KEPT).mean(), (both == BROKEN).mean())
            assert wrong <= WRONG_SIDE + 3.0 * np.sqrt(WRONG_SIDE / both.size)
            mutant = [
                (100.0 * (a - b) / n > limit).mean() for half in counts for a, b, _ in [half.T]
            ]
            assert 2.0 * mutant[0] * (1.0 - mutant[1]) > 20 * FLIPS


@pytest.mark.parametrize("budget", [0.05, 0.2])
def test_certificates(budget):
    n, level = 100, 0.05
    verdicts = []
    for lost in range(n + 1):
        if verdicts[-1:] == [BROKEN]:
            verdicts.append(BROKEN)  # more losses break it all the more
            continue
        differences = np.zeros(n)
        differences[:lost] = 1.0
        limits = (
            paired_lower_limit(differences, level=level),
            paired_upper_limit(differences, level=level),
        )
        verdicts.append(decided(budget, limits))
    for around in AROUND:
        kept, broken = chances(np.array(verdicts), around * budget)
        assert 2.0 * kept * broken <= 0.5 * FLIPS
        if around == 1.0:
            assert max(kept, broken) <= level


@pytest.mark.parametrize("level", [0.9, 0.95])
def test_an_interval_that_holds_flips_with_at_most_half_of_its_error_squared(level):
    """A forecast's interval at level 0.9, if it holds: at most 0.5 %."""
    reach = stats.norm.isf((1.0 - level) / 2.0)
    shift = np.linspace(-4.0, 4.0, 801)
    kept, broken = stats.norm.sf(reach + shift), stats.norm.sf(reach - shift)
    most = float((2.0 * kept * broken).max())
    assert most == pytest.approx((1.0 - level) ** 2 / 2.0)
    assert most < FLIPS
