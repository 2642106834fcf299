"""Ranking of predictors on made-up comparisons; the onset's exponent on made-up runs."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from finebound.results.forecasts import Interval90, JudgedForecast
from llm_validation.forecast.onset_fit import onset_of_run
from llm_validation.forecast.ranking import factors, rank, table
from llm_validation.measure.losses import Losses

MEASURED = (0.4, 0.11, 0.02, -0.02, 0.68, 0.17)


def comparisons(name: str, said, *, half: float | None = None, is_score: bool = False):
    found = []
    for i, (value, truth) in enumerate(zip(said, MEASURED, strict=True)):
        interval = None
        if half is not None:
            interval = Interval90(safety=(value - half, value + half), task=(-1.0, 1.0))
        found.append(
            JudgedForecast(
                run=f"run {i}",
                measured_safety_change=truth,
                measured_task_change=-0.5 - 0.01 * i,
                name=name,
                safety_change=float(value),
                task_change=None if is_score else -0.5,
                interval_90=interval,
                cost_tokens=10.0 + i,
                is_score=is_score,
                details={},
                shared_tokens={},
            )
        )
    return found


def test_a_perfect_and_a_reversed_predictor():
    rows = rank(
        [
            *comparisons("reversed", [-x for x in MEASURED], half=0.01),
            *comparisons("perfect", MEASURED, half=0.01),
            *comparisons("constant", [1.0] * 6, is_score=True),
            *comparisons("double", [2 * x for x in MEASURED]),
        ],
        rng=np.random.default_rng(0),
    )
    by_name = {row.name: row for row in rows}
    assert rows[0].name in ("perfect", "double")
    assert rows[-1].name == "constant"
    assert by_name["perfect"].spearman.estimate == pytest.approx(1.0)
    assert by_name["perfect"].factor == pytest.approx(1.0)
    assert by_name["perfect"].coverage.estimate == 1.0
    assert by_name["perfect"].cost_tokens == 12.5
    assert by_name["reversed"].spearman.estimate == pytest.approx(-1.0)
    assert by_name["reversed"].factor == math.inf
    assert by_name["reversed"].coverage.estimate == 0.0
    assert by_name["double"].factor == pytest.approx(2.0)
    assert by_name["double"].coverage is None
    # Two of six measured changes are below 0.05 nats.
    assert by_name["double"].sized == 4
    constant = by_name["constant"]
    assert constant.spearman.estimate is None
    assert constant.factor is None
    assert all(name in table(rows) for name in by_name)


def test_spearmans_interval_holds_it_and_is_wide_for_few_runs():
    noisy = [0.3, 0.2, 0.0, 0.05, 0.5, 0.1]
    (row,) = rank(comparisons("noisy", noisy), rng=np.random.default_rng(0))
    assert -1 <= row.spearman.lower < row.spearman.estimate <= row.spearman.upper <= 1
    assert row.spearman.upper - row.spearman.lower > 0.1
    (three,) = rank(comparisons("noisy", noisy)[:3], rng=np.random.default_rng(0))
    assert (three.spearman.lower, three.spearman.upper) == (-1.0, 1.0)


def test_the_task_is_ranked_where_it_is_forecast():
    rows = rank(
        [*comparisons("score", MEASURED, is_score=True), *comparisons("ours", MEASURED, half=1.0)],
        rng=np.random.default_rng(0),
        what="task",
    )
    assert [row.name for row in rows] == ["ours"]
    assert rows[0].sized == 6
    assert rows[0].factor == pytest.approx(0.525 / 0.5)


def test_a_factor_is_symmetric_and_infinite_for_a_wrong_sign():
    found = factors(np.array([0.2, 0.05, -0.1, 0.0]), np.array([0.1, 0.1, 0.1, 0.1]))
    np.testing.assert_allclose(found, [2.0, 2.0, np.inf, np.inf])


def test_one_run_twice_is_refused():
    found = comparisons("one", MEASURED)
    with pytest.raises(ValueError, match="twice"):
        rank([*found, found[0]], rng=np.random.default_rng(0))


def run_of(rises: dict[int, float]) -> SimpleNamespace:
    rng, counts = np.random.default_rng(0), np.full(40, 10)
    start = Losses(rng.uniform(5, 15, 40), counts)
    evaluations = {0: {"safety": start}}
    for step, rise in rises.items():
        noise = rng.normal(0.0, 0.01 * abs(rise), 40)
        noise -= noise.mean()
        evaluations[step] = {"safety": Losses(start.token_sum + 10 * (rise + noise), counts)}
    steps = np.arange(1, 41)
    return SimpleNamespace(
        folder=Path(),
        evaluations=evaluations,
        start=evaluations[0],
        steps={"learning_rate": np.full(40, 5e-4), "displacement": 0.1 * steps**0.5},
    )


def test_the_onsets_exponent_is_found_against_time_and_displacement():
    run = run_of({step: 1e-4 * step**2 for step in (5, 10, 20, 40)})
    assert onset_of_run(run, "safety").exponent.estimate == pytest.approx(2.0, abs=0.02)
    in_space = onset_of_run(run, "safety", against="displacement")
    assert in_space.exponent.estimate == pytest.approx(4.0, abs=0.04)


def test_falls_are_left_out_and_too_few_rises_refused():
    law = onset_of_run(run_of({5: -0.01, 10: 0.01, 20: 0.04, 40: 0.16}), "safety")
    assert law.left_out == 1
    assert law.exponent.estimate == pytest.approx(2.0, abs=0.02)
    with pytest.raises(ValueError, match="two different x"):
        onset_of_run(run_of({5: -0.01, 10: 0.01}), "safety")
    with pytest.raises(ValueError, match="proxy"):
        onset_of_run(run_of({5: 0.1}), "proxy")
