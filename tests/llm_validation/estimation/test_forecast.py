"""Forecasts of strategies: the coarse unroll's numbers, what a radius does, what notes say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from finebound.base.errors import InputError
from finebound.base.records import spawn_seed
from llm_validation.data.dataset import Dataset
from llm_validation.estimation.forecast import SHARE, forecast_strategies
from llm_validation.estimation.plan import plan_of, training_of
from llm_validation.estimation.request import Request
from llm_validation.forecast.unroll import CoarseUnroll
from llm_validation.forecast.world import World
from llm_validation.models.loading import load_model
from llm_validation.training.plan import FullWeights, Lora
from theory.bound import Status
from theory.strategy import LossConstraint

NO_STEP = 1e-7
REQUEST = Request(
    safety="safety",
    task="task",
    model="tiny",
    lam=(0.5,),
    radius=(NO_STEP, 1e3),
    learning_rate=2e-3,
    steps=20,
    batch_size=4,
    forecast=True,
)


def planned(request, loaded):
    return plan_of(request, training_of(request), 40, loaded)


def rows_of(name, answer):
    return Dataset.of([(f"The {name} of {i}?", f"{answer} {i}.") for i in range(40)], name=name)


@pytest.fixture(scope="module")
def datasets():
    return {
        "safety": rows_of("safety", "I can not help with case"),
        "task": rows_of("task", "The house has apples, and many of them:"),
        "proxy": rows_of("proxy", "Sorry, no:"),
    }


@pytest.fixture(scope="module")
def loaded(tiny_model_folder):
    return load_model(tiny_model_folder)


@pytest.fixture(scope="module")
def made(loaded, datasets):
    return forecast_strategies(REQUEST, loaded, planned(REQUEST, loaded), datasets)


def test_a_row_for_no_constraint_each_lambda_and_each_radius(made):
    kinds = [forecast.strategy.kind for forecast in made]
    assert kinds == ["none", "loss", "parameter", "parameter"]
    assert made[1].strategy.lam == 0.5
    for forecast in made:
        assert forecast.status == Status.ESTIMATED
        low, high = forecast.safety_interval
        assert low < forecast.safety_change < high
        low, high = forecast.task_interval
        assert low < forecast.task_change < high
        # Rows are of unequal length, so the share is met about.
        assert 0 < forecast.cost_share < 1.5 * SHARE


def test_a_forecast_is_the_unroll_of_its_plan(made, loaded, datasets):
    seed = spawn_seed(REQUEST.seed, "forecast")
    world = World(loaded, **datasets, seed=seed)
    plan = replace(planned(REQUEST, loaded), strategy=LossConstraint(lam=0.5))
    assert (plan.steps, plan.batch_size, plan.learning_rate) == (20, 4, 2e-3)
    said = CoarseUnroll.within(world, plan, share=SHARE).predict(world, plan)
    assert made[1].safety_change == said.safety_change
    assert made[1].task_interval == said.interval_90.task
    assert made[1].cost_share == said.cost_tokens / world.finetune_tokens(plan)


def test_a_radius_of_nothing_forecasts_nothing_and_a_wide_one_no_constraint(made):
    free, _, nothing, wide = made
    assert abs(free.task_change) > 1e-3
    assert abs(nothing.task_change) < 1e-5
    assert abs(nothing.safety_change) < 1e-5
    assert wide.safety_change == pytest.approx(free.safety_change, rel=1e-6)
    assert wide.task_change == pytest.approx(free.task_change, rel=1e-6)


def test_a_plan_too_short_for_the_share_is_run_and_says_so(loaded, datasets, made):
    request = replace(REQUEST, steps=2, radius=(1.0,))
    short = forecast_strategies(request, loaded, planned(request, loaded), datasets)
    for forecast in short:
        assert forecast.cost_share > SHARE
        assert any("10% of a fine-tune of 2 steps" in note for note in forecast.notes)
        assert any("they are run as planned" in note for note in forecast.notes)
    assert not any("pay for no forecast" in note for forecast in made for note in forecast.notes)


def test_notes_say_whose_rows_lambda_weighs(loaded, datasets, made):
    assert not any("Without a proxy" in note for note in made[1].notes)
    alone = {role: datasets[role] for role in ("safety", "task")}
    everything = replace(REQUEST, coordinates="all", radius=(0.01,))
    free, penalised, constrained = forecast_strategies(
        everything, loaded, planned(everything, loaded), alone
    )
    assert "Without a proxy" in " ".join(penalised.notes)
    assert free.notes == []
    assert constrained.notes == []


def test_rows_that_do_not_fit_are_counted(loaded, datasets):
    request = replace(REQUEST, max_length=100, radius=(1.0,))
    long = Dataset.of([*datasets["task"].examples[:-1], ("Why?", "because " * 50)], name="task")
    for forecast in forecast_strategies(
        request, loaded, planned(request, loaded), {**datasets, "task": long}
    ):
        assert "1 of 40 task rows are left out of the forecasts" in " ".join(forecast.notes)


def test_the_planned_method_is_lora_on_the_measured_modules_or_all_weights(loaded):
    assert planned(REQUEST, loaded).method == Lora()
    assert planned(replace(REQUEST, coordinates="all"), loaded).method == FullWeights()


def test_a_strategy_that_diverges_leaves_the_others_forecasts(loaded, datasets, made, monkeypatch):
    predict = CoarseUnroll.predict

    def diverging(self, world, plan):
        if plan.radius is not None:
            raise InputError("the forecast diverged.", remedy="Lower the rate.")
        return predict(self, world, plan)

    monkeypatch.setattr(CoarseUnroll, "predict", diverging)
    found = forecast_strategies(REQUEST, loaded, planned(REQUEST, loaded), datasets)
    assert [f.strategy.kind for f in found] == ["none", "loss"]
    assert [f.safety_change for f in found] == [f.safety_change for f in made[:2]]
    for forecast in found:
        assert sum("No forecast for" in note for note in forecast.notes) == 2


def test_when_every_strategy_diverges_it_is_an_error(loaded, datasets, monkeypatch):
    def diverging(self, world, plan):
        raise InputError("the forecast diverged.", remedy="Lower the rate.")

    monkeypatch.setattr(CoarseUnroll, "predict", diverging)
    with pytest.raises(InputError, match="diverged"):
        forecast_strategies(REQUEST, loaded, planned(REQUEST, loaded), datasets)
