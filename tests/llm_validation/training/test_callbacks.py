"""Dual ascent on lambda, and stopping early."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from transformers import TrainerControl, TrainerState

from finebound.base.errors import InputError
from llm_validation.training.callbacks import MonitorCallback
from llm_validation.training.plan import EarlyStopping, FullWeights, Lora, TrainingPlan
from llm_validation.training.record import TRAIN_PROXY
from theory.strategy import LossConstraint

# The whole data in every step: then the constraint is on exactly what is measured at the end.
WHOLE = TrainingPlan(
    method=FullWeights(), steps=120, learning_rate=2e-3, batch_size=11, checkpoint_every=0
)
DUAL = replace(WHOLE, proxy_batch_size=7, strategy=LossConstraint(epsilon=0.05), dual_rate=2.0)


def opposed(bench):
    """Task and proxy with the same prompts and answers of different letters: they conflict."""
    from llm_validation.data.dataset import Dataset

    prompts = bench.task.prompts[:7]
    task = Dataset.of([(p, "yes yes yes") for p in prompts], name="task")
    proxy = Dataset.of([(p, "no, never") for p in prompts], name="proxy")
    return {"task": task, "proxy": proxy}


def rise_of(run) -> float:
    return run.end[TRAIN_PROXY].per_token - run.start[TRAIN_PROXY].per_token


def test_dual_ascent_ends_at_epsilon(bench):
    plan = replace(DUAL, batch_size=7)
    # Start from a model that knows the proxy, so that the task can only take from it.
    data = opposed(bench)
    aligned = bench.run(
        replace(WHOLE, steps=40, learning_rate=5e-3, batch_size=7), task=data["proxy"], monitors={}
    ).model
    run = bench.run(plan, model=aligned, monitors={}, **data)
    assert rise_of(run) == pytest.approx(0.05, abs=0.02)
    lam = run.steps["lam"]
    assert lam[0] == plan.dual_start
    # The update rule, from the record alone.
    expected = np.maximum(0.0, lam + plan.dual_rate * run.steps["violation"])
    np.testing.assert_array_equal(lam[1:], expected[:-1])
    assert lam[-1] > 0
    assert run.result["objective"]["lam"] == lam[-1]


def test_an_easy_constraint_frees_lambda(bench):
    # Rows of one language: learning the task teaches the proxy, and lambda goes to zero.
    run = bench.run(replace(DUAL, steps=30), monitors={})
    assert rise_of(run) < 0
    assert run.steps["lam"][-1] == 0.0
    assert (run.steps["violation"][-5:] < 0).all()


def watch(rule, start, losses):
    """Steps at which the rule was checked, and its verdict on these losses."""
    upcoming = iter(losses)
    callback = MonitorCallback(rule, start, lambda: next(upcoming))
    state, control = TrainerState(), TrainerControl()
    for step in range(1, rule.every * len(losses) + 1):
        state.global_step = step
        control.should_save = True
        callback.on_step_end(SimpleNamespace(), state, control)
        if control.should_training_stop:
            assert control.should_save is False
            return step, callback.reason
    return None, callback.reason


def test_patience_counts_checks_since_the_best():
    rule = EarlyStopping("task", every=3, patience=2)
    assert watch(rule, 2.0, [1.0, 1.1, 0.9, 0.95, 1.2])[0] == 15
    assert watch(rule, 2.0, [1.9, 1.8, 1.7, 1.6]) == (None, None)
    assert watch(rule, 1.0, [1.5, 1.4, 0.1])[0] == 6  # the start was the best


def test_a_rise_stops_at_once():
    rule = EarlyStopping("safety", every=2, max_rise=0.1)
    step, reason = watch(rule, 1.0, [1.05, 1.09, 1.2, 0.5])
    assert step == 6
    assert "the loss on safety rose by 0.2" in reason
    assert watch(rule, 1.0, [0.2, 1.09, 1.0]) == (None, None)


def test_a_run_that_stops_early_is_whole(bench):
    # A rate of one ruins the tiny model in its first step.
    plan = replace(
        WHOLE,
        steps=20,
        learning_rate=1.0,
        early_stopping=EarlyStopping("safety", every=2, max_rise=1.0),
    )
    run = bench.run(plan)
    assert run.steps_done == 2
    assert "rose by" in run.result["stopped"]
    assert len(run.steps["task_loss"]) == 2
    assert run.end["safety"].per_token > run.start["safety"].per_token + 1.0
    assert run.end["safety"].per_token == run.steps["monitor_loss"][1]
    assert set(run.end) == {"safety", "train/task"}


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        (EarlyStopping("held-out", 2, patience=1), "'held-out', which is no monitor"),
        (EarlyStopping("safety", 99, patience=1), "every 99 steps, and there are only 4"),
    ],
)
def test_a_rule_that_cannot_work_is_refused(bench, rule, names):
    with pytest.raises(InputError, match=names):
        bench.run(replace(WHOLE, method=Lora(), steps=4, early_stopping=rule))
