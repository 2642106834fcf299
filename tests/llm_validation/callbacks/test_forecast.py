"""The forecast from a run's first steps: exact on its law, wide where it cannot know."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from other_trainers import Logged

from finebound.base.errors import InputError
from finebound.trl import SafetyForecast
from llm_validation.callbacks.extrapolation import extrapolate
from llm_validation.callbacks.forecast import training_time
from theory.bound import Status

TIMES = np.array([1.0, 2.0, 3.0, 5.0, 7.0, 10.0])


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_a_power_law_is_carried_on(exponent):
    found = extrapolate(TIMES, 0.01 * TIMES**exponent, 1e-9 * TIMES, 100.0)
    assert found.estimate == pytest.approx(0.01 * 100.0**exponent, rel=1e-6)
    assert found.lower <= found.estimate <= found.upper
    assert found.failure_probability is None


@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("noise", [0.003, 0.02])
def test_the_interval_holds_as_often_as_it_says(exponent, noise):
    rng = np.random.default_rng(int(10 * exponent))
    truth = 0.03 * (TIMES / 10) ** exponent
    held = 0
    for _ in range(300):
        found = extrapolate(TIMES, truth + noise * rng.standard_normal(6), [noise] * 6, 100.0)
        held += found.lower <= 0.03 * 10**exponent <= found.upper
    assert held >= 0.9 * 300 - 2 * np.sqrt(300 * 0.09)


def test_without_a_rise_the_interval_is_that_of_noise_at_every_exponent():
    found = extrapolate(TIMES, -0.01 * np.ones(6), 0.02 * np.ones(6), 100.0)
    assert found.lower < found.estimate < 0 < found.upper
    assert 1.0 < found.upper < 1.6449 * 0.02 * 100


@pytest.mark.parametrize(
    ("times", "errors", "end"), [([1, 1], [1, 1], 2), ([1, 2], [1, -1], 2), ([1, 2], [1, 1], 1)]
)
def test_what_is_in_no_order_is_rejected(times, errors, end):
    with pytest.raises(ValueError, match="must"):
        extrapolate(times, [0.1, 0.2], errors, end)


def test_the_rates_that_are_left_come_from_the_schedule():
    from transformers import get_linear_schedule_with_warmup

    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.3)
    schedule = get_linear_schedule_with_warmup(optimiser, 2, 6)
    np.testing.assert_allclose(training_time(schedule, 6), [0, 0, 0.5, 1.5, 2.25, 2.75, 3.0])


def test_it_is_logged_says_estimated_and_is_checked_at_the_end(make_trainer, answers, capsys):
    logged = Logged()
    forecast = SafetyForecast(answers, at=(0.3, 0.5))
    trainer = make_trainer("sft", [forecast, logged.callback()], max_steps=10, learning_rate=3e-3)
    trainer.train()
    name = "forecast_ESTIMATED/"
    assert list(logged.of(name + "so_far")) == [1, 2, 3, 5, 10]
    change = logged.of(name + "safety_loss_change")
    assert list(change) == [3, 5]
    for step, found in zip((3, 5), forecast.forecasts, strict=True):
        assert found.status is Status.ESTIMATED
        assert found.change.estimate == change[step]
        assert logged.of(name + "safety_loss_change_low")[step] <= change[step]
        assert found.refusal_floor_low <= found.refusal_floor <= answers.refused.mean() + 0.1
    measured = logged.of(name + "measured")[10]
    assert measured == logged.of(name + "so_far")[10]
    held = [f.change.lower <= measured <= f.change.upper for f in forecast.forecasts]
    assert logged.of(name + "held")[10] == np.mean(held)
    assert capsys.readouterr().err.count("ESTIMATED after") == 2


def test_a_share_outside_of_the_training_is_rejected(answers):
    with pytest.raises(InputError, match="a forecast at"):
        SafetyForecast(answers, at=(1.0,))
