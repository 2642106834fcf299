"""Assumptions of T21 to T24: whose answers they are, and that the probes decided nothing before."""

from __future__ import annotations

import numpy as np
from scipy import stats

from sims.assumptions.common import AssumptionFinding, Experiment
from sims.families.certificates import peeking
from theory.binary_divergence import kl_lower_inverses
from theory.bound import Direction
from theory.certificates.importance import clipped_rate_lower
from theory.certificates.rates import rate_p_value
from theory.divergence import Array

_BUDGETS = (0.02, 0.05, 0.1)


def _models(rng: np.random.Generator, n: int) -> tuple[Array, Array, np.ndarray]:
    """An aligned and a fine-tuned model on one prompt, and which answers are safe, ``[n, 4]``."""
    before, other = rng.dirichlet(np.ones(4), n), rng.dirichlet(np.ones(4), n)
    share = rng.uniform(0.1, 1.0, size=(n, 1))
    return before, (1 - share) * before + share * other, np.array([True, True, False, False])


def _tempered(policy: Array, temperature: Array) -> Array:
    powers = policy ** (1.0 / temperature[:, None])
    return powers / powers.sum(axis=-1, keepdims=True)


def _kept(drawn: Array, before: Array, after: Array, share: Array) -> Array:
    """T21 from the loss on answers that ``drawn`` says, of an aligned model with this share."""
    rise = (drawn * np.log(before / after)).sum(axis=-1)
    return kl_lower_inverses(share, np.maximum(rise, 0.0))


def _temperature(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T21: answers sampled colder than the log-probabilities say."""
    before, after, safe = _models(rng, n)
    temperature = np.ones(n) if holds else rng.uniform(0.1, 0.8, size=n)
    colder = _tempered(before, temperature)
    bound = _kept(colder, before, after, (colder * safe).sum(axis=-1))
    truth = (_tempered(after, temperature) * safe).sum(axis=-1)
    return AssumptionFinding(bound, truth, Direction.LOWER, resolution=1e-6)


def _another_teacher(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T21: the loss on answers that another model wrote."""
    before, after, safe = _models(rng, n)
    drawn = before if holds else rng.dirichlet(np.ones(4), n)
    bound = _kept(drawn, before, after, (before * safe).sum(axis=-1))
    return AssumptionFinding(bound, (after * safe).sum(axis=-1), Direction.LOWER, resolution=1e-6)


def _trained_on_answers(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T22: a model that knows the stored answers by heart and lost safety on all other prompts."""
    before, after = rng.uniform(0.7, 0.99, size=n), rng.uniform(0.2, 0.6, size=n)
    safe = rng.random((n, 60)) < before[:, None]
    odds = np.where(safe, (after / before)[:, None], ((1 - after) / (1 - before))[:, None])
    logs = np.log(odds) if holds else np.zeros_like(odds)
    # So sure a limit that not one of a few thousand should miss.
    bound = [clipped_rate_lower(w, a, 2.0, 1 - 1e-7) for w, a in zip(logs, safe, strict=True)]
    return AssumptionFinding(np.array(bound), after, Direction.LOWER)


def _exact_tests(rng: np.random.Generator, n: int) -> tuple[Array, np.ndarray, Array]:
    """Budgets, numbers of probes and the most events that still certify; levels they meet."""
    budget, probes = rng.choice(_BUDGETS, size=n), rng.integers(50, 300, size=n)
    most = stats.binom.ppf(rng.uniform(0.01, 0.2, size=n), probes, budget).astype(int)
    return budget, probes, most


def _level(budget: Array, probes: np.ndarray, most: np.ndarray) -> Array:
    given = zip(most.tolist(), probes.tolist(), budget, strict=True)
    return np.array([rate_p_value(k, n, b) for k, n, b in given])


def _chosen_by_probes(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T23: the checkpoint that did best on the probes is certified on the same probes."""
    budget, probes, most = _exact_tests(rng, n)
    level = _level(budget, probes, most)
    checkpoints = 1 if holds else rng.integers(2, 20, size=n)
    return AssumptionFinding(level, 1.0 - (1.0 - level) ** checkpoints)


def _tuned_detector(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T23: of several detectors that miss equally many, the one that finds least on the probes.

    Each finds a share of the unsafe answers; its rate of finds is the budget, as is the truth's.
    """
    budget, probes, most = _exact_tests(rng, n)
    detectors = 1 if holds else rng.integers(3, 20, size=n)[:, None]
    found = rng.uniform(0.3, 0.9, size=n)[:, None]
    unsafe = np.arange(300)
    chance = stats.binom.pmf(unsafe, probes[:, None], budget[:, None] / found)
    passes = stats.binom.cdf(most[:, None], unsafe, found)
    truth = (chance * (1.0 - (1.0 - passes) ** detectors)).sum(axis=-1)
    return AssumptionFinding(_level(budget, probes, most), truth, resolution=1e-6)


def _peeked(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T23: the test of a fixed number of probes, read after every one of them."""
    budget, probes = 0.1, 40
    most = rng.integers(0, 2, size=n)
    level = _level(np.full(n, budget), np.full(n, probes), most)
    truth = level if holds else peeking(np.full(n, budget), probes, level, budget)
    return AssumptionFinding(level, truth)


def _reordered(rng: np.random.Generator, n: int, holds: bool) -> AssumptionFinding:
    """T24: candidates put in the order of their p-values instead of one that was given before."""
    budget, probes, most = _exact_tests(rng, n)
    candidates = 5
    over = np.where(rng.random((n, candidates)) < 0.5, 0.0, 0.2 * rng.random((n, candidates)))
    over[:, 0] = 0.0
    passes = stats.binom.cdf(most[:, None], probes[:, None], budget[:, None] * (1.0 + over))
    truth = passes[:, 0] if holds else 1.0 - np.prod(1.0 - passes, axis=-1)
    return AssumptionFinding(_level(budget, probes, most), truth)


EXPERIMENTS = (
    Experiment("another-temperature", "T21", "answers at the losses' temperature", _temperature),
    Experiment("another-teacher", "T21", "the aligned model wrote the answers", _another_teacher),
    Experiment(
        "trained-on-answers", "T22", "the stored answers are unseen", _trained_on_answers, cost=20
    ),
    Experiment("chosen-by-probes", "T23", "the probes did not steer training", _chosen_by_probes),
    Experiment("tuned-detector", "T23", "the detector was fixed before", _tuned_detector, cost=10),
    Experiment("peeking", "T23", "a test of fixed size is read once", _peeked, cost=10),
    Experiment("reordered", "T24", "the order was fixed before", _reordered),
)
