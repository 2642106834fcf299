"""How often a certificate is wrong, counted exactly: every outcome of a few probes (T22 to T24).

The bound is the level that was asked for, the truth the probability that a model which breaks the
budget is certified. Outcomes have few kinds and few probes, so that the probability is a sum over
all of them and no sample: violations cannot be bad luck. A batch has one budget and size; an
instance is a model (or a sequence of models) with a level of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy import stats

from sims.families.failing import failing_case
from sims.family import Case
from theory.certificates import betting, rates, sequence
from theory.divergence import Array

_PARTS = 4
# The p-value of betting is larger than 1 / M by its rounding.
_ABOVE = 3e-8


class Certificates:
    """Bets read at every probe, rates read once, clipped weights, and sequences of models."""

    name = "certificates"
    chunk = 1024

    def cases(self, rng: np.random.Generator, n: int) -> Iterator[Case]:
        """A few budgets and sizes for each kind of certificate."""
        for part in np.array_split(np.arange(n), min(n, _PARTS)):
            for case in (betting_case, weights_case, rates_case, sequences_case):
                yield case(rng, len(part))


def betting_case(rng: np.random.Generator, n: int) -> Case:
    """T23: answers lost (1), gained (-1) and equal, read one by one until they are certified."""
    budget, probes = float(rng.choice([0.02, 0.1, 0.3])), int(rng.choice([1, 3, 12]))
    gained = rng.choice([0.0, 1.0], size=n) * rng.uniform(0, 0.4, size=n) * (1 - budget)
    more = rng.choice([0.0, 1.0], size=n) * rng.random(n) * (1 - budget - 2 * gained)
    lost = budget + gained + more
    chances = np.stack([gained, np.maximum(1 - gained - lost, 0.0), lost], axis=-1)
    losses = np.array([-1.0, 0.0, 1.0])

    def capital(counts: Array) -> Array:
        return betting.log_capital(losses, counts, budget)

    level = _levels(rng, n, capital(_some_counts(rng, n, probes)))
    steps = (budget - losses) / (1 - budget)
    fractions = np.linspace(0.0, 0.999, 50)

    def after_seeing(counts: Array) -> Array:
        return counts @ np.log1p(np.maximum(steps, 0.0))

    def best_bet(counts: Array) -> Array:
        return (counts @ np.log1p(steps[:, None] * fractions)).max(axis=-1)

    return failing_case(
        "T23",
        level,
        {"betting": _ever_above(chances, probes, level, capital)},
        f"{probes} probes read one by one, budget {budget}",
        {
            "betting": {
                "each bet made after its loss": lambda: _ever_above(
                    chances, probes, level, after_seeing
                ),
                "the best bet chosen at the end": lambda: _ever_above(
                    chances, probes, level, best_bet
                ),
            }
        },
    )


def weights_case(rng: np.random.Generator, n: int) -> Case:
    """T22: a lower limit above the truth, of weights of two kinds of safe answers."""
    probes, rate = int(rng.choice([1, 4, 12])), float(rng.uniform(0.3, 0.9))
    small = rate * float(1.0 + 10.0 ** rng.uniform(-3, 0))
    large = small * float(1.0 + 10.0 ** rng.uniform(-1, 1))
    clip = max(large * float(rng.choice([0.9, 1.0, 3.0])), 1.001 * rate)
    # How much of the model's rate is in its many ordinary answers, and how much in few heavy ones.
    heavy = np.where(rng.random(n) < 0.5, 0.0, 10.0 ** rng.uniform(-3, 0, size=n))
    ordinary = rate * np.where(rng.random(n) < 0.7, 1.0 - heavy, rng.random(n) * (1.0 - heavy))
    chances = np.column_stack([ordinary / small, rate * heavy / large, np.zeros(n)])
    chances[:, 2] = 1.0 - chances.sum(axis=-1)
    values = np.minimum([small, large, 0.0], clip) / clip
    steps = values * clip / rate - 1.0
    fractions = np.linspace(0.0, 0.999, 50)

    def capital(counts: Array) -> Array:
        return betting.log_capital(1.0 - 2.0 * values, counts, 1.0 - 2.0 * rate / clip)

    def best_bet(counts: Array) -> Array:
        return (counts @ np.log1p(steps[:, None] * fractions)).max(axis=-1)

    def every_answer(counts: Array) -> Array:
        counted = np.array([small, large, 1.0]) / clip
        return betting.log_capital(1.0 - 2.0 * counted, counts, 1.0 - 2.0 * rate / clip)

    level = _levels(rng, n, capital(_some_counts(rng, n, probes)))
    return failing_case(
        "T22",
        level,
        {"lower limit": _ever_above(chances, probes, level, capital)},
        f"{probes} stored answers, weights {small:.3g} and {large:.3g}, clip {clip:.3g}",
        {
            "lower limit": {
                "the best bet chosen at the end": lambda: _ever_above(
                    chances, probes, level, best_bet
                ),
                "every answer counted": lambda: _ever_above(chances, probes, level, every_answer),
            }
        },
    )


def rates_case(rng: np.random.Generator, n: int) -> Case:
    """T23 for a rate alone: read once, after a number of probes that was fixed."""
    budget, probes = float(rng.choice([0.02, 0.1, 0.4])), int(rng.choice([5, 20, 60]))
    counts = np.arange(probes + 1)
    exact = np.array([rates.rate_p_value(int(k), probes, budget) for k in counts])
    means = np.array([rates.hoeffding_bentkus_p_value(k / probes, probes, budget) for k in counts])
    few = np.minimum(rng.geometric(0.4, size=n) - 1, probes)
    level = np.where(rng.random(n) < 0.7, exact[few], 10.0 ** rng.uniform(-3, 0, n))
    level = np.minimum(level, 0.99)
    rate = np.where(rng.random(n) < 0.5, budget, budget + (1 - budget) * rng.random(n))
    chance = stats.binom.pmf(counts, probes, rate[:, None])

    def failing(p_values: Array) -> Array:
        return (chance * (p_values <= level[:, None])).sum(axis=-1)

    two_sided = 2.0 * np.minimum(exact, stats.binom.sf(counts - 1, probes, budget))
    middle = exact - 0.5 * stats.binom.pmf(counts, probes, budget)
    return failing_case(
        "T23",
        level,
        {"Clopper-Pearson": failing(exact), "Hoeffding-Bentkus": failing(means)},
        f"{probes} probes read once, budget {budget}",
        {
            "Clopper-Pearson": {
                "two-sided": lambda: failing(two_sided),
                "half of the last outcome": lambda: failing(middle),
                "peeking without Ville": lambda: peeking(rate, probes, level, budget),
            }
        },
    )


def peeking(rate: Array, probes: int, level: Array, budget: float) -> Array:
    """How often some reading of the fixed-size test, one after every probe, certifies."""
    chances = np.column_stack([rate, np.zeros_like(rate), 1.0 - rate])

    def minus_log_p(counts: Array) -> Array:
        read = counts.sum(axis=-1)
        return -stats.binom.logcdf(counts[..., 0], read, budget)

    return _ever_above(chances, min(probes, 40), level * (1.0 + 2.0 * _ABOVE), minus_log_p)


_MODELS = 3
_PROBES = 5


def sequences_case(rng: np.random.Generator, n: int) -> Case:
    """T24: three models tested on the same probes, independent or as dependent as can be."""
    budget = float(rng.choice([0.3, 0.5, 0.6]))
    counts = np.arange(_PROBES + 1)
    exact = np.array([rates.rate_p_value(int(k), _PROBES, budget) for k in counts])
    attainable = np.concatenate([exact, 2.0 * exact])
    level = float(rng.choice(attainable[attainable < 0.9]))
    outcomes = np.array(list(product(counts, repeat=_MODELS)))
    p_values = exact[outcomes]
    accepted = {
        "fixed sequence": [sequence.fixed_sequence(p, level) for p in p_values],
        "Holm": [sequence.holm(p, level) for p in p_values],
        "split sequences": [
            [taken for part in sequence.split_sequences([p[:2], p[2:]], level) for taken in part]
            for p in p_values
        ],
    }
    each = p_values <= level
    kind = rng.integers(3, size=(n, _MODELS))
    risk = np.choose(kind, [np.zeros((n, 1)), np.full((n, 1), budget), rng.random((n, _MODELS))])
    breaks = risk >= budget
    chance = _joint(outcomes, risk, rng.random(n) < 0.4)

    def failing(taken: Sequence[Sequence[bool]] | np.ndarray) -> Array:
        wrong = breaks @ np.asarray(taken, dtype=np.float64).T > 0
        return (chance * wrong).sum(axis=-1)

    last_decides = np.repeat(each[:, -1:], _MODELS, axis=1)
    return failing_case(
        "T24",
        np.full(n, level),
        {form: failing(taken) for form, taken in accepted.items()},
        f"{_MODELS} models on {_PROBES} probes, budget {budget}",
        {
            "fixed sequence": {
                "going on after the first failure": lambda: failing(each),
                "all as good as the last": lambda: failing(last_decides),
            },
            "Holm": {"without correction": lambda: failing(each)},
            "split sequences": {
                "each at the whole level": lambda: failing(
                    np.column_stack([each[:, 0], each[:, :2].all(axis=1), each[:, 2]])
                )
            },
        },
    )


def _joint(outcomes: np.ndarray, risk: Array, together: np.ndarray) -> Array:
    """Probability of every outcome ``[n, outcomes]``: counts of one draw, or of independent ones.

    ``together``: all counts are quantiles of the same uniform number, as dependent as can be.
    """
    counts = np.arange(_PROBES + 1)
    alone = stats.binom.pmf(counts, _PROBES, risk[..., None])
    independent = np.prod([alone[:, k, outcomes[:, k]] for k in range(_MODELS)], axis=0)
    above = np.cumsum(alone, axis=-1)
    below = above - alone
    high = np.min([above[:, k, outcomes[:, k]] for k in range(_MODELS)], axis=0)
    low = np.max([below[:, k, outcomes[:, k]] for k in range(_MODELS)], axis=0)
    return np.where(together[:, None], np.maximum(high - low, 0.0), independent)


def _some_counts(rng: np.random.Generator, n: int, probes: int) -> Array:
    """Counts of three kinds of outcomes, of up to so many probes, ``[n, 3]``."""
    read = rng.integers(1, probes + 1, size=n)
    return rng.multinomial(read, np.array([0.2, 0.7, 0.1])[rng.permutation(3)]).astype(np.float64)


def _levels(rng: np.random.Generator, n: int, log_capital: Array) -> Array:
    """Levels of which most are met exactly by some outcome, ``[n]``."""
    met = np.exp(-log_capital) * (1.0 + 2.0 * _ABOVE)
    anywhere = 10.0 ** rng.uniform(-3, -0.01, size=n)
    return np.where((met < 0.999) & (rng.random(n) < 0.8), met, anywhere)


def _ever_above(chances: Array, probes: int, level: Array, log_capital) -> Array:
    """Probability that the capital reaches ``1 / level`` within so many probes, ``[n]``.

    ``chances [n, 3]`` of the three outcomes of a probe; ``log_capital(counts [..., 3])``.
    """
    size = probes + 1
    alive = np.zeros((len(level), size, size))
    alive[:, 0, 0] = 1.0
    failed = np.zeros(len(level))
    first, second = np.meshgrid(np.arange(size), np.arange(size), indexing="ij")
    needed = -np.log(level) + _ABOVE
    for read in range(1, probes + 1):
        later = alive * chances[:, 2, None, None]
        later[:, 1:] += alive[:, :-1] * chances[:, 0, None, None]
        later[:, :, 1:] += alive[:, :, :-1] * chances[:, 1, None, None]
        third = read - first - second
        counts = np.stack([first, second, np.maximum(third, 0)], axis=-1).astype(np.float64)
        capital = np.where(third >= 0, log_capital(counts), -np.inf)
        certified = capital >= needed[:, None, None]
        failed += np.where(certified, later, 0.0).sum(axis=(-2, -1))
        alive = np.where(certified, 0.0, later)
    return failed
