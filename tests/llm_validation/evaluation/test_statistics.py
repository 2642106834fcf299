"""Intervals and paired tests: scipy's numbers, what scipy leaves undefined, coverage."""

import math

import numpy as np
import pytest
from scipy import stats

from llm_validation.evaluation.statistics.correlation import correlation
from llm_validation.evaluation.statistics.intervals import (
    difference_over_items_and_seeds,
    mean_over_items_and_seeds,
    wilson,
)
from llm_validation.evaluation.statistics.paired import (
    band,
    band_of_d,
    friedman,
    post_hoc,
    shapiro,
    signed_rank,
)
from llm_validation.forecast.ranking import spearman

SEEDS = range(5)


def sample(seed, n=30, shift=0.3):
    return np.random.default_rng(seed).normal(shift, 1.0, n)


@pytest.mark.parametrize("n", [8, 30, 200])
@pytest.mark.parametrize("seed", SEEDS)
def test_wilcoxon_is_scipys(seed, n):
    differences = sample(seed, n)
    found = signed_rank(differences)
    reference = stats.wilcoxon(differences)
    z = stats.wilcoxon(differences, method="asymptotic").zstatistic
    assert found.statistic == pytest.approx(reference.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    assert found.z == pytest.approx(z, rel=1e-9)
    assert found.effect == pytest.approx(abs(z) / np.sqrt(n), rel=1e-9)


def test_the_effect_counts_pairs_that_differ_only():
    differences = np.concatenate([sample(1, 20), np.zeros(60)])
    found = signed_rank(differences)
    assert (found.n, found.n_nonzero) == (80, 20)
    assert found.effect == pytest.approx(signed_rank(differences[:20]).effect, rel=1e-12)


def test_wilcoxon_by_hand():
    # Ranks of |1|, |-2|, |3|, |4|, |5|: the negative one has rank 2, so W = 2; exactly 3 of the 16
    # equally likely sums on that side are as small (0, 1, 2), 2 * 3 / 32.
    found = signed_rank([1.0, -2.0, 3.0, 4.0, 5.0])
    assert found.statistic == 2.0
    assert found.p_value == pytest.approx(2 * 3 / 32, rel=1e-12)


def test_no_difference_is_no_effect():
    found = signed_rank(np.zeros(12))
    assert (found.p_value, found.effect, found.z, found.n_nonzero) == (1.0, 0.0, 0.0, 0)
    assert found.band == "negligible"


@pytest.mark.parametrize("bad", [[], [1.0, np.nan], [np.inf]])
def test_differences_must_be_finite(bad):
    with pytest.raises(ValueError, match="finite"):
        signed_rank(bad)


@pytest.mark.parametrize("seed", SEEDS)
def test_friedman_and_kendall(seed):
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=(15, 4)) + np.array([0.0, 0.5, 0.2, 0.9])
    scores[:3] = scores[:3].round()  # ties
    found = friedman(scores)
    reference = stats.friedmanchisquare(*scores.T)
    assert found.statistic == pytest.approx(reference.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-9)
    # W from its own definition: the spread of the rank sums, corrected for ties.
    ranks = stats.rankdata(scores, axis=1)
    n, k = scores.shape
    spread = ((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()
    ties = sum((c**3 - c) for row in ranks for c in np.unique(row, return_counts=True)[1])
    w = 12 * spread / (n**2 * (k**3 - k) - n * ties)
    assert found.kendall_w == pytest.approx(w, rel=1e-9)


def test_kendalls_w_at_its_ends():
    agree = np.tile([1.0, 2.0, 3.0], (6, 1))
    assert friedman(agree).kendall_w == pytest.approx(1.0, rel=1e-12)
    none = friedman(np.ones((6, 3)))
    assert (none.kendall_w, none.p_value) == (0.0, 1.0)
    with pytest.raises(ValueError, match="k >= 3"):
        friedman(np.ones((6, 2)))


def test_post_hoc_tests_every_pair_with_bonferroni():
    scores = {name: sample(seed, 40, shift) for name, seed, shift in
              (("a", 1, 0.0), ("b", 2, 0.1), ("c", 3, 2.0))}  # fmt: skip
    pairs = post_hoc(scores)
    assert [(p.first, p.second) for p in pairs] == [("a", "b"), ("a", "c"), ("b", "c")]
    for pair in pairs:
        alone = stats.wilcoxon(scores[pair.first] - scores[pair.second]).pvalue
        assert pair.p_value == pytest.approx(alone, rel=1e-9)
        assert pair.p_adjusted == pytest.approx(min(1.0, 3 * alone), rel=1e-9)


@pytest.mark.parametrize("seed", SEEDS)
def test_shapiro_wilk_is_scipys(seed):
    values = np.random.default_rng(seed).exponential(size=25)
    found = shapiro(values)
    reference = stats.shapiro(values)
    assert found.statistic == pytest.approx(reference.statistic, rel=1e-9)
    assert found.p_value == pytest.approx(reference.pvalue, rel=1e-9)


@pytest.mark.parametrize("values", [[1.0, 2.0], [3.0] * 10])
def test_shapiro_wilk_says_nothing_of_too_little(values):
    assert shapiro(values) is None


@pytest.mark.parametrize(
    ("d", "name"),
    [(0.0, "negligible"), (0.01, "very small"), (0.2, "small"), (0.5, "medium"), (-0.8, "large"),
     (1.2, "very large"), (2.0, "huge"), (1.19, "large")],
)  # fmt: skip
def test_sawilowskys_bands(d, name):
    assert band_of_d(d) == name


def test_an_r_is_named_through_its_d():
    for d, name in ((0.5, "medium"), (2.0, "huge"), (0.2, "small")):
        r = (d + 1e-9) / np.sqrt((d + 1e-9) ** 2 + 4)
        assert band(r) == name
    assert band(1.0) == "huge"
    with pytest.raises(ValueError, match="lies in"):
        band(1.5)


def test_wilson_by_its_formula():
    z = stats.norm.ppf(0.975)
    k, n = 7, 20
    centre = (k / n + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(k / n * (1 - k / n) / n + z**2 / (4 * n**2))
    found = wilson(k, n)
    assert found.estimate == pytest.approx(k / n)
    assert (found.lower, found.upper) == pytest.approx((centre - half, centre + half), rel=1e-9)


def test_wilson_at_the_ends_and_of_nothing():
    assert wilson(0, 10).lower == 0.0 < wilson(0, 10).upper
    assert wilson(10, 10).upper == 1.0 > wilson(10, 10).lower
    assert np.isnan(wilson(0, 0).estimate)
    assert (wilson(0, 0).lower, wilson(0, 0).upper) == (0.0, 1.0)
    with pytest.raises(ValueError, match="share"):
        wilson(3, 2)


def test_the_bootstrap_is_near_the_normal_interval():
    values = sample(4, 400)
    found = mean_over_items_and_seeds(values, rng=np.random.default_rng(0))
    error = values.std() / np.sqrt(400)
    assert found.estimate == pytest.approx(values.mean(), rel=1e-12)
    assert found.lower == pytest.approx(values.mean() - 1.96 * error, abs=0.2 * error)
    assert found.upper == pytest.approx(values.mean() + 1.96 * error, abs=0.2 * error)


def test_seeds_that_disagree_widen_the_interval():
    items = np.random.default_rng(2).normal(size=50)
    rng = np.random.default_rng(0)
    alike = mean_over_items_and_seeds(np.stack([items, items, items]), rng=rng)
    apart = mean_over_items_and_seeds(np.stack([items - 1, items, items + 1]), rng=rng)
    assert apart.upper - apart.lower > 1.5 * (alike.upper - alike.lower)
    assert apart.estimate == pytest.approx(alike.estimate, abs=1e-12)


def test_missing_scores_are_left_out():
    scores = np.array([[1.0, np.nan, 3.0], [1.0, 2.0, np.nan]])
    found = mean_over_items_and_seeds(scores, rng=np.random.default_rng(0))
    assert found.estimate == pytest.approx(7 / 4)
    nothing = mean_over_items_and_seeds([[np.nan, np.nan]], rng=np.random.default_rng(0))
    assert np.isnan(nothing.estimate)
    assert nothing.upper == np.inf


def test_one_item_has_no_interval():
    found = mean_over_items_and_seeds([[2.0]], rng=np.random.default_rng(0))
    assert (found.estimate, found.lower, found.upper) == (2.0, -np.inf, np.inf)


def test_a_difference_is_paired():
    """Items that differ widely, but by the same amount in both: no width."""
    items = np.random.default_rng(1).normal(0.0, 10.0, 60)
    found = difference_over_items_and_seeds(items + 0.5, items, rng=np.random.default_rng(0))
    assert (found.lower, found.upper) == pytest.approx((0.5, 0.5), abs=1e-9)
    half = items.copy()
    half[:30] = np.nan
    only = difference_over_items_and_seeds(items + 0.5, half, rng=np.random.default_rng(0))
    assert only.estimate == pytest.approx(0.5, abs=1e-9)
    with pytest.raises(ValueError, match="not paired"):
        difference_over_items_and_seeds(items, items[:3], rng=np.random.default_rng(0))


def test_the_difference_covers_the_truth():
    """95 % intervals of 40 paired items hold the true difference in 88 % of samples or more."""
    rng, held = np.random.default_rng(3), 0
    for _ in range(200):
        common = rng.normal(size=40)
        a, b = common + rng.normal(0.4, 1.0, 40), common + rng.normal(0.0, 1.0, 40)
        found = difference_over_items_and_seeds(a, b, rng=rng, draws=800)
        held += found.lower <= 0.4 <= found.upper
    assert 0.88 * 200 <= held < 200


def test_correlation_is_scipys_with_an_interval():
    rng = np.random.default_rng(0)
    x = rng.normal(size=25)
    y = x + rng.normal(size=25)
    found = correlation(x, y, rng=rng, draws=300)
    reference = stats.spearmanr(x, y)
    assert found.spearman.estimate == pytest.approx(reference.statistic, rel=1e-9)
    # Of 10,000 pairings; scipy's own takes the statistic for normal.
    assert found.p_value == pytest.approx(reference.pvalue, abs=5e-3)
    assert found.pearson == pytest.approx(stats.pearsonr(x, y).statistic, rel=1e-9)
    assert 0.0 < found.spearman.lower < found.spearman.estimate < found.spearman.upper < 1.0


@pytest.mark.parametrize(("pairs", "certain"), [(4, False), (5, True)])
def test_perfect_order_of_few_pairs_is_certain_only_where_chance_is_unlikely(pairs, certain):
    """Of n! pairings two are in perfect order: 2/24 of four pairs, 2/120 of five."""
    x = np.arange(pairs, dtype=float)
    found = correlation(x, -(x**2), rng=np.random.default_rng(0))
    assert found.spearman.estimate == pytest.approx(-1.0)
    assert found.p_value == pytest.approx(2.0 / math.factorial(pairs))
    assert (found.spearman.upper < 0.0) is certain


@pytest.mark.parametrize("pairs", [4, 5, 6, 12])
def test_the_interval_of_perfect_order_has_a_width(pairs):
    """Every resample of pairs in perfect order is in perfect order: the bootstrap says [1, 1]."""
    x = np.arange(pairs, dtype=float)
    found = correlation(x, np.exp(x), rng=np.random.default_rng(0)).spearman
    assert found.upper == 1.0
    assert found.lower < 1.0 - 3.0 / pairs**3
    assert (found.lower > 0.0) is (pairs > 4)
    down = correlation(x, -np.exp(x), rng=np.random.default_rng(0)).spearman
    assert (down.lower, down.upper) == (-1.0, pytest.approx(-found.lower))
    # What forecasts are ranked by is the same.
    ranked = spearman(x, np.exp(x), rng=np.random.default_rng(0))
    assert (ranked.lower, ranked.upper) == (pytest.approx(found.lower), 1.0)


@pytest.mark.parametrize("pairs", [5, 8])
def test_perfect_order_is_rare_where_the_interval_ends(pairs):
    """Were the correlation at the lower end, perfect order would come in about 2.5 % or less."""
    x = np.arange(pairs, dtype=float)
    lower = correlation(x, x, rng=np.random.default_rng(0)).spearman.lower
    r = 2.0 * np.sin(np.pi * lower / 6.0)  # Pearson's, of normal pairs with that Spearman's
    rng = np.random.default_rng(2)
    one, other = rng.normal(size=(2, 40_000, pairs))
    other = r * one + np.sqrt(1.0 - r**2) * other
    in_order = (stats.rankdata(one, axis=1) == stats.rankdata(other, axis=1)).all(axis=1).mean()
    assert 0.0 < in_order < 0.03


def test_correlation_of_too_little_says_so():
    rng = np.random.default_rng(0)
    few = correlation([1.0, 2.0, 3.0], [2.0, 4.0, 9.0], rng=rng)
    assert few.spearman.estimate == pytest.approx(1.0)
    assert (few.spearman.lower, few.spearman.upper) == (-1.0, 1.0)
    flat = correlation([1.0, 2.0, 3.0], [2.0, 2.0, 2.0], rng=rng)
    assert np.isnan(flat.spearman.estimate)
    assert correlation([1.0, np.nan, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0], rng=rng).n == 3
    with pytest.raises(ValueError, match="pairs"):
        correlation([1.0], [1.0, 2.0], rng=rng)
