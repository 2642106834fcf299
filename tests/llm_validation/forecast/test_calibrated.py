"""Refusals calibrated on finished fine-tunes: right where forecasts err alike, honest elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from llm_validation.forecast.calibrated import Finished, Forecast, calibrate, left_out, log_odds

N, BEFORE = 40, 0.8


def forecast(after: float) -> Forecast:
    return Forecast(BEFORE, after, N)


def share(odds: float) -> float:
    return ((N + 1) / (1 + np.exp(-odds)) - 0.5) / N


def finished(groups: int, *, slope: float = 1.0, noise: float = 0.0, runs: int = 2, seed: int = 0):
    """Fine-tunes whose log odds change by ``slope`` times the forecast and noise of the group."""
    rng = np.random.default_rng(seed)
    found = []
    for group in range(groups):
        scatter = noise * rng.normal()
        for after in rng.uniform(0.05, 0.75, runs):
            said = forecast(after)
            odds = log_odds(BEFORE, N) + slope * said.change + scatter
            found.append(Finished(group, said, share(odds)))
    return found


def test_an_error_that_all_share_is_learnt() -> None:
    found = calibrate(finished(60, slope=0.5))
    assert found.slope == pytest.approx(0.5, abs=0.02)
    half = log_odds(BEFORE, N) + 0.5 * forecast(0.2).change
    assert found.share(forecast(0.2)) == pytest.approx(share(half), abs=0.02)
    low, high = found.interval(forecast(0.2))
    assert low <= found.share(forecast(0.2)) <= high
    assert high - low < 0.05


@pytest.mark.parametrize("slope", [0.5, 1.0, 2.0])
def test_no_change_stays_none(slope) -> None:
    assert calibrate(finished(20, slope=slope)).share(forecast(BEFORE)) == pytest.approx(BEFORE)


def test_forecasts_that_are_right_stay_as_they_are() -> None:
    found = calibrate(finished(12))
    assert found.slope == pytest.approx(1.0, abs=1e-9)
    for after in (0.0, 0.3, 1.0):
        assert found.share(forecast(after)) == pytest.approx(after, abs=1e-9)


def test_too_few_groups_are_sure_of_nothing() -> None:
    found = calibrate(finished(8, runs=10))  # nine are needed at 90 %
    assert found.quantile == np.inf
    assert found.interval(forecast(0.5)) == (0.0, 1.0)
    assert np.isfinite(calibrate(finished(9, runs=10)).quantile)


def test_new_groups_are_held_as_often_as_the_level_says() -> None:
    held = 0
    for seed in range(80):
        *known, new = finished(13, slope=0.7, noise=1.0, runs=1, seed=seed)
        low, high = calibrate(known).interval(new.forecast)
        held += low <= new.measured <= high
    assert held / 80 >= 0.9 - 2 * np.sqrt(0.09 / 80)


def test_a_group_is_judged_by_the_others() -> None:
    honest = finished(10)
    odd = [Finished("odd", forecast(0.3), 0.95)] * 5
    by_the_others = left_out([*honest, *odd])
    assert all(one is by_the_others[-1] for one in by_the_others[-5:])
    _, high = by_the_others[-1].interval(forecast(0.3))
    assert high < 0.95
    assert by_the_others[0].groups == 10


def test_a_single_group_has_no_others() -> None:
    assert left_out(finished(1)) == [None, None]
    with pytest.raises(ValueError, match="no fine-tune"):
        calibrate([])


def test_a_widened_interval_is_wider() -> None:
    found = calibrate(finished(12, noise=0.5))
    (low, high), (lower, higher) = (found.interval(forecast(0.4), widened=w) for w in (1.0, 1.5))
    assert lower < low < high < higher
