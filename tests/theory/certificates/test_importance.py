"""Rates from stored answers: never above the truth, whatever the model (T22)."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from theory.certificates.importance import (
    clipped_rate,
    clipped_rate_lower,
    effective_sample_size,
)


def test_an_unchanged_model_has_its_own_rate() -> None:
    events = np.array([1, 1, 0, 1])
    assert clipped_rate(np.zeros(4), events, 1.0) == 0.75
    assert effective_sample_size(np.zeros(4)) == 4.0
    assert effective_sample_size(np.full(4, -800.0)) == 4.0
    assert effective_sample_size([0.0, -np.inf]) == 1.0
    assert effective_sample_size([-np.inf, -np.inf]) == 0.0


def test_answers_that_the_model_excludes_count_nothing_and_large_weights_count_the_clip() -> None:
    assert clipped_rate([-np.inf, 1000.0], [True, True], 3.0) == 1.5
    assert clipped_rate([-np.inf, 1000.0], [True, False], 3.0) == 0.0


@pytest.mark.parametrize("clip", [0.5, 2.0, 1e6])
def test_the_lower_limit_is_above_the_rate_no_more_often_than_it_says(clip: float, rng) -> None:
    runs, n, confidence = 100, 60, 0.8
    before, after = rng.dirichlet(np.ones(4)), rng.dirichlet(np.ones(4))
    safe = np.array([1, 1, 0, 0])
    rate, failures = after[:2].sum(), 0
    for _ in range(runs):
        y = rng.choice(4, p=before, size=n)
        logs = np.log(after / before)[y]
        failures += clipped_rate_lower(logs, safe[y], clip, confidence) > rate
    assert failures <= stats.binom.ppf(1 - 1e-4, runs, 1 - confidence)
    exact = (before * np.minimum(after / before, clip) * safe).sum()
    assert exact <= rate + 1e-12


def test_the_lower_limit_nears_the_clipped_rate(rng) -> None:
    logs = rng.normal(-0.02, 0.2, size=4_000)
    events = rng.random(4_000) < 0.95
    estimate = clipped_rate(logs, events, 2.0)
    assert estimate - 0.03 < clipped_rate_lower(logs, events, 2.0, 0.95) < estimate


def test_a_larger_clip_only_raises_the_limit_so_choosing_it_late_costs_nothing(rng) -> None:
    logs, events = rng.normal(-0.5, 1.0, size=80), rng.random(80) < 0.8
    limits = [clipped_rate_lower(logs, events, clip, 0.9) for clip in (0.5, 1.0, 3.0, 30.0, 1e3)]
    assert all(later >= one - 1e-5 for one, later in pairwise(limits))
    assert limits[0] < limits[-1]


def test_the_limit_is_a_probability_however_large_the_clip() -> None:
    assert 0.0 <= clipped_rate_lower(np.full(9, 50.0), np.ones(9), 1e30, 0.95) <= 1.0


@pytest.mark.parametrize(
    ("logs", "events", "clip", "message"),
    [
        ([0.0], [1], 0.0, "clip"),
        ([0.0], [1], np.nan, "clip"),
        ([np.nan], [1], 1.0, "row 1"),
        ([0.0, np.inf], [1, 1], 1.0, "row 2"),
        ([0.0], [0.5], 1.0, "event"),
        ([0.0], [1, 1], 1.0, "events of shape"),
        ([], [], 1.0, "n >= 1"),
    ],
)
def test_what_is_no_weight_is_rejected(logs, events, clip, message) -> None:
    with pytest.raises(ValueError, match=message):
        clipped_rate(logs, events, clip)
