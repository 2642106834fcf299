"""Forecasts calibrated on finished fine-tunes: right where all err alike, honest elsewhere."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from llm_validation.forecast.calibrated import Finished, Refusals, calibrate, left_out


def finished(groups: int, *, slope: float = 1.0, noise: float = 0.0, runs: int = 2, seed: int = 0):
    """Fine-tunes that change ``slope`` times what was forecast, and by noise of their group."""
    rng = np.random.default_rng(seed)
    found = []
    for group in range(groups):
        scatter = noise * rng.normal()
        for said in rng.uniform(-4.0, -0.5, runs):
            found.append(Finished(group, said, slope * said + scatter))
    return found


def test_an_error_that_all_share_is_learnt() -> None:
    found = calibrate(finished(60, slope=0.5))
    assert found.slope == pytest.approx(0.5, abs=0.01)
    low, high = found.interval(-2.0)
    assert low <= found.change(-2.0) <= high
    assert high - low < 0.1


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_no_change_stays_none(slope) -> None:
    assert calibrate(finished(20, slope=slope)).change(0.0) == 0.0


def test_forecasts_that_are_right_stay_as_they_are() -> None:
    assert calibrate(finished(12)).slope == pytest.approx(1.0, abs=1e-9)


def test_too_few_groups_are_sure_of_nothing() -> None:
    found = calibrate(finished(8, runs=10))  # nine are needed at 90 %
    assert found.interval(-1.0) == (-np.inf, np.inf)
    assert np.isfinite(calibrate(finished(9, runs=10)).quantile)


def test_new_groups_are_held_as_often_as_the_level_says() -> None:
    held = 0
    for seed in range(80):
        *known, new = finished(13, slope=0.7, noise=1.0, runs=1, seed=seed)
        low, high = calibrate(known).interval(new.said)
        held += low <= new.did <= high
    assert held / 80 >= 0.9 - 2 * np.sqrt(0.09 / 80)


def test_a_group_is_judged_by_the_others() -> None:
    odd = [Finished("odd", -2.0, 5.0)] * 5
    by_the_others = left_out([*finished(10), *odd])
    assert all(one is by_the_others[-1] for one in by_the_others[-5:])
    assert by_the_others[-1].interval(-2.0)[1] < 5.0
    assert by_the_others[0].groups == 10


def test_a_single_group_has_no_others() -> None:
    assert left_out(finished(1)) == [None, None]
    with pytest.raises(ValueError, match="no fine-tune"):
        calibrate([])


def test_intervals_grow_with_what_the_forecaster_says_of_its_error() -> None:
    found = calibrate(finished(12, noise=0.5))
    widths = [
        high - low
        for low, high in (
            found.interval(-1.0),
            found.interval(-1.0, widened=1.5),
            found.interval(-1.0, scale=2.0),
        )
    ]
    assert all(narrow < wide for narrow, wide in pairwise(widths))


@pytest.mark.parametrize("after", [0.0, 0.1, 0.75, 1.0])
def test_a_share_and_the_change_of_its_log_odds_are_the_same(after) -> None:
    refusals = Refusals(0.75, 40)
    assert refusals.after(refusals.change_to(after)) == pytest.approx(after, abs=1e-12)
    assert refusals.after(np.inf) == 1.0
    assert refusals.after(-np.inf) == 0.0


def test_an_interval_of_log_odds_is_one_of_shares() -> None:
    refusals = Refusals(0.75, 40)
    assert refusals.after(-1.0) < 0.75 < refusals.after(1.0)
    assert refusals.change_to(0.75) == 0.0
